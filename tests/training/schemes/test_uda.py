"""UDA's objective by hand, and its training: interrupted, shared by workers, cycle after cycle.

Run as a program, this file is one of two workers of a training.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from rayal.cycle.loop import run
from rayal.cycle.train import TrainJob, Worker, train
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.store import Store
from rayal.data.tasks.classification import Classification
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.wide_resnet import WideResnet
from rayal.models.base import Model, Outputs
from rayal.models.build import build as build_network
from rayal.models.companions.average import AverageSpec
from rayal.models.companions.base import Companions
from rayal.models.network import Network
from rayal.parts import build
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from rayal.training.augment import Augment
from rayal.training.base import Batch, Unlabeled
from rayal.training.learner import Learner
from rayal.training.schemes import uda
from rayal.training.schemes.uda import Uda, UdaLearner, most_known
from tests.support.doubles import Silent
from tests.support.ended import assert_same_end, rows
from tests.support.forks import as_two
from tests.support.whole_runs import short

SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
LABELED = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
LABELS = torch.tensor([0, 1])
SURE = torch.tensor([[1.2, 0.0, 0.0, 0.0]])
"""Its class has .525 as it is, and .786 at temperature .5."""


class Linear(nn.Module):
    """Logits are images times a square matrix; the images are the features."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.classifier = nn.Linear(len(weight), len(weight), bias=False)
        self.classifier.weight.data = weight.clone()

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images, ())


def learner(model: nn.Module | None = None, **fields: Any) -> UdaLearner:
    """A learner of a network that says what it sees, unless another is given."""
    scheme = Uda.model_validate({"lr": 0.1, "weight_decay": 0.0, "threshold": 0.0, **fields})
    model = Linear(torch.eye(2)) if model is None else model
    companions = Companions(
        (spec, spec.build(model, 2, nn.Identity)) for spec in scheme.companions()
    )
    made = scheme.start(model, Classification(), companions, 0)
    assert isinstance(made, UdaLearner)
    return made


def batch(original: Tensor | None, strong: Tensor | None, **fields: Any) -> Batch:
    given: dict[str, Any] = {"step": 0, "steps": 10, **fields}
    return Batch(LABELED, LABELS, unlabeled=original, strong=strong, **given)


def softmax(*logits: float) -> np.ndarray:
    powers = np.exp(np.array(logits))
    return np.asarray(powers / powers.sum())


def test_value_by_hand() -> None:
    """lambda times the mean of KL(softmax(z / tau) || softmax(z')), in this direction and at this
    temperature; and the labeled images' loss as in any scheme."""
    original, strong = (
        torch.tensor([[1.0, 0.0], [0.0, 3.0]]),
        torch.tensor([[0.5, 0.0], [1.0, 0.0]]),
    )
    expected = 0.0
    for one, other in zip(original.tolist(), strong.tolist(), strict=True):
        target, said = softmax(*(z / 0.4 for z in one)), softmax(*other)
        expected += (target * np.log(target / said)).sum() / 2
    loss = learner(weight=3.0).loss(batch(original, strong)).item()

    assert cross_entropy(LABELED, LABELS).item() + 3.0 * expected == pytest.approx(loss)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_agrees_with_torch(classes: int) -> None:
    """The divergence would be summed over images, averaged over classes, or turned round."""
    original, strong = torch.randn(2, 7, classes, generator=torch.Generator().manual_seed(classes))
    made = learner(temperature=0.5)
    said, target = strong.log_softmax(dim=1), (original / 0.5).softmax(dim=1)

    expected = kl_div(said, target, reduction="batchmean")
    torch.testing.assert_close(made.divergence(original, strong), expected)


def test_views_that_agree_do_not_diverge() -> None:
    """A model that is right would be changed: KL of equal views at temperature 1 is 0, and so is
    its gradient."""
    logits = torch.randn(5, 4, requires_grad=True)
    divergence = learner(temperature=1.0).divergence(logits, logits)
    divergence.backward()

    assert 0.0 == pytest.approx(divergence.item(), abs=1e-7)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-7


def test_no_gradient_reaches_the_target() -> None:
    """The original would be pulled to the strong view, which is the worse of both."""
    original, strong = torch.randn(2, 5, 4, requires_grad=True).unbind()
    original.retain_grad()
    strong.retain_grad()
    learner().divergence(original, strong).backward()

    assert original.grad is None
    assert strong.grad is not None and strong.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("fields", "confident"),
    [
        ({"threshold": 0.6}, 0.0),
        ({"threshold": 0.52}, 1.0),
        ({"threshold": 0.6, "mask": "tempered"}, 1.0),
        ({"threshold": 0.79, "mask": "tempered"}, 0.0),
    ],
)
def test_what_is_masked(fields: dict[str, Any], confident: float) -> None:
    """z = (1.2, 0, 0, 0): max softmax .525, at temperature .5 .786 (methods, Sec. 24): at .6 which
    of them is meant decides about the image."""
    made = learner(temperature=0.5, **fields)
    divergence = made.divergence(SURE, torch.zeros(1, 4))

    assert confident == made._noted["confident"].item()
    assert (confident > 0) == (divergence.item() > 0)


@pytest.mark.parametrize(("mask", "confident"), [("plain", 0.0), ("tempered", 1.0)])
def test_at_the_threshold(mask: str, confident: float) -> None:
    """The official code asks for more than it, the other for no less."""
    made = learner(threshold=0.5, mask=mask)
    made.divergence(torch.zeros(1, 2), torch.ones(1, 2))

    assert confident == made._noted["confident"].item()


def test_masked_images_stay_in_the_mean() -> None:
    """A few confident images would weigh as much as a batch full of them."""
    strong = torch.zeros(1, 4)
    alone = learner(threshold=0.52).divergence(SURE, strong)
    among = learner(threshold=0.52).divergence(
        torch.cat([SURE, torch.zeros(3, 4)]), strong.expand(4, 4)
    )

    assert alone.item() / 4 == pytest.approx(among.item())


def test_without_unlabeled_images_it_is_supervised() -> None:
    """The last cycle of a run that labels its whole pool would crash."""
    made = learner()

    assert cross_entropy(LABELED, LABELS).item() == pytest.approx(
        made.loss(batch(None, None)).item()
    )
    assert "divergence" not in made._noted


def test_unequal_workers_weigh_unlabeled_images_alike() -> None:
    """`step` multiplies by a weight that makes up for unequal labeled parts; the unlabeled parts
    are equal, and the worker with more labels would count for more of them."""
    views = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    supervised = cross_entropy(LABELED, LABELS).item()
    divergence = learner().divergence(*views).item()
    for weight in (1.5, 0.5):
        loss = learner().loss(batch(*views, weight=weight)).item() * weight

        assert supervised * weight + divergence == pytest.approx(loss)


def cnn() -> nn.Module:
    return build_network(SmallCnn(width=4), 2, SPEC, seed=0).train()


def views() -> tuple[Tensor, Tensor, Tensor]:
    """Labeled, original and strong images, each group as bright as no other."""
    drawn = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return drawn[:2], drawn[2:5] + 2, 3 * drawn[5:] - 1


def test_one_batch_to_batch_norm() -> None:
    """Each group would be normalised by itself: by hand, what the network says of all of them in
    one batch, and statistics that have seen one batch."""
    labeled, original, strong = views()
    model = cnn()
    logits = copy.deepcopy(model)(torch.cat(views())).logits
    made = learner(model, temperature=0.5)
    expected = cross_entropy(logits[:2], LABELS) + kl_div(
        logits[5:].log_softmax(1), (logits[2:5] / 0.5).softmax(1), reduction="batchmean"
    )
    loss = made.loss(Batch(labeled, LABELS, 0, 10, original, strong=strong))

    torch.testing.assert_close(loss, expected)
    assert 1 == model.blocks[0][2].num_batches_tracked


def test_three_batches_to_batch_norm() -> None:
    """`separate` would mix them; or the target's forward would leave statistics as they were."""
    labeled, original, strong = views()
    model = cnn()
    other = copy.deepcopy(model)
    expected = cross_entropy(other(labeled).logits, LABELS)
    target = (other(original).logits / 0.5).softmax(1).detach()
    expected = expected + kl_div(other(strong).logits.log_softmax(1), target, reduction="batchmean")
    made = learner(model, temperature=0.5, batch_norm="separate")
    loss = made.loss(Batch(labeled, LABELS, 0, 10, original, strong=strong))

    torch.testing.assert_close(loss, expected)
    assert 3 == model.blocks[0][2].num_batches_tracked
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], msg=name)


def test_companions_see_labeled_images_alone() -> None:
    """A loss prediction would be trained on losses of other images than its features are of."""
    labeled, original, strong = views()
    seen: list[Outputs] = []

    class Watched(UdaLearner):
        def supervised_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
            seen.append(outputs)
            return super().supervised_loss(outputs, batch)

    model = cnn()
    whole = copy.deepcopy(model)(torch.cat(views()))
    made = Watched(Uda(), model, Classification(), Companions())
    made.loss(Batch(labeled, LABELS, 0, 10, original, strong=strong))

    (outputs,) = seen
    torch.testing.assert_close(outputs.features, whole.features[:2])
    for layer, all_of_it in zip(outputs.layers, whole.layers, strict=True):
        torch.testing.assert_close(layer, all_of_it[:2])


@pytest.mark.parametrize(
    ("annealing", "progress", "expected"),
    [
        ("linear", 0.5, 0.55),
        ("exp", 0.5, 0.174),
        ("log", 0.5, 0.926),
        ("linear", 0.0, 0.1),
        ("log", 0.0, 0.1),
        ("exp", 0.0, 0.106),
        ("linear", 1.0, 1.0),
        ("exp", 1.0, 1.0),
        ("log", 1.0, 0.994),
    ],
)
def test_annealing_by_hand(annealing: Any, progress: float, expected: float) -> None:
    """Methods, Sec. 24: ten classes, in the middle of the training and at its ends."""
    assert expected == pytest.approx(most_known(annealing, progress, 10), abs=5e-4)


def test_annealing_leaves_out_what_is_known() -> None:
    """The mean would count images that were left out, or leave out the wrong half: of .731 and
    .881, at a limit of .75 the first is kept; of a limit of .5 none, where the loss is 0."""
    lone = cross_entropy(LABELED[:1], LABELS[:1]).item()
    made = learner(annealing="linear")

    assert lone == pytest.approx(made.loss(batch(None, None, step=5)).item())
    assert 0.5 == made._noted["kept"].item()
    none = made.loss(batch(None, None, step=0))
    assert 0.0 == none.item() and none.requires_grad
    assert 0.0 == made._noted["kept"].item()
    assert cross_entropy(LABELED, LABELS).item() == pytest.approx(
        made.loss(batch(None, None, step=10)).item()
    )


def test_annealing_of_parts_is_that_of_the_whole() -> None:
    """Two workers, of which one has dropped all its images, would weigh those of the other half."""
    made = learner(annealing="linear")
    outputs = Outputs(LABELED, LABELED, ())
    weights = made.unit_weights(outputs, batch(None, None, step=5))
    per_unit = made.per_unit_loss(outputs, batch(None, None))

    assert weights is not None and [1.0, 0.0] == weights.tolist()
    assert per_unit[0].item() == pytest.approx(
        made._mean(per_unit, weights, batch(None, None)).item()
    )


def test_defaults_are_the_official_codes() -> None:
    """An experiment that names the scheme alone would train by something else."""
    scheme = Uda()
    strong = Augment(flip=True, crop=4, padding="reflect", policy="uda", cutout=16)

    assert (1.0, 0.8, 0.4) == (scheme.weight, scheme.threshold, scheme.temperature)
    assert Unlabeled(448, strong=strong) == scheme.unlabeled(0) == scheme.unlabeled(3)
    assert () == scheme.companions()
    assert scheme == build("schemes", scheme.model_dump(mode="json"))


def test_the_documented_block_is_the_official_code() -> None:
    """Who copies it into a config would train by something between paper and code. By hand: the
    rate ends at .03 cos(7 pi / 16) = .00585."""
    text = str(uda.__doc__).split("    scheme:\n")[1].split("\n\n")[0]
    scheme: Any = build("schemes", yaml.safe_load(text))

    assert (500_000, 64, 448) == (scheme.steps, scheme.batch_size, scheme.unlabeled_batch_size)
    assert (0.03, 0.9, True, 5e-4) == (
        *(scheme.lr, scheme.momentum, scheme.nesterov, scheme.weight_decay),
    )
    assert 0.00585 == pytest.approx(scheme.lr_at(500_000, 500_000), abs=1e-5)
    assert Augment(flip=True, crop=4, padding="reflect") == scheme.augment
    assert (AverageSpec(alpha=0.9999, ramp=False),) == scheme.companions()
    assert scheme.unlabeled(0).labeled_too


@pytest.mark.parametrize(("classes", "parameters"), [(10, 1_467_610), (100, 1_479_220)])
def test_its_network_has_the_published_size(classes: int, parameters: int) -> None:
    """Another WRN-28-2 learns another curve (methods, Sec. 24)."""
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = build_network(WideResnet(), classes, spec, seed=0)

    assert parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0}, "temperature"),
        ({"threshold": 1.1}, "threshold"),
        ({"unlabeled_batch_size": 1}, "unlabeled_batch_size"),
        ({"annealing": "cosine"}, "annealing"),
        ({"average": {"alpha": 1.0}}, "alpha"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], message: str) -> None:
    """A training of hours would end in the middle, or learn nothing of unlabeled images."""
    with pytest.raises(ValidationError, match=message):
        Uda.model_validate(wrong)


def test_views_of_two_sizes_are_refused() -> None:
    """The first step would end in torch's error about shapes."""
    given = {"strong": {"window": [4, 4]}}
    with pytest.raises(ValidationError, match="images of two sizes; give both the same"):
        Uda.model_validate(given)
    Uda.model_validate(given | {"augment": {"window": [4, 4]}})


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


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {
        "average": {"alpha": 0.9},
        "annealing": "linear",
        "labeled_too": True,
        "batch_norm": "separate",
        "mask": "tempered",
    },
}


def scheme(**fields: Any) -> dict[str, Any]:
    """What learns something of unlabeled digits within seconds."""
    given = {"name": "uda", "epochs": 4, "batch_size": 16, "unlabeled_batch_size": 24, "lr": 0.05}
    views = {"augment": {"crop": 1}, "strong": {"crop": 1, "policy": "uda", "cutout": 3}}
    return {**given, "threshold": 0.3, **views, **fields}


def job(store: Store, out: Path | str, **fields: Any) -> TrainJob:
    """A training on the first 65 digits: the last of its four batches has 17 images."""
    x = Experiment.model_validate(
        {
            "name": "test",
            "dataset": "digits",
            "model": fields.pop("model", SmallCnn(width=4, dropout=0.3)),
            "scheme": scheme(**fields),
            "strategy": "random",
            "budget": {"initial": 65, "per_cycle": 1, "total": 65},
            "compute": {"checkpoint_seconds": 0},
            "tracking": "none",
        }
    )
    ids, labels = store.pool.ids()[:65], store.labels("pool")
    values = tuple(int(labels[unit]) for unit in ids)
    return TrainJob(x, 0, store.url, tuple(ids), values, None, str(out))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Digits(store=str(tmp_path_factory.mktemp("stores"))).open()


class Interrupted(Exception):
    """What stops a training in these tests."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_interrupted_training_ends_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """A restart would lose the average or its count, see other views, or start its annealing
    again."""
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    train(job(store, straight, **VARIANTS[variant]), Worker())
    original = Learner.step

    def step(made: Learner, batch: Batch) -> dict[str, Tensor]:
        if batch.step == 10:
            raise Interrupted
        return original(made, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", step)
        with pytest.raises(Interrupted):
            train(job(store, cut, **VARIANTS[variant]), Worker())
    assert (cut / "checkpoint-000002.pt").exists()
    train(job(store, cut, **VARIANTS[variant]), Worker())

    assert_same_end(straight, cut)
    assert all(row["divergence"] > 0 and 0 < row["confident"] < 1 for row in rows(straight))
    if variant == "all":
        last = load_file(straight / "companion-average.safetensors")
        assert 16 == last["_extra_state"]


def test_the_average_is_evaluated_and_the_last_weights_are_kept(
    store: Store, tmp_path: Path
) -> None:
    """Evaluation and scoring read the weights' file: it would hold the last ones; or these would be
    others than those of the same training without an average."""
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    train(job(store, plain), Worker())
    train(job(store, averaged, average={"alpha": 0.99, "ramp": True}), Worker())
    last = load_file(plain / "weights.safetensors")
    kept = load_file(averaged / "companion-average.safetensors")
    mean = load_file(averaged / "weights.safetensors")

    assert last.keys() == mean.keys()
    for name, value in last.items():
        assert torch.equal(value, kept[f"network.{name}"]), name
    assert not torch.equal(last["classifier.weight"], mean["classifier.weight"])
    assert rows(plain) == rows(averaged)


def two_and_one(store: Store, folder: Path, fields: dict[str, Any]) -> tuple[Path, Path]:
    """The same training by one worker and by two processes."""
    one, two = folder / "one", folder / "two"
    as_two(_work, two, store.url, fields)
    train(job(store, one, model=Mlp(), **fields), Worker())
    return one, two


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_workers_train_as_one(store: Store, tmp_path: Path, variant: str) -> None:
    """Workers would share views wrongly, or take the mean of the kept images of each."""
    one, two = two_and_one(store, tmp_path, VARIANTS[variant])
    files = sorted(path.name for path in one.glob("*.safetensors"))

    assert files == sorted(path.name for path in two.glob("*.safetensors"))
    for file in files:
        mine, its = load_file(one / file), load_file(two / file)
        for name, value in mine.items():
            torch.testing.assert_close(value, its[name], rtol=1e-4, atol=1e-5, msg=name)
    for mine_row, its_row in zip(rows(one), rows(two), strict=True):
        assert mine_row == pytest.approx(its_row, rel=1e-4)


# A whole run

COMPUTE = {"engine": "local", "shard_rows": 256, "checkpoint_seconds": 0}


def go(x: Experiment, folder: Path) -> list[list[str]]:
    """What a run chooses, cycle by cycle."""
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
        return [list(ledger.result(cycle, Chosen).ids) for cycle in range(pool.cycle)]


@pytest.mark.parametrize(
    ("strategy", "ensemble"),
    [
        ("cod", 1),
        ("emaod", 1),
        ("entropy_gradnorm", 1),
        ("core_set", 1),
        ("epmcm", 1),
        ("variation_ratio", 2),
    ],
)
def test_strategies_score_with_the_average(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, ensemble: int
) -> None:
    """A strategy would see the last weights, or its reference would be them: every network of a
    pass is read from a weights' file, and these hold averages."""
    from rayal.cycle.scorer import Scorer

    read: list[str] = []
    restored = Scorer._restored
    monkeypatch.setattr(
        Scorer,
        "_restored",
        lambda self, file: read.append(f"{file.folder}/{file.record.name}") or restored(self, file),
    )
    x = short(
        tiny,
        scheme=scheme(epochs=2, average={"alpha": 0.9}),
        strategy=strategy,
        ensemble=ensemble,
        compute=COMPUTE,
        start="warm",
    )
    picks = go(x, tmp_path)

    assert [20, 20] == [len(ids) for ids in picks]
    assert {"weights.safetensors"} == {path.rsplit("/")[-1] for path in read}
    for cycle in range(3):
        folder = tmp_path / f"cycle-{cycle:03d}/train"
        mean, last = (
            load_file(folder / name)
            for name in ("weights.safetensors", "companion-average.safetensors")
        )
        assert not torch.equal(mean["classifier.weight"], last["network.classifier.weight"])


def test_a_warm_cycle_continues_from_the_last_weights(tiny: Any, tmp_path: Path) -> None:
    """With an average only what is evaluated may change: without one, the training goes the same
    way through all cycles."""
    random: dict[str, Any] = {"strategy": "random", "compute": COMPUTE, "start": "warm"}
    go(short(tiny, scheme=scheme(epochs=2), **random), tmp_path / "plain")
    go(
        short(tiny, scheme=scheme(epochs=2, average={"alpha": 0.9}), **random),
        tmp_path / "averaged",
    )
    for cycle in range(3):
        plain, averaged = (
            tmp_path / name / f"cycle-{cycle:03d}/train" for name in ("plain", "averaged")
        )
        assert rows(plain) == rows(averaged)
        last = load_file(averaged / "companion-average.safetensors")
        for name, value in load_file(plain / "weights.safetensors").items():
            assert torch.equal(value, last[f"network.{name}"]), name


def test_a_pool_labeled_to_its_end(tiny: Any, tmp_path: Path) -> None:
    """The last training would have no unlabeled images, unless labeled ones are among them."""
    few = {"dataset": {"name": "digits", "limit_pool": 60, "limit_test": 50}, "compute": COMPUTE}
    for name, labeled_too in (("without", False), ("with", True)):
        go(short(tiny, scheme=scheme(epochs=2, labeled_too=labeled_too), **few), tmp_path / name)
        last = rows(tmp_path / name / "cycle-002/train")[-1]

        assert labeled_too == ("divergence" in last)


def _work(rank: int, out: Path, store: str, fields: dict[str, Any]) -> None:
    train(job(Store(store), out, model=Mlp(), **fields), Worker(rank, 2))
