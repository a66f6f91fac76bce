"""ADS: both phases by hand and against a loop, who learns in which, and its training: interrupted,
shared by workers, on a pool labeled to its end.

Run as a module, this file is one of two workers of a training.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from rayal.cycle.candidates import candidates
from rayal.cycle.train import TrainJob, Worker, train
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.store import Store
from rayal.data.tasks.classification import Classification
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Model
from rayal.models.companions.base import Companions
from rayal.models.companions.head_pair import HeadPair, LinearPair
from rayal.models.network import Network
from rayal.training.base import Batch, Unlabeled
from rayal.training.schemes import ads
from rayal.training.schemes.ads import AGREEMENT, DISCREPANCY, PHASES, Ads, AdsLearner, shares
from tests.support.ended import rows
from tests.support.forks import as_two

CLASSES, WIDTH = 3, 4
PLAIN = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "steps": 10}
KINDS = pytest.mark.parametrize("prototypes", [0, 3], ids=["linear", "prototypes"])
OFFICIAL = {
    "heads": {"prototypes": 3},
    "weight": 1 / 128,
    "entropy": "bits",
    "optimizer_of_phases": "fresh",
}


def learner(**fields: Any) -> AdsLearner:
    """A learner of a tiny network with batch norm, always the same."""
    torch.manual_seed(1)
    scheme = Ads.model_validate({**PLAIN, **fields})
    first = nn.Sequential(nn.Flatten(), nn.Linear(4, WIDTH, bias=False), nn.BatchNorm1d(WIDTH))
    model = Network(
        blocks=[nn.Sequential(first, nn.Unflatten(1, (WIDTH, 1, 1)))],
        layer_channels=[WIDTH],
        head=nn.Flatten(),
        classifier=nn.Linear(WIDTH, CLASSES),
    )
    (spec,) = scheme.companions()
    beside = Companions([(spec, spec.build(model, CLASSES, lambda: model))])
    made = scheme.start(model, Classification(), beside, 0)
    assert isinstance(made, AdsLearner)
    return made


def batch(phase: str | None, step: int = 1, weight: float = 1.0) -> Batch:
    """Six labeled and eight unlabeled images."""
    images = torch.randn(14, 1, 2, 2, generator=torch.Generator().manual_seed(5))
    others = None if phase is None else images[6:]
    return Batch(images[:6], torch.arange(6) % 3, step, 10, others, weight, phase=phase)


def alike(pair: HeadPair, noise: float = 0.0) -> None:
    """Both heads say the same, but for `noise`."""
    assert isinstance(pair, LinearPair)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.normal_().mul_(noise)


def snapshot(*modules: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for module in modules for weight in module.parameters()]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def backbone(made: AdsLearner) -> list[nn.Module]:
    return [made.model.blocks, made.model.head]  # type: ignore[list-item]


# The objectives


def test_shares_by_hand() -> None:
    """The phases would pull where heads are unsure, or weigh as much as there are images."""
    entropies = torch.tensor([0.1, 0.1 + math.log(3), 0.0, 2.3])
    agreeing, parting = shares(entropies, 0.1)

    assert [0.25] * 4 == pytest.approx((agreeing + parting).tolist())
    assert [1 / 8, 3 / 16] == pytest.approx(parting[:2].tolist())  # sigmoid(ln 3) is 3/4
    assert agreeing[2] > agreeing[0] > agreeing[1] > agreeing[3]


@KINDS
@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_both_phases_are_those_of_a_loop(prototypes: int, unit: str) -> None:
    """A training of hours would minimise something else."""
    fields: dict[str, Any] = {"weight": 0.7, "threshold": 0.3, "entropy": unit}
    made = learner(heads={"prototypes": prototypes}, **fields)
    given = batch(AGREEMENT)
    with torch.no_grad():
        labeled, unlabeled = (
            made.pair(made.model(images)).double().numpy()
            for images in (given.images, given.unlabeled)
        )
        agreement, discrepancy = made.agreement(given).item(), made.discrepancy(given).item()

    together = apart = 0.0
    for n in range(8):
        z = unlabeled[:, n]
        p = 1 / (1 + np.exp(-z)) if prototypes else np.exp(z) / np.exp(z).sum(1, keepdims=True)
        shared = p / p.sum(1, keepdims=True)
        e = -(shared * (np.log2(shared) if unit == "bits" else np.log(shared))).sum() / 2
        unsure = 1 / (1 + math.exp(0.3 - e))
        distance = np.abs(p[0] - p[1]).mean()
        together += (1 - unsure) / 8 * distance
        apart += unsure / 8 * (1 - distance)
    supervised = 0.0
    for n, label in enumerate(given.labels.tolist()):
        for z in labeled[:, n]:
            if prototypes:
                p = 1 / (1 + np.exp(-z))
                supervised -= np.log(p[label]) + np.log(1 - np.delete(p, label)).sum()
            else:
                supervised -= z[label] - np.log(np.exp(z).sum())

    assert 0.7 * together == pytest.approx(agreement, rel=1e-4)
    assert supervised / 6 + 0.7 * apart == pytest.approx(discrepancy, rel=1e-4)


def test_heads_that_are_alike_do_not_disagree() -> None:
    """Agreement would pull at features that both heads read the same."""
    made = learner()
    alike(made.pair)
    before = snapshot(*backbone(made))
    noted = made.step(batch(AGREEMENT))

    assert 0 == noted["loss"].item() == noted["disagreement"].item()
    assert equal(before, snapshot(*backbone(made)))


def test_discrepancy_parts_the_heads_and_agreement_brings_features_back() -> None:
    """The direction of a phase would be the reverse. Nearly alike heads, unsure of all images; the
    labels are far too light to decide."""
    made = learner(weight=1e4, lr=1e-3)
    alike(made.pair, noise=1e-3)
    first = made.step(batch(DISCREPANCY))["disagreement"].item()
    for _ in range(5):
        made.step(batch(DISCREPANCY))
    apart = made.step(batch(AGREEMENT))["disagreement"].item()
    for _ in range(5):
        made.step(batch(AGREEMENT))
    together = made.step(batch(AGREEMENT))["disagreement"].item()

    assert first < 1e-2 < 10 * first < apart
    assert together < 0.9 * apart


def test_labels_weigh_what_they_are_of_the_whole_batch() -> None:
    """A worker with fewer labeled images would count for as much, and its unlabeled ones, of which
    all have as many, for less."""
    made = learner()
    with torch.no_grad():
        light, plain, heavy = (
            made.discrepancy(batch(DISCREPANCY, weight=weight)).item() for weight in (0, 1, 1.5)
        )

    assert 1.5 * (plain - light) == pytest.approx(heavy - light, rel=1e-4)
    assert light > 0


# Who learns


@KINDS
@pytest.mark.parametrize("optimizer", ["shared", "fresh"])
def test_who_learns_in_which_phase(prototypes: int, optimizer: str) -> None:
    """Heads would follow the features, or the features the heads; by weight decay and the momentum
    of the labeled pass too. Running statistics follow in all phases."""
    options = {"optimizer_of_phases": optimizer, "momentum": 0.9, "weight_decay": 0.1}
    made = learner(heads={"prototypes": prototypes}, **options)
    made.step(batch(None))  # now everything has momentum
    last, norm = made.model.classifier, made.model.blocks[0][0][2]  # type: ignore[index]
    assert isinstance(last, nn.Module)
    for phase, moving in ((AGREEMENT, backbone(made)), (DISCREPANCY, [made.pair])):
        resting = [made.pair, last] if phase == AGREEMENT else backbone(made)
        if phase == DISCREPANCY:
            (moving if made.pair.uses_last_layer else resting).append(last)
        moved, rested, mean = snapshot(*moving), snapshot(*resting), norm.running_mean.clone()
        made.step(batch(phase))

        assert equal(rested, snapshot(*resting)), phase
        assert not any(map(torch.equal, moved, snapshot(*moving))), phase
        assert not torch.equal(mean, norm.running_mean), phase


def test_a_fresh_optimizer_has_neither_momentum_nor_schedule() -> None:
    """The official phases would be others: w - lr (g + wd w), at the first epoch's rate."""
    options: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.2, "milestones": (1,)}
    made = learner(optimizer_of_phases="fresh", **options | {"schedule": "multistep"})
    made.step(batch(None))
    given = batch(AGREEMENT, step=8)
    weight = made.model.blocks[0][0][1].weight  # type: ignore[index]
    (gradient,) = torch.autograd.grad(made.agreement(given), weight)
    expected = weight.detach() - 0.1 * (gradient + 0.2 * weight.detach())
    momentum = made.optimizer.state[weight]["momentum_buffer"].clone()
    made.step(given)

    torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(momentum, made.optimizer.state[weight]["momentum_buffer"])
    assert 0.01 == pytest.approx(made.lr)


def test_a_shared_optimizer_has_both() -> None:
    """Phases at the first rate would undo what the last epochs settle."""
    options: dict[str, Any] = {"momentum": 0.9, "milestones": (1,), "schedule": "multistep"}
    made = learner(**options)
    made.step(batch(None))
    given = batch(AGREEMENT, step=8)
    weight = made.model.blocks[0][0][1].weight  # type: ignore[index]
    (gradient,) = torch.autograd.grad(made.agreement(given), weight)
    momentum = made.optimizer.state[weight]["momentum_buffer"].clone()
    expected = weight.detach() - 0.01 * (0.9 * momentum + gradient)
    made.step(given)

    torch.testing.assert_close(weight.detach(), expected)


def test_linear_heads_move_as_two_layers_twice_as_fast() -> None:
    """The mean and half the difference have to be two heads and nothing else."""
    made = learner()
    pair, last, given = made.pair, made.model.classifier, batch(None)
    assert isinstance(pair, LinearPair) and isinstance(last, nn.Linear)

    def heads() -> tuple[Tensor, Tensor]:
        half = pair.half_difference.weight.detach()
        return last.weight.detach() + half, last.weight.detach() - half

    before = [head.clone().requires_grad_() for head in heads()]
    biases = [last.bias + pair.half_difference.bias, last.bias - pair.half_difference.bias]
    with torch.no_grad():
        features = made.model(given.images).features
    logits = [features @ w.T + b.detach() for w, b in zip(before, biases, strict=True)]
    nn.functional.cross_entropy(torch.cat(logits), given.labels.repeat(2)).mul(2).backward()
    made.step(given)

    for old, new in zip(before, heads(), strict=True):
        assert old.grad is not None
        torch.testing.assert_close(new, old.detach() - 2 * 0.1 * old.grad)


def test_features_learn_nothing_from_the_last_layer_beside_prototypes() -> None:
    """The backbone would have a third head, which the official one has not."""
    found = []
    for scale in (1.0, 5.0):
        made = learner(heads={"prototypes": 3})
        with torch.no_grad():
            made.last.weight.mul_(scale)  # type: ignore[union-attr, operator]
        before = snapshot(made.last)
        noted = made.step(batch(None))
        found.append(snapshot(*backbone(made), made.pair))

        assert not equal(before, snapshot(made.last))
        assert {"loss", "accuracy", "heads_accuracy"} == noted.keys()
    assert equal(*found)


# Options


def test_the_documented_block_is_the_official_code() -> None:
    """Who copies it would train something else."""
    text = str(ads.__doc__).split("as augmentation:\n")[1]
    block = yaml.safe_load(text)

    assert {"name": "ads", **OFFICIAL} == block["scheme"]
    assert block["scheme"]["heads"] == block["strategy"]["heads"]
    assert 10_000 == block["candidates"] == Ads().unlabeled_subset


def test_defaults_are_the_papers() -> None:
    """A protocol that gives nothing would be of no paper."""
    x = Ads()

    assert (1.0, 0.1, "nats", 0) == (x.weight, x.threshold, x.entropy, x.heads.prototypes)
    assert Unlabeled(128, limit=10_000, phases=("agreement", "discrepancy")) == x.unlabeled(0)
    assert (200, 128, 0.1, (160,)) == (x.epochs, x.batch_size, x.lr, x.milestones)


@pytest.mark.parametrize(
    "wrong",
    [{"weight": -1}, {"threshold": -1}, {"entropy": "dits"}, {"unlabeled_subset": 0}]
    + [{"heads": {"prototypes": -1}}, {"unlabeled_batch_size": 1}],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """A training of hours would end in the middle."""
    with pytest.raises(ValidationError):
        Ads.model_validate(wrong)


# One training, as the engines run it


class Mlp(Model):
    """Two linear layers: no batch norm, so that workers sharing a batch change nothing."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        first = nn.Linear(image.channels * image.height * image.width, 32)
        return Network(
            blocks=[nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Unflatten(1, (32, 1, 1)))],
            layer_channels=[32],
            head=nn.Flatten(),
            classifier=nn.Linear(32, num_classes),
        )


def job(store: Store, out: Path | str, labeled: int = 65, **fields: Any) -> TrainJob:
    """A training on the first 65 digits: the last of its four batches has 17 images."""
    sizes = {"epochs": 4, "batch_size": 16, "unlabeled_batch_size": 24, "unlabeled_subset": 80}
    x = Experiment.model_validate(
        {
            "name": "test",
            "dataset": "digits",
            "model": fields.pop("model", SmallCnn(width=4, dropout=0.3)),
            "scheme": {"name": "ads", **sizes, "lr": 0.02, "augment": {"crop": 1}, **fields},
            "strategy": "random",
            "budget": {"initial": 65, "per_cycle": 1, "total": 65},
            "candidates": 80,
            "compute": {"checkpoint_seconds": 0},
            "tracking": "none",
        }
    )
    ids, labels = store.pool.ids()[:labeled], store.labels("pool")
    values = np.array([labels[unit] for unit in ids], np.int64)
    return TrainJob(x, 0, store.url, tuple(ids), values, None, str(out))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Digits(store=str(tmp_path_factory.mktemp("stores")), limit_pool=300).open()


class Interrupted(Exception):
    """What stops a training in these tests."""


@pytest.mark.parametrize("fields", [{}, OFFICIAL], ids=["paper", "official"])
@pytest.mark.parametrize("at", [(DISCREPANCY, 8), (None, 13)], ids=["phase", "labeled pass"])
def test_interrupted_training_ends_the_same(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: tuple[str | None, int],
    fields: dict[str, Any],
) -> None:
    """A restart would lose the heads, a phase, or the order of its images."""
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    train(job(store, straight, **fields), Worker())
    original = AdsLearner.step

    def step(made: AdsLearner, batch: Batch) -> dict[str, Tensor]:
        if (batch.phase, batch.step) == at:
            raise Interrupted
        return original(made, batch)

    with monkeypatch.context() as patch:
        patch.setattr(AdsLearner, "step", step)
        with pytest.raises(Interrupted):
            train(job(store, cut, **fields), Worker())
    assert (cut / "checkpoint-000002.pt").exists()
    train(job(store, cut, **fields), Worker())

    names = ["companion-head_pair.safetensors", "weights.safetensors"]
    for folder in (straight, cut):
        assert names == sorted(path.name for path in folder.glob("*.safetensors"))
    for name in names:
        assert (straight / name).read_bytes() == (cut / name).read_bytes(), name
    assert rows(straight) == rows(cut)
    first, *others = rows(straight)
    assert {"loss", "accuracy", "heads_accuracy", "lr", "epoch"} == first.keys()
    assert all(row["agreement_disagreement"] > 0 for row in others)


def test_phases_see_the_candidates_twice_before_each_later_epoch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phases would come in another order, miss images, or see others than are scored."""
    seen: list[tuple[str | None, int]] = []
    images: dict[str, Counter[tuple[float, ...]]] = {phase: Counter() for phase in PHASES}
    original = AdsLearner.step

    def step(made: AdsLearner, batch: Batch) -> dict[str, Tensor]:
        seen.append((batch.phase, batch.step))
        if batch.phase is not None and batch.unlabeled is not None:
            images[batch.phase].update(
                tuple(image) for image in batch.unlabeled.flatten(1).tolist()
            )
        return original(made, batch)

    monkeypatch.setattr(AdsLearner, "step", step)
    given = job(store, tmp_path, augment={})
    result = train(given, Worker())
    labels = dict(zip(given.ids, given.labels, strict=True))
    scored = candidates(given.experiment, store, labels, 0)
    decoded = store.pool.decode(store.pool.take(scored))
    expected = [(None, step) for step in range(4)]
    for epoch in (1, 2, 3):
        first = 4 * epoch
        expected += [(AGREEMENT, first)] * 4 + [(DISCREPANCY, first)] * 4
        expected += [(None, step) for step in range(first, first + 4)]

    assert expected == seen
    assert result is not None and len(seen) == result.steps
    for counts in images.values():
        assert 80 == len(scored) == len(counts) == len({*decoded.ids})
        assert 3 * 4 * 24 == counts.total()
        assert 3 == min(counts.values())
    assert images[AGREEMENT].keys() == images[DISCREPANCY].keys()
    pixels = {tuple(image.ravel().tolist()) for image in decoded.images}
    raw = {tuple(np.rint(_raw(store, image)).astype(int).tolist()) for image in counts}
    assert pixels == raw


def _raw(store: Store, image: tuple[float, ...]) -> Any:
    spec = store.card.image
    return (np.array(image) * spec.std[0] + spec.mean[0]) * 255


def test_a_pool_labeled_to_its_end(store: Store, tmp_path: Path) -> None:
    """The last training of a run that buys every label has no phase."""
    result = train(job(store, tmp_path, labeled=300, epochs=2), Worker())

    assert {"epoch", "loss", "accuracy", "heads_accuracy", "lr"} == rows(tmp_path)[-1].keys()
    assert result is not None and 2 * 19 == result.steps


@pytest.mark.parametrize("fields", [{}, OFFICIAL], ids=["paper", "official"])
def test_two_workers_train_as_one(store: Store, tmp_path: Path, fields: dict[str, Any]) -> None:
    """Workers would share unlabeled images wrongly, or each move its own weights in a phase."""
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


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns(store: Store, tmp_path: Path) -> None:
    """A phase would update what lies elsewhere, or lose its digits in bfloat16."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    for precision in ("fp32", "bf16"):
        losses = []
        for device in ("cpu", "cuda"):
            out = tmp_path / precision / device
            result = train(job(store, out, precision=precision, epochs=15), Worker(device=device))
            assert result is not None
            losses.append(result.loss)

        assert losses[0] == pytest.approx(losses[1], rel=0.2, abs=0.05)


def _work(rank: int, out: Path, store: str, fields: dict[str, Any]) -> None:
    train(job(Store(store), out, model=Mlp(), **fields), Worker(rank, 2))
