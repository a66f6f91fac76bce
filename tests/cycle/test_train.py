"""One training, straight, interrupted and shared: the weights at the end are what is compared.

Run as a program, this file is one worker of a training in a process of its own, to be killed.
"""

import copy
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.store import Store
from rayal.data.tasks.base import Task
from rayal.errors import DataError, UsageError
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.companions.base import Companion, CompanionSpec
from rayal.models.companions.loss_head import LossHeadSpec
from rayal.models.network import Network
from rayal.models.weights import load_weights
from rayal.randomness import derive, torch_generator
from rayal.storage.folder import Folder, Json
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.strategies.ll4al import Ll4al
from rayal.training.augment import Augment, normalise
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner
from rayal.training.schemes.supervised import Supervised
from tests.support.forks import SECONDS, member, started

IMAGES = 65  # one more than four batches


HEAD = Ll4al(loss_head=LossHeadSpec(width=8, detach_after=0.5))
"""A strategy that trains a companion with the model, up to the middle of the training."""


class Plain(Strategy):
    """A strategy that asks nothing of the training."""


class Mlp(Model):
    """Two linear layers: no batch norm, so that workers sharing a batch change nothing."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return Network(
            blocks=[
                nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(image.channels * image.height * image.width, 32),
                    nn.ReLU(),
                    nn.Unflatten(1, (32, 1, 1)),
                )
            ],
            layer_channels=[32],
            head=nn.Flatten(),
            classifier=nn.Linear(32, num_classes),
        )


class Average(Companion):
    """A moving average of the model's weights, slow enough for the training to be killed."""

    def __init__(self, model: nn.Module, seconds: float) -> None:
        super().__init__()
        self.network, self.seconds = copy.deepcopy(model).requires_grad_(False), seconds

    def after_step(self, model: nn.Module) -> None:
        pairs = zip(self.network.parameters(), model.parameters(), strict=True)
        for mean, value in pairs:
            mean.lerp_(value.detach(), 0.1)
        time.sleep(self.seconds)


class AverageSpec(CompanionSpec):
    """Its average."""

    name = "average"
    seconds: float

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> Average:
        return Average(model, self.seconds)


class Taught(TrainingScheme):
    """Supervised, with a moving average of the weights beside."""

    seconds: float = 0.0

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (AverageSpec(seconds=self.seconds),)

    def start(self, model: nn.Module, task: Task, companions: Any, cycle: int) -> Learner:
        return Pupil(self, model, task, companions)


class Pupil(Learner):
    """The average is pulled towards the model, and the model towards the average's answers."""

    def loss(self, batch: Batch) -> Tensor:
        average = self.companions.of(AverageSpec).network
        pairs = zip(average.parameters(), self.model.parameters(), strict=True)
        pull = sum((mean - value).square().sum() for mean, value in pairs)
        self.note(pull=pull)
        return super().loss(batch) + 0.01 * pull


def job(store: Store, out: Path | str, n: int = IMAGES, cycle: int = 1, **fields: Any) -> TrainJob:
    """A training on the first n digits; `fields` go where they belong."""
    of_job = {key: fields.pop(key) for key in ("start_from", "companions_from") if key in fields}
    of_compute = {
        key: fields.pop(key) for key in ("resident_bytes", "checkpoint_seconds") if key in fields
    }
    fields = {
        "model": SmallCnn(width=4),
        "strategy": Plain(),
        "scheme": Supervised(epochs=4, batch_size=16, milestones=(3,)),
        **fields,
    }
    experiment = Experiment(
        name="test",
        dataset=Digits(),
        budget=Budget(initial=n, per_cycle=1, total=n),
        compute=Compute(**of_compute),
        tracking="none",
        **fields,
    )
    ids, labels = store.pool.ids()[:n], store.labels("pool")
    values = np.array([labels[unit] for unit in ids], np.int64)
    return TrainJob(
        experiment,
        cycle,
        store.url,
        tuple(ids),
        values,
        out=str(out),
        **{"start_from": None, **of_job},
    )


def taught(store: Store, out: Path | str, seconds: float = 0.0, **fields: Any) -> TrainJob:
    """A training with everything that must survive a restart."""
    scheme = Taught(
        epochs=6,
        batch_size=16,
        milestones=(4,),
        augment=Augment(flip=True, crop=1),
        seconds=seconds,
    )
    model, strategy = SmallCnn(width=4, dropout=0.3), HEAD
    fields = {"scheme": scheme, "model": model, "strategy": strategy, **fields}
    return job(store, out, checkpoint_seconds=0, **fields)


def shared(store: Store, out: Path | str, seconds: float = 0.0, **fields: Any) -> TrainJob:
    """A training that two workers do as one does."""
    return taught(store, out, seconds, **{"model": Mlp(), "strategy": HEAD, **fields})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The bits of a sum depend on the number of threads that share it; one is fastest here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Digits(store=str(tmp_path_factory.mktemp("stores"))).open()


@pytest.fixture(scope="module")
def straight(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `taught` training that nothing disturbed."""
    out = tmp_path_factory.mktemp("straight")
    train(taught(store, out), Worker())
    return out


def weights(out: Path) -> bytes:
    return (out / "weights.safetensors").read_bytes()


def rows(out: Path) -> list[Json]:
    return [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]


def files(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def assert_same_end(expected: Path, actual: Path) -> None:
    assert files(expected) == files(actual)
    for name in files(expected):
        if name == "epochs.jsonl":
            continue
        assert (expected / name).read_bytes() == (actual / name).read_bytes()
    for one, other in zip(rows(expected), rows(actual), strict=True):
        for key in ("epoch", "loss", "lr", "accuracy", "pull", "loss_head_loss"):
            assert one[key] == other[key]


class Interrupted(Exception):
    """What stops a training in these tests."""


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Makes trainings fail after some steps; None mends them."""
    original = Learner.step

    def stop(steps: int | None) -> None:
        left = [steps]

        def step(learner: Learner, batch: Batch) -> dict[str, Tensor]:
            if left[0] == 0:
                raise Interrupted
            left[0] = None if left[0] is None else left[0] - 1
            return original(learner, batch)

        monkeypatch.setattr(Learner, "step", step)

    return stop


def test_what_a_training_leaves(store: Store, tmp_path: Path) -> None:
    """The ledger would record a training whose files are others, or none."""
    result = train(job(store, tmp_path), Worker())

    assert ["epochs.jsonl", "weights.safetensors"] == files(tmp_path)
    assert (result.epochs, result.steps) == (4, 16)
    assert result.seconds > 0
    record = result.weights
    assert weights(tmp_path) == FileLocation(str(tmp_path), record).read()
    assert [1, 2, 3, 4] == [row["epoch"] for row in rows(tmp_path)]
    assert [0.1, 0.1, 0.1, 0.01] == pytest.approx([row["lr"] for row in rows(tmp_path)])
    assert result.loss == rows(tmp_path)[-1]["loss"] < rows(tmp_path)[0]["loss"]
    assert all(row["images_per_second"] > 0 for row in rows(tmp_path))


def test_agrees_with_a_plain_loop(store: Store, tmp_path: Path) -> None:
    """A training would do something else than SGD on these batches at these rates."""
    augment = Augment(flip=True, crop=1)
    scheme = Supervised(epochs=4, batch_size=16, milestones=(3,), augment=augment)
    task = job(store, tmp_path, scheme=scheme, seed=5)
    train(task, Worker())

    spec = store.card.image
    images = torch.from_numpy(store.pool.decode(store.pool.take(task.ids)).images)
    labels = torch.tensor(task.labels)
    network = build(task.experiment.model, 10, spec, derive(5, 1, "init"))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3])
    for epoch in range(4):
        order = torch.randperm(IMAGES, generator=torch_generator(5, 1, "train", epoch))
        draws = augment.draw(IMAGES, torch_generator(5, 1, "augment", epoch))
        for batch in (order[:16], order[16:32], order[32:48], order[48:]):
            seen = normalise(augment(images[batch], draws[batch]), spec)
            loss = F.cross_entropy(network(seen).logits, labels[batch], reduction="none").mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    trained = build(task.experiment.model, 10, spec, 0)
    load_weights(trained, weights(tmp_path))
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name


@pytest.mark.parametrize("n", [2, 5, 16, 17, 33])
def test_any_number_of_images_trains(store: Store, tmp_path: Path, n: int) -> None:
    """A labeled set that leaves one image over would stop the run at batch norm."""
    assert np.isfinite(train(job(store, tmp_path, n), Worker()).loss)


def test_one_image_is_refused(store: Store, tmp_path: Path) -> None:
    """Batch norm would fail on it with a message about tensors."""
    with pytest.raises(DataError, match=r"need 2 each \(batch norm\); raise budget.initial$"):
        train(job(store, tmp_path, 1), Worker())


def test_streamed_equals_resident(store: Store, tmp_path: Path, straight: Path) -> None:
    """The same experiment would give other weights where memory is short."""
    train(taught(store, tmp_path, resident_bytes=0), Worker())

    assert_same_end(straight, tmp_path)


@pytest.mark.parametrize("steps", [2, 5, 13, 23])
def test_interrupted_anywhere_ends_the_same(
    store: Store,
    tmp_path: Path,
    straight: Path,
    stop_after: Callable[[int | None], None],
    steps: int,
) -> None:
    """A restart would lose momentum, the companion, the teacher, dropout's masks or the order."""
    stop_after(steps)
    with pytest.raises(Interrupted):
        train(taught(store, tmp_path), Worker())
    stop_after(None)
    train(taught(store, tmp_path), Worker())

    assert_same_end(straight, tmp_path)


def test_interrupted_asleep_ends_the_same(
    store: Store, tmp_path: Path, stop_after: Callable[[int | None], None]
) -> None:
    """A restart would wake batch norm and dropout, which sleep after the first step."""
    scheme = Supervised(epochs=4, batch_size=16, milestones=(3,), train_mode="first_step")
    model = SmallCnn(width=4, dropout=0.3)
    whole, broken = (
        job(store, tmp_path / name, scheme=scheme, model=model, checkpoint_seconds=0)
        for name in ("whole", "broken")
    )
    train(whole, Worker())
    stop_after(6)  # of 16, in the second epoch
    with pytest.raises(Interrupted):
        train(broken, Worker())
    stop_after(None)
    train(broken, Worker())

    assert weights(tmp_path / "whole") == weights(tmp_path / "broken")
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("whole", "broken")]
    assert losses[0] == losses[1]


def test_restart_does_not_begin_again(
    store: Store, tmp_path: Path, stop_after: Callable[[int | None], None]
) -> None:
    """Checkpoints would be written and never used; equal ends would not show it."""
    stop_after(22)  # of 24, in epoch 5 of 0..5
    with pytest.raises(Interrupted):
        train(taught(store, tmp_path), Worker())
    assert [f"checkpoint-00000{i}.{kind}" for i in (4, 5) for kind in ("json", "pt")] == [
        name for name in files(tmp_path) if name.startswith("checkpoint")
    ]
    stop_after(4)  # what one epoch needs
    train(taught(store, tmp_path), Worker())


def test_a_damaged_checkpoint_costs_an_epoch(
    store: Store, tmp_path: Path, straight: Path, stop_after: Callable[[int | None], None]
) -> None:
    """A damaged checkpoint would change the weights at the end."""
    stop_after(22)
    with pytest.raises(Interrupted):
        train(taught(store, tmp_path), Worker())
    (tmp_path / "checkpoint-000005.pt").write_bytes(b"torn")
    stop_after(8)  # the two epochs after the checkpoint before
    train(taught(store, tmp_path), Worker())

    assert_same_end(straight, tmp_path)


def test_a_loss_that_is_no_number_stops_and_spares_the_checkpoints(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diverged model would be scored with, or overwrite the last good checkpoint."""
    loss = Pupil.loss
    monkeypatch.setattr(
        Pupil,
        "loss",
        lambda self, batch: loss(self, batch) * (float("nan") if batch.step == 10 else 1),
    )
    with pytest.raises(DataError, match="loss became nan in cycle 1, epoch 3; lower scheme.lr"):
        train(taught(store, tmp_path), Worker())

    assert "checkpoint-000002.pt" in files(tmp_path)
    assert "checkpoint-000003.pt" not in files(tmp_path)
    assert "weights.safetensors" not in files(tmp_path)


def test_a_rate_far_too_high_diverges_with_advice(store: Store, tmp_path: Path) -> None:
    """The real thing would not be caught, only the one the test above makes."""
    scheme = Supervised(epochs=20, batch_size=16, lr=1e9)
    with pytest.raises(DataError, match=r"lower scheme.lr \(1000000000.0\), and use another --out"):
        train(job(store, tmp_path, scheme=scheme), Worker())
    lower = Supervised(epochs=1, batch_size=16, lr=0.01)
    assert np.isfinite(train(job(store, tmp_path / "another", scheme=lower), Worker()).loss)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("start", None, r"start\(\) returned NoneType; return a rayal.Learner"),
        ("step", 1.0, r"step\(\) returned 1.0; return a dictionary of scalar tensors with `loss`"),
        ("step", {}, r"step\(\) returned {}; return a dictionary"),
        ("step", {"loss": torch.ones(2)}, r"step\(\) returned .*; return a dictionary"),
    ],
)
def test_a_scheme_that_breaks_its_contract_is_named(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    value: Any,
    message: str,
) -> None:
    """A user's own scheme would end in a traceback of rayal's loop."""
    task = job(store, tmp_path, scheme=Supervised(epochs=1, batch_size=16))
    with monkeypatch.context() as patch:
        patch.setattr(Supervised if method == "start" else Learner, method, lambda *_: value)
        with pytest.raises(UsageError, match=f"scheme 'supervised': {message}"):
            train(task, Worker())
    train(task, Worker())


def test_starts_from_the_given_weights(store: Store, tmp_path: Path) -> None:
    """A warm start would be a cold one, or the reverse."""
    frozen = Supervised(epochs=1, lr=1e-30, weight_decay=0)
    first = train(job(store, tmp_path / "first", model=Mlp()), Worker())
    location = FileLocation(str(tmp_path / "first"), first.weights)
    fields = {"model": Mlp(), "scheme": frozen, "cycle": 2}
    train(job(store, tmp_path / "warm", start_from=location, **fields), Worker())
    train(job(store, tmp_path / "cold", **fields), Worker())
    train(job(store, tmp_path / "cold3", **{**fields, "cycle": 3}), Worker())

    assert weights(tmp_path / "first") == weights(tmp_path / "warm")
    assert weights(tmp_path / "cold") != weights(tmp_path / "warm")
    assert weights(tmp_path / "cold") != weights(tmp_path / "cold3")


def test_first_weights_depend_on_the_seed_alone(store: Store, tmp_path: Path) -> None:
    """Strategies of one seed would start from different models and could not be compared."""
    fields = {"scheme": Supervised(epochs=1, lr=1e-30, weight_decay=0), "model": Mlp(), "cycle": 0}
    train(job(store, tmp_path / "a", **fields), Worker())
    train(job(store, tmp_path / "b", 40, strategy=HEAD, **fields), Worker())
    train(job(store, tmp_path / "c", seed=1, **fields), Worker())

    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_weights_of_another_model_are_refused(store: Store, tmp_path: Path) -> None:
    """A warm start would continue from some of the weights and random others."""
    first = train(job(store, tmp_path / "first"), Worker())
    location = FileLocation(str(tmp_path / "first"), first.weights)
    with pytest.raises(UsageError):
        train(job(store, tmp_path, model=SmallCnn(width=5), start_from=location), Worker())


def test_companion_is_trained_and_continues(store: Store, tmp_path: Path) -> None:
    """Strategies that learn beside the model would score with random companions."""
    frozen = Supervised(epochs=1, lr=1e-30, weight_decay=0)
    one = train(job(store, tmp_path / "1", strategy=HEAD), Worker())
    location = FileLocation(str(tmp_path / "1"), one.companions["loss_head"])
    fields = {"strategy": HEAD, "scheme": frozen}
    two = train(
        job(store, tmp_path / "2", companions_from={"loss_head": location}, **fields), Worker()
    )
    fresh = train(job(store, tmp_path / "3", **fields), Worker())

    assert one.companions == two.companions
    assert one.companions != fresh.companions


def test_a_head_that_only_reads_changes_no_weight(store: Store, tmp_path: Path) -> None:
    """An observer would change the model whose picks it is compared with."""
    reading, teaching = (Ll4al(loss_head=LossHeadSpec(detach_after=t)) for t in (0, 0.5))
    for name, strategy in (("plain", Plain()), ("reading", reading), ("teaching", teaching)):
        train(job(store, tmp_path / name, strategy=strategy), Worker())

    assert weights(tmp_path / "plain") == weights(tmp_path / "reading")
    assert weights(tmp_path / "plain") != weights(tmp_path / "teaching")


def test_global_randomness_is_left_alone(store: Store, tmp_path: Path) -> None:
    """A training would change what the rest of the process draws."""
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    train(taught(store, tmp_path), Worker())

    assert torch.equal(expected, torch.rand(5))


def test_threads_are_set_only_on_demand(store: Store, tmp_path: Path) -> None:
    """A training inside somebody's process would take over its threads."""
    before = torch.get_num_threads()
    try:
        train(job(store, tmp_path), Worker())
        assert before == torch.get_num_threads()
        train(job(store, tmp_path), Worker(threads=before + 1))
        assert before + 1 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def test_length_in_steps(store: Store, tmp_path: Path) -> None:
    """A scheme of 10 steps would train whole epochs."""
    scheme = Supervised(steps=10, batch_size=16)
    result = train(job(store, tmp_path, scheme=scheme), Worker())

    assert (result.steps, result.epochs, len(rows(tmp_path))) == (10, 3, 3)


def test_epochs_can_be_followed_live(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long training would show nothing until its end."""
    monkeypatch.setattr("rayal.cycle.rounds.LOG_SECONDS", 0)
    seen = []
    step = Average.after_step
    monkeypatch.setattr(
        Average,
        "after_step",
        lambda self, model: seen.append((tmp_path / "epochs.jsonl").exists()) or step(self, model),
    )
    train(taught(store, tmp_path), Worker())

    assert [False] * 4 + [True] * 20 == seen


class OtherProcess:
    """A training of this file in a process of its own."""

    def __init__(self, kind: str, store: Store, out: Path, seconds: float, rank: int) -> None:
        self.out, self.process = out, started(_work, kind, store.url, out, seconds, rank)

    def kill_after(self, checkpoint: str) -> None:
        while not (self.out / checkpoint).exists():
            assert self.process.exitcode is None, "ended before it could be killed"
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        assert -signal.SIGKILL == self.end()

    def end(self) -> int:
        self.process.join(SECONDS)
        return self.process.exitcode


@pytest.fixture
def start(store: Store) -> Iterator[Callable[..., OtherProcess]]:
    """Starts a worker; none outlives the test."""
    workers: list[OtherProcess] = []

    def start(kind: str, out: Path, seconds: float = 0.0, rank: int = 0) -> OtherProcess:
        workers.append(OtherProcess(kind, store, out, seconds, rank))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.exitcode is None:
            worker.kill()


def start_pair(
    start: Callable[..., OtherProcess], out: Path, seconds: float = 0.0
) -> list[OtherProcess]:
    """Two workers of one training, who meet in a file that must be new."""
    out.with_suffix(".pair").unlink(missing_ok=True)
    return [start("shared", out, seconds, rank) for rank in range(2)]


def test_killed_training_ends_the_same(
    store: Store, tmp_path: Path, straight: Path, start: Callable[..., OtherProcess]
) -> None:
    """SIGKILL in the middle of an epoch would change the weights at the end."""
    start("taught", tmp_path, seconds=0.05).kill_after("checkpoint-000002.json")
    assert "weights.safetensors" not in files(tmp_path)
    train(taught(store, tmp_path), Worker())

    Folder(tmp_path).sweep()
    assert_same_end(straight, tmp_path)


def test_two_workers_train_as_one(
    store: Store, tmp_path: Path, start: Callable[..., OtherProcess]
) -> None:
    """Workers would weigh parts of a batch wrongly, or train different models."""
    two = tmp_path / "two"
    workers = start_pair(start, two)
    train(shared(store, tmp_path / "one"), Worker())

    assert [0, 0] == [worker.end() for worker in workers]
    networks = [build(Mlp(), 10, store.card.image, 0) for _ in range(2)]
    for network, out in zip(networks, (tmp_path / "one", two), strict=True):
        load_weights(network, weights(out))
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    for mine, its in zip(rows(tmp_path / "one"), rows(two), strict=True):
        for key in ("loss", "loss_head_loss"):
            assert mine[key] == pytest.approx(its[key], rel=1e-4)
        assert mine["accuracy"] == pytest.approx(its["accuracy"])


@pytest.mark.slow
def test_two_killed_workers_end_the_same(
    tmp_path: Path, start: Callable[..., OtherProcess]
) -> None:
    """A group that lost a worker would start again from different states."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pair = start_pair(start, killed, seconds=0.05)
    pair[1].kill_after("checkpoint-000002.json")
    pair[0].kill()
    for out in (whole, killed):
        assert [0, 0] == [worker.end() for worker in start_pair(start, out)]

    assert_same_end(whole, killed)


@pytest.fixture
def gpu() -> Iterator[Worker]:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    yield Worker(device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gpu_learns_what_the_cpu_learns(
    store: Store, tmp_path: Path, gpu: Worker, precision: str
) -> None:
    """A training on a GPU would see other batches, or lose its digits in bfloat16."""
    scheme = Supervised(epochs=15, batch_size=32, lr=0.05, precision=precision)
    results = {}
    for name, place, memory in (("cpu", Worker(), 2**30), ("gpu", gpu, 2**30), ("stream", gpu, 0)):
        task = job(store, tmp_path / name, 400, scheme=scheme, resident_bytes=memory)
        results[name] = train(task, place).loss

    assert results["gpu"] == pytest.approx(results["cpu"], abs=0.05)
    assert results["stream"] == pytest.approx(results["cpu"], abs=0.05)


@pytest.mark.gpu
def test_gpu_continues_and_leaves_randomness_alone(
    store: Store, tmp_path: Path, gpu: Worker, stop_after: Callable[[int | None], None]
) -> None:
    """A restart on a GPU would leave state on the CPU, or reseed the process's GPU generator."""
    torch.cuda.manual_seed(1)
    expected = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(1)
    stop_after(13)
    with pytest.raises(Interrupted):
        train(taught(store, tmp_path), gpu)
    stop_after(None)
    result = train(taught(store, tmp_path), gpu)

    assert result.epochs == 6
    assert torch.equal(expected, torch.rand(3, device="cuda"))


def _work(kind: str, store: str, out: Path, seconds: float, rank: int) -> None:
    if kind == "taught":
        torch.set_num_threads(1)
        train(taught(Store(store), out, seconds), Worker())
        return
    with member(rank, out.with_suffix(".pair")):
        train(shared(Store(store), out, seconds), Worker(rank=rank, size=2))
