"""TOD's objective by hand, and its training: interrupted, shared by workers, cycle after cycle.

Run as a program, this file is one of two workers of a training.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from rayal.cycle.loop import run
from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.masks import IGNORE
from rayal.data.store import Store
from rayal.data.tasks.classification import Classification
from rayal.data.tasks.segmentation import Segmentation
from rayal.engine.local import LocalEngine
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Model, Outputs
from rayal.models.companions.base import Companions
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.models.network import Network
from rayal.parts import build
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from rayal.training.base import Batch, Unlabeled
from rayal.training.learner import Learner
from rayal.training.schemes import tod
from rayal.training.schemes._consistency import (
    ConsistencyHeadSpec,
    ConsistencyLearner,
)
from rayal.training.schemes.tod import Tod
from tests.support.doubles import Silent
from tests.support.ended import assert_same_end, rows
from tests.support.forks import as_two
from tests.support.whole_runs import short

OFFICIAL = {
    "heads": 2,
    "use_labeled": True,
    "reduction": "mean",
    "cycle0_unlabeled": "fixed",
    "teacher": {"ramp": True, "start": "random", "batch_norm": "own"},
}
LABELED = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
UNLABELED = torch.tensor([[3.0, 1.0], [-1.0, 1.0], [0.5, 0.5]])
LABELS = torch.tensor([0, 1])


class Linear(nn.Module):
    """Logits are images times a square matrix; the images are the features."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.classifier = nn.Linear(len(weight), len(weight), bias=False)
        self.classifier.weight.data = weight.clone()

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images, ())


class Pointwise(nn.Module):
    """The same at every position: images N C h w, which are what the last layer reads."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(len(weight), len(weight), 1, bias=False)
        self.classifier.weight.data = weight[..., None, None].clone()

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images.mean(dim=(2, 3)), (images,))


STUDENT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
TEACHER = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
HEAD = torch.tensor([[2.0, 0.0], [0.0, 1.0]])


def learner(
    student: Tensor = STUDENT,
    taught: Tensor = TEACHER,
    head: Tensor = HEAD,
    dense: bool = False,
    **fields: Any,
) -> ConsistencyLearner:
    """A learner of three given linear networks, of one prediction per image or per position."""
    scheme = Tod.model_validate({"weight": 1.0, "lr": 0.1, "weight_decay": 0.0, **fields})
    network = Pointwise if dense else Linear
    model, classes = network(student), len(student)
    companions = Companions(
        (spec, spec.build(model, classes, lambda: network(taught))) for spec in scheme.companions()
    )
    held = companions.of(EmaTeacherSpec)
    held.network.load_state_dict(network(taught).state_dict())
    if scheme.heads == 2:
        second = companions.of(ConsistencyHeadSpec)
        second.linear.load_state_dict(
            {"weight": network(head).classifier.weight, "bias": torch.zeros(classes)}
        )
    made = scheme.start(model, Segmentation() if dense else Classification(), companions, 0)
    assert isinstance(made, ConsistencyLearner)
    return made


def batch(unlabeled: Tensor | None = UNLABELED, weight: float = 1.0) -> Batch:
    return Batch(LABELED, LABELS, 0, 10, unlabeled, weight)


def pull(**fields: Any) -> float:
    """The consistency term of one step."""
    made = learner(**fields)
    made.loss(batch())
    return made._noted["consistency"].item()


def test_paper_value_by_hand() -> None:
    """Eq. 7: squared norms (9 + 1, 1 + 1, 1/4 + 1/4) of f(x; w) - f(x; w~), their mean over the
    three unlabeled images, and nothing of the labeled ones."""
    assert (10 + 2 + 0.5) / 3 == pytest.approx(pull())


def test_loss_is_the_tasks_plus_lambda_times_it() -> None:
    """The weight would be another than the file's, or the labeled images would not count."""
    supervised = torch.nn.functional.cross_entropy(LABELED @ STUDENT.T, LABELS)

    assert supervised + 0.05 * 12.5 / 3 == pytest.approx(learner(weight=0.05).loss(batch()).item())
    assert supervised == pytest.approx(learner(weight=0).loss(batch()).item())


def test_official_value_by_hand() -> None:
    """mse(s, h) + mse(s_u, h_u) + mse(h, t) + mse(h_u, t_u), each a mean over images and
    classes: s = x, h = (2 a, b), t = (0, 2 b) of an image (a, b)."""
    s_h, h_t = (1 + 0) / 4, (4 + 4) / 4
    s_h_u, h_t_u = (9 + 1 + 0.25) / 6, (36 + 1 + 4 + 1 + 1 + 0.25) / 6

    switches = {name: OFFICIAL[name] for name in ("heads", "use_labeled", "reduction")}
    assert s_h + s_h_u + h_t + h_t_u == pytest.approx(pull(**switches))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"use_labeled": True}, 12.5 / 3 + (1 + 4) / 2),
        ({"heads": 2}, (10.25 + 43.25) / 3),
        ({"reduction": "mean"}, 12.5 / 6),
    ],
)
def test_each_switch_by_hand(fields: dict[str, Any], expected: float) -> None:
    """A switch would bring another of the official differences with it."""
    assert expected == pytest.approx(pull(**fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (10 + 2 + 4 + 1) / 4),
        ({"reduction": "mean"}, (10 + 2 + 4 + 1) / 8),
        ({"heads": 2}, (9 + 1 + 0 + 1 + 37 + 5 + 4 + 4) / 4),
        ({"heads": 2, "reduction": "mean"}, (9 + 1 + 0 + 1 + 37 + 5 + 4 + 4) / 8),
    ],
)
def test_maps_by_hand(fields: dict[str, Any], expected: float) -> None:
    """Larger maps would be pulled harder, or positions count by their image, or `mean` forget the
    classes: two images of two positions, (3, 1), (-1, 1) and (0, 2), (1, 0). Of (a, b) the student
    says (a, b), its second head (2a, b) and the teacher (0, 2b)."""
    places = [[[3.0, 1.0], [-1.0, 1.0]], [[0.0, 2.0], [1.0, 0.0]]]  # N w C
    unlabeled = torch.tensor(places).movedim(2, 1)[:, :, None]  # N C 1 w
    labels = torch.tensor([[[0, 1]], [[1, IGNORE]]], dtype=torch.uint8)
    made = learner(dense=True, **fields)
    made.loss(Batch(unlabeled.flip(3), labels, 0, 10, unlabeled))

    assert expected == pytest.approx(made._noted["consistency"].item())


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_papers_pull_is_c_times_the_official(classes: int, heads: int) -> None:
    """A lambda of the paper would be compared with one of the code (methods, Sec. 3)."""
    generator = torch.Generator().manual_seed(classes)
    student, teacher, head = torch.randn(3, classes, classes, generator=generator)
    images = torch.randn(5, classes, generator=generator)
    values = []
    for reduction in ("sum", "mean"):
        made = learner(student, teacher, head, heads=heads, reduction=reduction)
        values.append(made.pull(made.model(images), images).item())

    assert classes == pytest.approx(values[0] / values[1])


@pytest.mark.parametrize("fields", [{}, {"heads": 2, "use_labeled": True}])
def test_no_pull_where_all_agree(fields: dict[str, Any]) -> None:
    """A student that says what the teacher says would still be changed."""
    made = learner(STUDENT, STUDENT, STUDENT, **fields)
    (made.loss(batch()) - learner(weight=0).loss(batch())).backward()

    assert 0.0 == made._noted["consistency"]
    (gradient,) = (p.grad for p in made.model.parameters())
    expected = learner(weight=0)
    expected.loss(batch()).backward()
    assert torch.allclose(gradient, expected.model.classifier.weight.grad)


def test_gradients_reach_both_heads_and_never_the_teacher() -> None:
    """A detached student head would never learn from the second one, on which alone the teacher
    pulls."""
    student = torch.tensor([[1.0, -1.0]], requires_grad=True)
    second = torch.tensor([[0.0, 1.0]], requires_grad=True)
    made = learner(heads=2)
    made.distance(student, second).backward()

    assert [[2.0, -4.0]] == student.grad.tolist()
    assert [[-2.0, 4.0]] == second.grad.tolist()
    made = learner(heads=2, use_labeled=True)
    made.pull(made.model(UNLABELED), UNLABELED).backward()
    for part in (made.model, made.companions.of(ConsistencyHeadSpec)):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters())
    assert all(p.grad is None for p in made.teacher.parameters())


def test_student_moves_to_the_teacher_and_the_teacher_after_it() -> None:
    """The pull would push; or the teacher would move before the student, or not at all."""
    made = learner(teacher={"alpha": 0.75, "ramp": False})
    before = (UNLABELED @ (STUDENT - TEACHER).T).square().sum()
    made.step(batch())
    moved = made.model.classifier.weight.detach()

    assert (UNLABELED @ (moved - TEACHER).T).square().sum() < before
    expected = 0.75 * TEACHER + 0.25 * moved
    torch.testing.assert_close(made.teacher.network.classifier.weight, expected)


def test_second_head_is_trained_with_the_model() -> None:
    """It would stay random, and the student be pulled to noise."""
    made = learner(heads=2)
    head = made.companions.of(ConsistencyHeadSpec)
    before = [p.clone() for p in head.parameters()]
    made.step(batch())

    assert all(not torch.equal(p, q) for p, q in zip(before, head.parameters(), strict=True))


@pytest.mark.parametrize("use_labeled", [False, True])
def test_without_unlabeled_images_only_labeled_terms_are_left(use_labeled: bool) -> None:
    """The last cycle of a run that labels its whole pool would crash."""
    made = learner(use_labeled=use_labeled)
    loss = made.loss(batch(unlabeled=None)).item()
    supervised = learner(weight=0).loss(batch()).item()

    assert supervised + (2.5 if use_labeled else 0.0) == pytest.approx(loss)
    assert use_labeled == ("consistency" in made._noted)


def test_unequal_workers_weigh_unlabeled_images_alike() -> None:
    """`step` multiplies by a weight that makes up for unequal labeled parts; the unlabeled parts
    are equal, and the worker with more labels would count for more of them."""
    heavy, light = learner(weight=1.0), learner(weight=1.0)
    plain = learner(weight=0)
    supervised = plain.loss(batch()).item()
    for made, weight in ((heavy, 1.5), (light, 0.5)):
        loss = made.loss(batch(weight=weight)).item() * weight
        assert supervised * weight + 12.5 / 3 == pytest.approx(loss)


def test_unlabeled_images_pass_by_themselves() -> None:
    """Batch norm would normalise labeled and unlabeled images together, which official training
    does not; and its statistics would miss the unlabeled ones."""
    spec = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
    scheme = Tod()
    model = SmallCnn(width=4).network(3, spec)
    spec = EmaTeacherSpec()
    companions = Companions([(spec, spec.build(model, 3, lambda: model))])
    made = scheme.start(model, Classification(), companions, 0)
    seen: list[int] = []
    model.blocks[0].register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    images = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made.step(Batch(images[:3], torch.arange(3), 0, 10, images[3:]))

    assert [3, 4] == seen
    assert 2 == model.blocks[0][2].num_batches_tracked


def test_first_cycle_may_see_one_fixed_batch() -> None:
    """The official first cycle would be another, or all cycles would see one batch."""
    official = Tod.model_validate(OFFICIAL)

    assert [official.unlabeled(cycle) for cycle in (0, 1, 2)] == [
        Unlabeled(128, fixed=True),
        Unlabeled(128),
        Unlabeled(128),
    ]
    assert Unlabeled(64) == Tod(unlabeled_batch_size=64).unlabeled(0)


def test_defaults_are_the_papers() -> None:
    """An experiment that names the scheme alone would train by something else than Eq. 7."""
    scheme = Tod()

    assert (scheme.weight, scheme.teacher.alpha, scheme.unlabeled_batch_size) == (0.05, 0.999, 128)
    assert (EmaTeacherSpec(),) == scheme.companions()
    assert not scheme.requires_warm
    assert scheme == build("schemes", scheme.model_dump(mode="json"))


def test_the_documented_block_is_the_official_code() -> None:
    """Who copies it into a config would train by something between paper and code."""
    text = str(tod.__doc__).split("    scheme:\n")[1].split("\n\n")[0]
    block = yaml.safe_load(text)
    scheme = build("schemes", block)

    assert OFFICIAL == {name: block[name] for name in OFFICIAL}
    assert (0.02, 0.1, 128, 200) == (scheme.weight, scheme.lr, scheme.batch_size, scheme.epochs)
    assert scheme.augment.flip and 4 == scheme.augment.crop


def test_second_head_is_as_large_as_the_official_one() -> None:
    """ResNet-18 would grow by another number than the official 5,130 weights for ten classes."""
    head = ConsistencyHeadSpec().build(Linear(torch.zeros(512, 512)), 10, lambda: nn.Identity())

    assert 5130 == sum(p.numel() for p in head.parameters())


@pytest.mark.parametrize(
    "wrong", [{"heads": 3}, {"weight": -1}, {"unlabeled_batch_size": 1}, {"teacher": {"alpha": 2}}]
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """A training of hours would end in the middle, or pull away from the teacher."""
    with pytest.raises(ValidationError):
        Tod.model_validate(wrong)


# One training, as the engines run it


class Mlp(Model):
    """Two linear layers: no batch norm, so that workers sharing a batch change nothing."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        first = nn.Linear(image.channels * image.height * image.width, 32)
        return Network(
            blocks=[nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Unflatten(1, (32, 1, 1)))],
            layer_channels=[32],
            head=nn.Flatten(),
            classifier=nn.Linear(32, num_classes),
        )


def job(store: Store, out: Path | str, **fields: Any) -> TrainJob:
    """A training on the first 65 digits: the last of its four batches has 17 images."""
    scheme = {"name": "tod", "epochs": 4, "batch_size": 16, "unlabeled_batch_size": 24, "lr": 0.05}
    x = Experiment.model_validate(
        {
            "name": "test",
            "dataset": "digits",
            "model": fields.pop("model", SmallCnn(width=4, dropout=0.3)),
            "scheme": {**scheme, "augment": {"crop": 1}, **fields},
            "strategy": "random",
            "budget": {"initial": 65, "per_cycle": 1, "total": 65},
            "compute": {"checkpoint_seconds": 0},
            "tracking": "none",
        }
    )
    ids, labels = store.pool.ids()[:65], store.labels("pool")
    values = np.array([labels[unit] for unit in ids], np.int64)
    return TrainJob(x, 0, store.url, tuple(ids), values, None, str(out))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Digits(store=str(tmp_path_factory.mktemp("stores"))).open()


class Interrupted(Exception):
    """What stops a training in these tests."""


def stop_at(monkeypatch: pytest.MonkeyPatch, cycle: int, at: int) -> None:
    """Makes a training of this cycle fail before its step `at`."""
    original, start = Learner.step, Tod.start

    def starting(scheme: Tod, *given: Any) -> Learner:
        made = start(scheme, *given)
        made.cycle = given[-1]
        return made

    def step(made: Any, batch: Batch) -> dict[str, Tensor]:
        if (made.cycle, batch.step) == (cycle, at):
            raise Interrupted
        return original(made, batch)

    monkeypatch.setattr(Tod, "start", starting)
    monkeypatch.setattr(Learner, "step", step)


@pytest.mark.parametrize("fields", [{}, OFFICIAL], ids=["paper", "official"])
def test_interrupted_training_ends_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """A restart would lose the teacher, its count, the second head or the unlabeled images'
    order."""
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    train(job(store, straight, **fields), Worker())
    with monkeypatch.context() as patch:
        stop_at(patch, cycle=0, at=10)
        with pytest.raises(Interrupted):
            train(job(store, cut, **fields), Worker())
    assert (cut / "checkpoint-000002.pt").exists()
    train(job(store, cut, **fields), Worker())

    assert_same_end(straight, cut)
    assert all(row["consistency"] > 0 for row in rows(straight))
    teacher = load_file(straight / "companion-teacher.safetensors")
    assert 16 == teacher["_extra_state"]


@pytest.mark.parametrize("fields", [{}, OFFICIAL], ids=["paper", "official"])
def test_two_workers_train_as_one(store: Store, tmp_path: Path, fields: dict[str, Any]) -> None:
    """Workers would share unlabeled images wrongly, or each train a second head of its own."""
    one, two = tmp_path / "one", tmp_path / "two"
    as_two(_work, two, store.url, fields)
    train(job(store, one, model=Mlp(), **fields), Worker())

    files = sorted(path.name for path in one.glob("*.safetensors"))
    assert files == sorted(path.name for path in two.glob("*.safetensors"))
    for file in files:
        mine, its = load_file(one / file), load_file(two / file)
        for name, value in mine.items():
            torch.testing.assert_close(value, its[name], rtol=1e-4, atol=1e-5, msg=name)
    for mine, its in zip(rows(one), rows(two), strict=True):
        assert mine == pytest.approx(its, rel=1e-4)


# A whole run

TEACHER_FILE = "companion-teacher.safetensors"
COMPUTE = {"engine": "local", "shard_rows": 256, "checkpoint_seconds": 0}


def scheme(**fields: Any) -> dict[str, Any]:
    return {"name": "tod", "epochs": 4, "batch_size": 16, "lr": 0.05, **fields}


def go(x: Experiment, folder: Path) -> list[list[str]]:
    """What a run chooses, cycle by cycle."""
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
        return [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]


@pytest.mark.parametrize(
    ("strategy", "fields"),
    [("cod", {}), ("emaod", {}), ("cod", OFFICIAL)],
    ids=["cod", "emaod", "cod-official"],
)
def test_a_run_that_is_cut_chooses_the_same(
    tiny: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    fields: dict[str, Any],
) -> None:
    """A run would not repeat itself, or choose other images after a restart in its second
    training."""
    x = short(tiny, scheme=scheme(**fields), strategy=strategy, compute=COMPUTE)
    straight = go(x, tmp_path / "straight")
    with monkeypatch.context() as patch:
        stop_at(patch, cycle=1, at=7)
        with pytest.raises(Interrupted):
            go(x, tmp_path / "cut")
    assert (tmp_path / "cut/cycle-001/train/checkpoint-000002.pt").exists()

    assert straight == go(x, tmp_path / "cut")
    for cycle in range(3):
        train_folder = f"cycle-{cycle:03d}/train"
        assert_same_end(tmp_path / "straight" / train_folder, tmp_path / "cut" / train_folder)


@pytest.mark.parametrize(("start", "counts"), [("warm", [8, 20, 36]), ("cold", [8, 12, 16])])
def test_teacher_goes_on_where_cycles_start_warm(
    tiny: Any, tmp_path: Path, start: str, counts: list[int]
) -> None:
    """A warm start would forget the teacher, or a cold one be pulled to the old model."""
    go(short(tiny, scheme=scheme(), start=start, compute=COMPUTE), tmp_path)
    files = [tmp_path / f"cycle-{cycle:03d}/train" / TEACHER_FILE for cycle in range(3)]

    # 20, 40 and 60 labels in batches of 16: 2, 3 and 4 steps in each of 4 epochs
    assert counts == [load_file(file)["_extra_state"].item() for file in files]


def test_unlabeled_images_change_the_training_and_a_strategy_does_not(
    tiny: Any, tmp_path: Path
) -> None:
    """The scheme would be `supervised` by another name, or strategies not comparable under it."""
    few = {"budget": {"initial": 20, "per_cycle": 20, "total": 20}, "compute": COMPUTE}
    for name, fields in {
        "tod": {"scheme": scheme()},
        "emaod": {"scheme": scheme(), "strategy": "emaod"},
        "supervised": {"scheme": scheme(name="supervised")},
        "none": {"scheme": scheme(weight=0.0)},
    }.items():
        go(short(tiny, **few, **fields), tmp_path / name)
    weights = {
        folder.name: (folder / "cycle-000/train/weights.safetensors").read_bytes()
        for folder in tmp_path.iterdir()
    }

    assert weights["tod"] == weights["emaod"]
    assert weights["tod"] != weights["supervised"]
    assert weights["tod"] != weights["none"]


def test_a_pool_labeled_to_its_end(tiny: Any, tmp_path: Path) -> None:
    """The last training of a run that buys every label would have no unlabeled batch."""
    x = short(
        tiny,
        dataset={"name": "digits", "limit_pool": 60, "limit_test": 50},
        scheme=scheme(**OFFICIAL),
        compute=COMPUTE,
    )
    picks = go(x, tmp_path)

    assert [20, 20] == [len(ids) for ids in picks]
    assert rows(tmp_path / "cycle-002/train")[-1]["consistency"] > 0  # the labeled terms


def test_workers_that_cannot_share_a_batch_are_refused(tiny: Any) -> None:
    """The mean over workers would not be the mean over images."""
    compute = {"engine": "ray", "train_workers": 3}
    with pytest.raises((ValidationError, UsageError), match="3 cannot share .* of 128 .*; use 2"):
        short(tiny, scheme=scheme(), compute=compute)
    short(tiny, scheme=scheme(), compute=compute | {"train_workers": 2})


def _work(rank: int, out: Path, store: str, fields: dict[str, Any]) -> None:
    train(job(Store(store), out, model=Mlp(), **fields), Worker(rank, 2))
