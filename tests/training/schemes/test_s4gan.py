"""s4GAN's two objectives by hand, who learns from which, and its training: interrupted, shared by
workers, on a pool labeled to its end.

Run as a program, this file is one of two workers of a training.
"""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.card import ImageSpec
from rayal.data.datasets.camvid import Camvid
from rayal.data.masks import IGNORE
from rayal.data.pixels import upsampled
from rayal.data.store import Store
from rayal.data.tasks.segmentation import Segmentation
from rayal.experiment.experiment import Experiment
from rayal.models.base import Model, Outputs
from rayal.models.companions.base import Companions
from rayal.models.companions.discriminator import Discriminator, Judged, one_hot
from rayal.models.network import DenseNetwork
from rayal.parts import build
from rayal.training.base import Batch, Unlabeled
from rayal.training.schemes import s4gan
from rayal.training.schemes.s4gan import S4gan, S4ganLearner, cross_entropy_to, feature_distance
from rayal.training.schemes.supervised import Supervised
from tests.support.ended import rows
from tests.support.forks import as_two

CLASSES = 2
PLAIN = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "steps": 10}
TINY = {"width": 2, "dropout": 0.0}


class Pointwise(nn.Module):
    """Grey images of 16x16; the logits of a place of the grid, 8x8, are of its mean brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(1, CLASSES, 1)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None])
            self.classifier.bias.zero_()

    def forward(self, images: Tensor) -> Outputs:
        maps = F.avg_pool2d(images, 2)
        return Outputs(self.classifier(maps), maps.mean(dim=(2, 3)), (maps,))


class Scripted(Discriminator):
    """Says these logits of images whose mean brightness is these, whatever their masks."""

    says: dict[float, float]

    def forward(self, masks: Tensor, images: Tensor) -> Judged:
        judged = super().forward(masks, images)
        logits = [self.says[round(image.mean().item(), 3)] for image in images]
        return Judged(judged.logits * 0 + torch.tensor(logits), judged.features)


def learner(scripted: dict[float, float] | None = None, **fields: Any) -> S4ganLearner:
    """A learner of a tiny model and a tiny discriminator without dropout, always the same."""
    torch.manual_seed(1)
    scheme = S4gan.model_validate({**PLAIN, "discriminator": TINY, **fields})
    model = Pointwise()
    (spec,) = scheme.companions()
    companion = spec.build(model, CLASSES, lambda: nn.Identity())
    if scripted is not None:
        companion.__class__ = Scripted
        companion.says = scripted
    made = scheme.start(model, Segmentation(), Companions([(spec, companion)]), 0)
    assert isinstance(made, S4ganLearner)
    return made


def batch(step: int = 1, weight: float = 1.0, unlabeled: Tensor | None = None) -> Batch:
    """Two labeled and three unlabeled images, or the given ones; some pixels have no label."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(5, 1, 16, 16, generator=generator)
    labels = torch.randint(0, CLASSES, (2, 16, 16), generator=generator, dtype=torch.uint8)
    labels[0, :3] = IGNORE
    others = images[2:] if unlabeled is None else unlabeled
    return Batch(images[:2], labels, step, 10, others, weight)


def even(*values: float) -> Tensor:
    """Images of one brightness each."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 16, 16)


def always(made: S4ganLearner, probability: float) -> None:
    """The discriminator says this of whatever it sees, and its features are all the same."""
    with torch.no_grad():
        for parameter in made.discriminator.parameters():
            parameter.zero_()
        made.discriminator.classifier.bias.fill_(math.log(probability / (1 - probability)))


def supervised(given: Batch) -> float:
    logits = upsampled(Pointwise()(given.images).logits, (16, 16))
    return F.cross_entropy(logits, given.labels.long(), ignore_index=IGNORE).item()


def snapshot(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# The model's objective


def test_pseudo_labels_by_hand() -> None:
    """Of an even image of brightness a the logits are (a, -a): its cross-entropy with the class
    that they say is log(1 + e^-2|a|). All pass; where features are alike nothing else is left."""
    made = learner()
    always(made, 0.61)
    given = batch(unlabeled=even(1.0, -2.0))
    loss = made.loss(given).item()

    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-4))) / 2
    assert expected == pytest.approx(made._noted["self_training"].item())
    assert supervised(given) + expected == pytest.approx(loss)
    assert 0.0 == made._noted["feature_matching"]
    assert 1.0 == made._noted["passed"]


def test_only_images_that_pass_are_labels() -> None:
    """The mean would be over all images, or over the wrong ones."""
    made = learner({1.0: 0.41, -2.0: 0.4, 3.0: 5.0}, feature_matching=0)  # sigmoid(0.4) = 0.5987
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-6))) / 2
    made.discriminator.says |= {round(i.mean().item(), 3): 0.0 for i in batch().images}
    made.loss(batch(unlabeled=even(1.0, -2.0, 3.0)))

    assert expected == pytest.approx(made._noted["self_training"].item())
    assert 2 / 3 == pytest.approx(made._noted["passed"].item())


@pytest.mark.parametrize(
    ("probability", "step", "fields"),
    [(0.5, 1, {"threshold": 0.5}), (0.599, 1, {}), (0.9, 0, {}), (0.999, 1, {"threshold": 1})],
    ids=["at the threshold", "below it", "first step", "never"],
)
def test_no_image_passes(probability: float, step: int, fields: dict[str, Any]) -> None:
    """0 / 0 would make the model NaN; or untrained predictions would be labels."""
    made, given = learner(**fields), batch(step)
    always(made, probability)
    loss = made.loss(given)
    loss.backward()

    assert supervised(given) == pytest.approx(loss.item())
    plain = Supervised.model_validate(PLAIN).start(Pointwise(), Segmentation(), Companions(), 0)
    plain.loss(given).backward()
    for mine, its in zip(made.model.parameters(), plain.model.parameters(), strict=True):
        assert mine.grad is not None and torch.equal(its.grad, mine.grad)


def test_all_of_the_loss_by_its_definition() -> None:
    """A term would have another weight, be of other images, or not reach the model."""
    fields = {"feature_matching": 3000.0, "self_training": 0.7, "threshold": 0.0}
    made, given = learner(**fields), batch()
    assert given.unlabeled is not None
    labeled, logits = (
        upsampled(made.model(images).logits, (16, 16)) for images in (given.images, given.unlabeled)
    )
    task = F.cross_entropy(labeled, given.labels.long(), ignore_index=IGNORE)
    true = made.discriminator(one_hot(given.labels, CLASSES), given.images).features
    features = made.discriminator(logits.softmax(1), given.unlabeled).features
    width = features.shape[1]
    matching = sum(abs(sum(true[:, d]) / 2 - sum(features[:, d]) / 3) for d in range(width)) / width
    training = -logits.log_softmax(1).gather(1, logits.argmax(1)[:, None]).mean()
    expected, actual = task + 3000 * matching + 0.7 * training, made.loss(given)

    assert 3000 * matching.item() > 1
    torch.testing.assert_close(expected, actual)
    weights = list(made.model.parameters())
    for one, other in zip(
        *(torch.autograd.grad(x, weights) for x in (expected, actual)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_feature_distance_by_hand() -> None:
    """|mean (1, 3), (3, 1) - mean (0, 0), (2, 8)| = (1, 2): 1.5, not the distance of each pair."""
    none = torch.zeros(2)
    features = torch.tensor([[0.0, 0.0], [2.0, 8.0]], requires_grad=True)
    true = Judged(none, torch.tensor([[1.0, 3.0], [3.0, 1.0]]))
    distance = feature_distance(true, Judged(none, features))
    distance.backward()

    assert 1.5 == distance.item()
    assert [[-0.25, 0.25]] * 2 == features.grad.tolist()


def test_pseudo_labels_are_no_way_for_gradients_into_the_threshold() -> None:
    """A model that is paid for each passing image would learn to please the discriminator."""
    made, given = learner(feature_matching=0.0, threshold=0.0), batch()
    made.loss(given).backward()
    other = learner(feature_matching=0.0, threshold=0.0)
    always(other, 0.5)  # no gradient could come from here
    other.loss(given).backward()

    for mine, its in zip(made.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(its.grad, mine.grad)


# The discriminator's


def test_discriminators_loss_by_hand() -> None:
    """Predictions would be its true masks; or one kind count for more where it is larger."""
    made = learner()
    always(made, 0.8)
    values = made.step(batch())

    expected = -(math.log(0.8) + math.log(0.2)) / 2
    assert expected == pytest.approx(values["discriminator_loss"].item())
    assert 0.5 == values["discriminator_accuracy"]
    assert -math.log(0.8) == pytest.approx(
        cross_entropy_to(torch.tensor([math.log(4.0)]), 1.0).item()
    )


def test_discriminator_learns_by_its_own_adam() -> None:
    """It would follow the model's rate, schedule or weight decay, or masks that the model made
    after it had moved."""
    fields = {"weight_decay": 0.1, "discriminator_lr": 0.01}
    made, reference = learner(**fields), learner(**fields)
    judge = reference.discriminator.requires_grad_(True)
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.01, betas=(0.9, 0.99))
    for step in range(4):
        given = batch(step)
        assert given.unlabeled is not None
        with torch.no_grad():
            predicted = upsampled(made.model(given.unlabeled).logits, (16, 16)).softmax(1)
        of_true = judge(one_hot(given.labels, CLASSES), given.images).probability
        of_predicted = judge(predicted, given.unlabeled).probability
        loss = -(of_true.log().mean() + (1 - of_predicted).log().mean()) / 2
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 10) ** 0.9
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values = made.step(given)
        assert loss.item() == pytest.approx(values["discriminator_loss"].item(), rel=1e-4)

    for expected, actual in zip(judge.parameters(), made.discriminator.parameters(), strict=True):
        torch.testing.assert_close(expected, actual, rtol=1e-3, atol=1e-5)


def test_neither_player_gets_a_gradient_of_the_others() -> None:
    """The model would teach the discriminator to be fooled, or the reverse."""
    made, given = learner(), batch()
    before = snapshot(made.discriminator)
    made.loss(given).backward()

    assert all(p.grad is None for p in made.discriminator.parameters())
    assert all(p.grad is not None for p in made.model.parameters())
    assert equal(before, snapshot(made.discriminator))
    made.optimizer.zero_grad()
    before, model = snapshot(made.discriminator), snapshot(made.model)
    assert made._shown is not None
    made.teach(made._shown, given)
    assert all(p.grad is None for p in made.model.parameters())
    assert equal(model, snapshot(made.model))
    assert not equal(before, snapshot(made.discriminator))


def test_optimizers_share_nothing() -> None:
    """SGD would move the discriminator beside its Adam."""
    made = learner()
    held = [
        {p for group in each.param_groups for p in group["params"]}
        for each in (made.optimizer, made.discriminator_optimizer)
    ]

    assert [set(made.model.parameters()), set(made.discriminator.parameters())] == held


def test_learns_what_can_be_told_apart() -> None:
    """The discriminator would stay at chance on masks that differ at a glance."""
    made = learner(discriminator={"width": 8, "dropout": 0.0}, discriminator_lr=1e-3, lr=1e-9)
    losses, right = [], []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        images = torch.rand(12, 1, 16, 16, generator=generator)  # predicted 0.5 to 0.88, everywhere
        labels = (images[:6, 0] > 0.5).to(torch.uint8)
        values = made.step(Batch(images[:6], labels, 1, 100, images[6:]))
        losses.append(values["discriminator_loss"].item())
        right.append(values["discriminator_accuracy"].item())

    assert abs(losses[0] - math.log(2)) < 0.1
    assert losses[-1] < 0.1
    assert 1.0 == right[-1]


# Around it


def test_without_unlabeled_images_it_is_supervised() -> None:
    """The last cycle of a run that labels its whole pool would crash, or train otherwise."""
    made = learner()
    plain = Supervised.model_validate(PLAIN).start(Pointwise(), Segmentation(), Companions(), 0)
    before = snapshot(made.discriminator)
    given = batch()._replace(unlabeled=None)
    mine, its = made.step(given), plain.step(given)

    assert its == mine
    assert equal(snapshot(plain.model), snapshot(made.model))
    assert equal(before, snapshot(made.discriminator))


def test_a_weight_makes_up_for_labels_alone() -> None:
    """`step` multiplies by a weight that makes up for unequal labeled parts; the unlabeled parts
    are equal, and the worker with more labels would count for more of them."""
    made = learner(threshold=0.0, feature_matching=0.0)
    made.task = Segmentation(average="image")
    plain = Supervised.model_validate(PLAIN).start(Pointwise(), made.task, Companions(), 0)
    of_labels = plain.loss(batch()).item()
    training = made.loss(batch()).item() - of_labels
    for weight in (0.5, 1.5):
        loss = made.loss(batch(weight=weight)).item() * weight
        assert of_labels * weight + training == pytest.approx(loss)


def test_where_pixels_are_counted_no_weight_is_left() -> None:
    """Workers share the number of labeled pixels: unequal parts would be made up for twice."""
    made = learner(threshold=0.0, feature_matching=0.0)
    whole = made.loss(batch()).item()
    for weight in (0.5, 1.5):
        assert whole == pytest.approx(made.loss(batch(weight=weight)).item() * weight)


def test_bf16_keeps_losses_and_weights_in_float32() -> None:
    """Half precision would reach Adam's weights, or the threshold."""
    fields = {"threshold": 0.0, "lr": 1e-9}
    exact = learner(**fields).step(batch())
    made = learner(**fields, precision="bf16")
    near = made.step(batch())

    for name, value in exact.items():
        assert torch.float32 == near[name].dtype
        assert value.item() == pytest.approx(near[name].item(), rel=0.05, abs=0.02), name
    assert {torch.float32} == {p.dtype for p in made.discriminator.parameters()}


def test_state_continues_bit_equal() -> None:
    """A restart would lose Adam's moments, and with them the next steps."""
    straight, stopped = learner(), learner()
    for step in range(4):
        straight.step(batch(step))
    for step in range(2):
        stopped.step(batch(step))
    resumed = learner()
    resumed.load_state_dict(stopped.state_dict())
    for step in range(2, 4):
        resumed.step(batch(step))

    assert equal(snapshot(straight.model), snapshot(resumed.model))
    assert equal(snapshot(straight.discriminator), snapshot(resumed.discriminator))


def test_defaults_are_the_papers() -> None:
    """An experiment that names the scheme alone would train by other weights."""
    scheme = S4gan()

    assert (0.1, 1.0, 0.6) == (scheme.feature_matching, scheme.self_training, scheme.threshold)
    assert (1e-4, 64) == (scheme.discriminator_lr, scheme.discriminator.width)
    assert Unlabeled(8) == scheme.unlabeled(0) == scheme.unlabeled(3)
    assert scheme == build("schemes", scheme.model_dump(mode="json"))


def test_the_documented_block_loads() -> None:
    """Who copies it into a config would be told that a field does not exist."""
    text = str(s4gan.__doc__).split("    scheme:\n")[1].split("    strategy:")[0]
    scheme = build("schemes", yaml.safe_load(text))

    assert (10000, 8, 2.5e-4, 10.0) == (
        *(scheme.steps, scheme.batch_size, scheme.lr, scheme.last_layer_lr),
    )
    assert "poly" == scheme.schedule and (321, 321) == scheme.augment.window


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"self_training": -1}, {"unlabeled_batch_size": 1}]
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """A training of hours would end in the middle, or push predictions from true masks."""
    with pytest.raises(ValidationError):
        S4gan.model_validate(wrong)


# One training, as the engines run it


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def scene(seed: int) -> tuple[bytes, bytes]:
    """A dark image with a bright rectangle of another class."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 100, (24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    top, left = rng.integers(2, 10, 2)
    mask[top : top + 10, left : left + 16] = 1 + seed % 2
    image[mask > 0] += np.array([100, 150, 50 * (seed % 2)], np.uint8)
    return png(image), png(mask)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twenty scenes to train on, four to test."""
    root = tmp_path_factory.mktemp("scenes")
    splits = ["train"] * 20 + ["test"] * 4
    images, masks = zip(*(scene(seed) for seed in range(24)), strict=True)
    table = {
        "id": [f"scene-{i:02d}" for i in range(24)],
        "split": splits,
        "image": pa.array(images, pa.binary()),
        "mask": pa.array(masks, pa.binary()),
    }
    pq.write_table(pa.table(table), root / "camvid.parquet")
    return Camvid(root=str(root), store=str(root / "store")).open()


class NoNorm(Model):
    """Two convolutions: no batch norm, so that workers sharing a batch change nothing."""

    tasks = frozenset({"segmentation"})

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        first = nn.Sequential(nn.Conv2d(image.channels, 8, 3, 2, 1), nn.ReLU())
        return DenseNetwork(
            blocks=[first], layer_channels=[8], classifier=nn.Conv2d(8, num_classes, 1)
        )


def job(store: Store, out: Path | str, labeled: int = 9, **fields: Any) -> TrainJob:
    """A training on the first scenes: the last of its two batches has five images."""
    x = Experiment.model_validate(
        {
            "name": "test",
            "dataset": {"name": "camvid", "root": "/nowhere"},
            "task": "segmentation",
            "model": fields.pop("model", {"name": "small_segmenter", "width": 4, "dropout": 0.2}),
            "scheme": {
                "name": "s4gan",
                **{"epochs": 5, "batch_size": 4, "unlabeled_batch_size": 6, "lr": 0.05},
                **{"threshold": 0.45, "discriminator": {"width": 4}, "discriminator_lr": 1e-3},
                "augment": {"flip": True, "window": [20, 24], "scale": [0.8, 1.2]},
                **fields,
            },
            "strategy": "random",
            "budget": {"initial": 9, "per_cycle": 1, "total": 9},
            "compute": {"checkpoint_seconds": 0},
            "tracking": "none",
        }
    )
    labels = store.labels("pool")
    ids = tuple(store.pool.ids()[:labeled])
    return TrainJob(x, 0, store.url, ids, tuple(labels[i] for i in ids), None, str(out))


class Interrupted(Exception):
    """What stops a training in these tests."""


@pytest.mark.parametrize("at", [3, 8])
def test_interrupted_training_ends_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """A restart would lose the discriminator, its optimizer, its dropout or the images' order."""
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    train(job(store, straight), Worker())
    original = S4ganLearner.step

    def step(made: S4ganLearner, batch: Batch) -> dict[str, Tensor]:
        if batch.step == at:
            raise Interrupted
        return original(made, batch)

    with monkeypatch.context() as patch:
        patch.setattr(S4ganLearner, "step", step)
        with pytest.raises(Interrupted):
            train(job(store, cut), Worker())
    assert list(cut.glob("checkpoint-*.pt"))
    train(job(store, cut), Worker())

    names = ["companion-discriminator.safetensors", "weights.safetensors"]
    for folder in (straight, cut):
        assert names == sorted(path.name for path in folder.glob("*.safetensors"))
    for name in names:
        assert (straight / name).read_bytes() == (cut / name).read_bytes(), name
    assert rows(straight) == rows(cut)
    assert any(row["self_training"] > 0 for row in rows(straight))
    assert all(row["feature_matching"] > 0 for row in rows(straight))


def test_a_pool_labeled_to_its_end(store: Store, tmp_path: Path) -> None:
    """The last training of a run that buys every label has no unlabeled batch."""
    train(job(store, tmp_path, labeled=20), Worker())

    assert {"epoch", "loss", "accuracy", "lr"} == rows(tmp_path)[-1].keys()


def test_two_workers_train_as_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker would play against a discriminator of its own, or match its own means."""
    one, two = tmp_path / "one", tmp_path / "two"
    as_two(_work, two, store.url)
    monkeypatch.setattr(s4gan, "Adam", plain_descent)
    train(shared(store, one), Worker())

    for file in ("companion-discriminator.safetensors", "weights.safetensors"):
        mine, its = load_file(one / file), load_file(two / file)
        for name, value in mine.items():
            torch.testing.assert_close(value, its[name], rtol=1e-4, atol=1e-6, msg=name)
    assert 1 / 6 * 5 / 9 == pytest.approx(rows(one)[3]["passed"])  # five of nine images are its
    free = ("discriminator_accuracy", "discriminator_loss", "accuracy")  # of unequal parts
    for mine, its in zip(rows(one), rows(two), strict=True):
        for name in mine.keys() - free:
            assert mine[name] == pytest.approx(its[name], rel=1e-3), name


def shared(store: Store, out: Path | str) -> TrainJob:
    """A training that two workers do as one does: no batch norm, no dropout; of nine images the
    second batch has five, so that the workers' parts are unequal."""
    tiny = {"width": 4, "dropout": 0.0}
    augment = {"flip": True}
    return job(
        store,
        out,
        **{"model": NoNorm(), "discriminator": tiny, "augment": augment, "discriminator_lr": 0.5},
        threshold=0.5049,  # one image of one worker and none of the other pass in the eighth step
    )


def plain_descent(parameters: Any, lr: float, betas: Any, fused: Any) -> torch.optim.Optimizer:
    """In place of Adam, which no wrong scale of a gradient changes, and rounding does."""
    return torch.optim.SGD(parameters, lr, momentum=0.9, fused=fused)


def _work(rank: int, out: Path, store: str) -> None:
    s4gan.Adam = plain_descent
    train(shared(Store(store), out), Worker(rank, 2))
