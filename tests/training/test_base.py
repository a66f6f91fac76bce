"""Length, learning rate and one step of a training, on models small enough to do by hand.

Run as a program, this file is one of two workers that take such steps together.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.data.masks import IGNORE
from rayal.data.pixels import upsampled
from rayal.data.tasks.classification import Classification
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import UsageError
from rayal.models.base import Outputs
from rayal.models.companions.base import Companion, Companions, LearningCompanion
from rayal.parts import build
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner
from rayal.training.schemes.supervised import Supervised
from tests.support.doubles import GuessSpec
from tests.support.forks import as_two

ROOT = Path(__file__).parents[2]

IMAGES = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
LABELS = torch.tensor([0, 1, 1])


class Linear(nn.Module):
    """Two inputs, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(2, 2)
        nn.init.zeros_(self.classifier.bias)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[0.1, -0.2], [0.3, 0.4]]))

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images, (images[..., None, None],))


class Deep(nn.Module):
    """A layer below the last one, and no biases: logits V U x."""

    U = torch.tensor([[0.5, 1.0], [-0.3, 0.2]])
    V = torch.tensor([[0.1, -0.2], [0.3, 0.4]])

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.classifier = (nn.Linear(2, 2, bias=False) for _ in range(2))
        self.load_state_dict({"trunk.weight": self.U, "classifier.weight": self.V})

    def forward(self, images: Tensor) -> Outputs:
        features = self.trunk(images)
        return Outputs(self.classifier(features), features, ())


class Guess(LearningCompanion):
    """Predicts every image's loss from its features, by squared error."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        assert not per_unit_loss.requires_grad
        assert 0 <= progress < 1
        return ((self.linear(outputs.features)[:, 0] - per_unit_loss) ** 2).mean()


def batch(step: int = 0, steps: int = 10, weight: float = 1.0) -> Batch:
    return Batch(IMAGES, LABELS, step, steps, weight=weight)


def learner(
    companion: Companion | None = None, model: type[nn.Module] = Linear, **fields: object
) -> Learner:
    companions = Companions([] if companion is None else [(GuessSpec(), companion)])
    return Supervised.model_validate(fields).start(model(), Classification(), companions, 0)


def lrs(scheme: TrainingScheme, steps: int) -> list[float]:
    return [scheme.lr_at(step, steps) for step in range(steps)]


def torch_lrs(scheduler: type, epochs: int, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, rates = scheduler(optimizer, **options), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_defaults_are_the_cifar_protocol() -> None:
    """Experiments that name no scheme would not train as the papers do."""
    scheme = Supervised()

    assert (scheme.epochs, scheme.steps, scheme.batch_size) == (200, None, 128)
    assert (scheme.lr, scheme.momentum, scheme.weight_decay) == (0.1, 0.9, 5e-4)
    assert scheme.milestones == (160,)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"epochs": 50}, (50, None, (40,))),
        ({"steps": 1000}, (None, 1000, (800,))),
        ({"epochs": 1}, (1, None, (1,))),
        ({"epochs": 10, "milestones": [3, 6]}, (10, None, (3, 6))),
    ],
)
def test_length_and_milestones_follow_from_what_is_given(
    fields: dict[str, object], expected: tuple[object, ...]
) -> None:
    """A short training would keep the milestones of a long one and never lower its rate."""
    scheme = Supervised.model_validate(fields)

    assert expected == (scheme.epochs, scheme.steps, scheme.milestones)
    assert scheme == build("schemes", scheme.model_dump())


@pytest.mark.parametrize(
    ("fields", "message", "step"),
    [
        ({"epochs": 2, "steps": 3}, "set the other to null", {"epochs": None}),
        ({"epochs": None}, "give one and set the other to null", {"steps": 3}),
        ({"epochs": 10, "milestones": [11]}, "10 epochs; lower them", {"milestones": [10]}),
        ({"steps": 10, "milestones": [11]}, "10 steps; lower them", {"milestones": [9]}),
        ({"batch_size": 1}, "batch_size", {"batch_size": 2}),
        ({"lr": 0}, "lr", {"lr": 0.1}),
        ({"momentum": 0, "nesterov": True}, "use both, or not it", {"momentum": 0.9}),
        ({"optimizer": "adam", "nesterov": True}, "use both, or not it", {"nesterov": False}),
    ],
)
def test_contradictions_are_refused(
    fields: dict[str, object], message: str, step: dict[str, object]
) -> None:
    """A scheme that cannot do what it says would be found out hours later."""
    with pytest.raises(ValidationError, match=message):
        Supervised.model_validate(fields)
    Supervised.model_validate(fields | step)


def test_multistep_by_hand() -> None:
    """The rate would change one step early or late."""
    scheme = Supervised(epochs=4, lr=1.0, milestones=(1, 3), gamma=0.5)

    assert [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25] == lrs(scheme, 12)


def test_milestones_count_steps_where_the_length_is_in_steps() -> None:
    """Milestones of a training in steps would be taken for epochs."""
    scheme = Supervised(steps=5, lr=1.0, milestones=(2,), gamma=0.5)

    assert [1, 1, 0.5, 0.5, 0.5] == lrs(scheme, 5)


@pytest.mark.parametrize("per_epoch", [1, 3, 7, 40, 391])
def test_multistep_falls_exactly_on_its_epoch(per_epoch: int) -> None:
    """Rounding would move a milestone by a step for some sizes of the labeled set."""
    scheme = Supervised(epochs=200, milestones=(120, 160))
    reference = torch_lrs(
        torch.optim.lr_scheduler.MultiStepLR, 200, milestones=[120, 160], gamma=0.1
    )

    actual = lrs(scheme, 200 * per_epoch)
    assert [pytest.approx(rate) for rate in reference for _ in range(per_epoch)] == actual


def test_cosine_agrees_with_torch() -> None:
    """The cosine would end elsewhere than at zero, or start late."""
    reference = torch_lrs(torch.optim.lr_scheduler.CosineAnnealingLR, 30, T_max=30)

    assert lrs(Supervised(steps=30, schedule="cosine"), 30) == pytest.approx(reference)


def test_cosine_7_16_by_hand() -> None:
    """UDA's schedule would fall to zero instead of a fifth."""
    scheme = Supervised(steps=100, lr=1.0, schedule="cosine_7_16")

    assert scheme.lr_at(0, 100) == 1
    assert scheme.lr_at(50, 100) == pytest.approx(math.cos(7 * math.pi / 32))
    assert scheme.lr_at(100, 100) == pytest.approx(0.19509, abs=1e-5)


def test_poly_by_hand() -> None:
    """DeepLab's schedule would have another power, or not end near zero."""
    scheme = Supervised(steps=10, lr=0.1, schedule="poly")

    assert [0.1, 0.0535887, 0.0125893] == pytest.approx(
        [scheme.lr_at(step, 10) for step in (0, 5, 9)], rel=1e-5
    )  # times 1, 0.5^0.9, 0.1^0.9


def test_constant() -> None:
    """A constant schedule would be changed by milestones."""
    assert [0.1] * 5 == lrs(Supervised(steps=5, schedule="constant", milestones=(1,)), 5)


def test_step_by_hand() -> None:
    """A step would not be plain SGD on the mean cross-entropy with weight decay."""
    one = learner(steps=10, lr=0.5, momentum=0, weight_decay=0.01, schedule="constant")
    before = one.model.classifier.weight.detach().clone()
    probs = (IMAGES @ before.T).softmax(1)
    gradient = (probs - nn.functional.one_hot(LABELS)).T @ IMAGES / 3

    values = one.step(batch())
    expected = before - 0.5 * (gradient + 0.01 * before)
    assert torch.allclose(expected, one.model.classifier.weight)
    assert values["loss"].item() == pytest.approx(
        -probs[range(3), LABELS].log().mean().item(), rel=1e-6
    )
    assert values["accuracy"].item() == pytest.approx(
        (probs.argmax(1) == LABELS).float().mean().item()
    )
    assert not any(value.requires_grad for value in values.values())


def test_step_follows_the_schedule() -> None:
    """The schedule would be stated and not applied."""
    one = learner(steps=10, lr=0.5, milestones=(4,))
    rates = []
    for step in (0, 3, 4, 9):
        one.step(batch(step))
        rates.append(one.lr)

    assert [0.5, 0.5, 0.05, 0.05] == pytest.approx(rates)


def test_the_last_layer_learns_faster_by_hand() -> None:
    """The trunk would learn as fast as it, or the rate that is shown be the last layer's."""
    fields = {"momentum": 0, "weight_decay": 0.01, "schedule": "constant", "steps": 10}
    one = learner(model=Deep, lr=0.1, last_layer_lr=10.0, **fields)
    wrong = (IMAGES @ Deep.U.T @ Deep.V.T).softmax(1) - nn.functional.one_hot(LABELS)  # N C
    of_last = wrong.T @ (IMAGES @ Deep.U.T) / 3 + 0.01 * Deep.V
    of_trunk = Deep.V.T @ wrong.T @ IMAGES / 3 + 0.01 * Deep.U
    one.step(batch())

    torch.testing.assert_close(one.model.classifier.weight, Deep.V - 10 * 0.1 * of_last)
    torch.testing.assert_close(one.model.trunk.weight, Deep.U - 0.1 * of_trunk)
    assert 0.1 == pytest.approx(one.lr)


def test_faster_last_layers_follow_the_schedule() -> None:
    """One of the two groups would keep its first rate."""
    one = learner(model=Deep, steps=10, lr=0.1, last_layer_lr=4.0, schedule="poly")
    one.step(batch(5))

    assert [4 * 0.0535887, 0.0535887] == pytest.approx(
        [group["lr"] for group in one.optimizer.param_groups], rel=1e-5
    )
    assert 0.0535887 == pytest.approx(one.lr, rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_adam_agrees_with_torch(scale: float) -> None:
    """It would have other betas, no weight decay, or one rate for all layers."""
    fields = {"optimizer": "adam", "momentum": 0.8, "weight_decay": 0.1, "schedule": "constant"}
    one = learner(model=Deep, steps=10, lr=0.01, last_layer_lr=scale, **fields)
    reference = Deep()
    groups = [
        {"params": reference.trunk.parameters()},
        {"params": reference.classifier.parameters(), "lr": 0.01 * scale},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.01, betas=(0.8, 0.999), weight_decay=0.1)
    for step in range(6):
        images = IMAGES.roll(step, dims=0)  # other gradients in every step
        one.step(batch(step)._replace(images=images))
        optimizer.zero_grad()
        F.cross_entropy(reference(images).logits, LABELS).backward()
        optimizer.step()

    for expected, actual in zip(reference.parameters(), one.model.parameters(), strict=True):
        torch.testing.assert_close(expected, actual)


def test_weight_scales_the_gradient() -> None:
    """Workers with unequal parts of a batch would count the same."""
    fields = {"steps": 10, "lr": 1.0, "momentum": 0, "weight_decay": 0, "schedule": "constant"}
    whole, half = learner(**fields), learner(**fields)
    start = whole.model.classifier.weight.detach().clone()
    whole.step(batch())
    half.step(batch(weight=0.5))

    moved = whole.model.classifier.weight - start
    assert torch.allclose(moved / 2, half.model.classifier.weight - start)


def test_companion_trains_and_its_loss_reaches_the_model() -> None:
    """A companion would be carried along without learning, or its loss left out."""
    torch.manual_seed(0)
    companion = Guess()
    before = companion.linear.weight.detach().clone()
    with_companion, without = learner(companion, steps=10), learner(steps=10)
    values, plain = with_companion.step(batch()), without.step(batch())

    assert values["loss"] > plain["loss"]
    assert not torch.equal(before, companion.linear.weight)
    # its loss flows through features, which are the images here: the model is not disturbed
    assert torch.equal(with_companion.model.classifier.weight, without.model.classifier.weight)


def test_state_continues_bit_equal() -> None:
    """A restarted training would lose momentum or the companion."""
    torch.manual_seed(0)
    straight, stopped = learner(Guess(), steps=10), learner(Guess(), steps=10)
    stopped.load_state_dict(straight.state_dict())
    for step in range(3):
        straight.step(batch(step))
    for step in range(2):
        stopped.step(batch(step))
    resumed = learner(Guess(), steps=10)
    resumed.load_state_dict(stopped.state_dict())
    resumed.step(batch(2))

    assert straight.model.state_dict().keys() == resumed.model.state_dict().keys()
    for expected, actual in zip(
        [*straight.model.parameters(), *straight.companions.of(GuessSpec).parameters()],
        [*resumed.model.parameters(), *resumed.companions.of(GuessSpec).parameters()],
        strict=True,
    ):
        assert torch.equal(expected, actual)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_state_continues_two_rates_bit_equal(optimizer: str) -> None:
    """A restarted training would lose which layer is the fast one, or Adam's moments."""
    fields = {"optimizer": optimizer, "steps": 10, "last_layer_lr": 10.0, "schedule": "poly"}
    straight, stopped, resumed = (learner(model=Deep, **fields) for _ in range(3))
    for step in range(5):
        straight.step(batch(step))
    for step in range(3):
        stopped.step(batch(step))
    resumed.load_state_dict(stopped.state_dict())
    assert stopped.lr == resumed.lr
    for step in range(3, 5):
        resumed.step(batch(step))

    assert straight.lr == resumed.lr
    for expected, actual in zip(
        straight.model.parameters(), resumed.model.parameters(), strict=True
    ):
        assert torch.equal(expected, actual)


def test_bf16_keeps_weights_and_loss_in_float32() -> None:
    """Half precision would reach the weights, or the loss would lose its digits."""
    exact, rounded = learner(steps=10), learner(steps=10, precision="bf16")
    loss, near = exact.step(batch())["loss"], rounded.step(batch())["loss"]

    assert near.dtype == torch.float32
    assert rounded.model.classifier.weight.dtype == torch.float32
    assert near != loss
    assert near.item() == pytest.approx(loss.item(), rel=1e-2)


# Masks: images that hold unequal numbers of labels, on one worker or on two

SHARES = [1, 0, 3, 70, 80]
"""Labeled pixels, of 80, of the five images of a batch; the first worker has three of them."""
CASES = [
    (average, shares)
    for average in ("pixel", "image")
    for shares in (SHARES, [0, 0, 0, 2, 80], [0] * 5)
]


class Grid(nn.Module):
    """Two classes on a grid of half the size of grey images; no batch norm, so that workers sharing
    a batch change nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Conv2d(1, 3, 3, 2, 1)
        self.classifier = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Outputs:
        maps = self.block(images).relu()
        return Outputs(self.classifier(maps), maps.mean(dim=(2, 3)), (maps,))


def scenes(shares: list[int]) -> tuple[Tensor, Tensor]:
    """Five images of 8x10 and their masks."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(5, 1, 8, 10, generator=generator)
    labels = torch.randint(0, 2, (5, 80), generator=generator, dtype=torch.uint8)
    for mask, share in zip(labels, shares, strict=True):
        mask[torch.randperm(80, generator=generator)[share:]] = IGNORE
    return images, labels.view(5, 8, 10)


def outcome(average: str, shares: list[int], rank: int = 0, size: int = 1) -> dict[str, Any]:
    """The gradients of one step of this worker, and what it adds to the epoch's loss."""
    fields = {"lr": 1.0, "momentum": 0, "weight_decay": 0, "schedule": "constant", "steps": 10}
    task = Segmentation.model_validate({"average": average})
    model = Grid()
    start = [p.detach().clone() for p in model.parameters()]
    one = Supervised.model_validate(fields).start(model, task, Companions(), 0)
    images, labels = (part.tensor_split(size)[rank] for part in scenes(shares))
    values = one.step(Batch(images, labels, 0, 10, weight=len(images) * size / 5))
    gradients = [old - new.detach() for old, new in zip(start, model.parameters(), strict=True)]
    return {"loss": values["loss"].item() * len(images), "gradients": gradients}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What each of two workers says of every case."""
    folder = tmp_path_factory.mktemp("pair")
    as_two(_work, folder)
    return [torch.load(folder / str(rank)) for rank in range(2)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_two_workers_learn_from_all_labels_alike(
    case: int, pair: list[list[dict[str, Any]]]
) -> None:
    """A pixel would count for more on the worker whose images have fewer labels."""
    one, two = outcome(*CASES[case]), [said[case] for said in pair]

    assert one["loss"] == pytest.approx(two[0]["loss"] + two[1]["loss"], rel=1e-5)
    for each in two:
        torch.testing.assert_close(one["gradients"], each["gradients"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shares", [SHARES, [0, 0, 0, 2, 80]])
def test_every_labeled_pixel_counts_the_same(shares: list[int]) -> None:
    """The loss would be another mean than that of all labeled pixels of the batch."""
    images, labels = scenes(shares)
    model = Grid()
    logits = upsampled(model(images).logits, (8, 10))
    loss = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE)
    found = outcome("pixel", shares)

    assert 5 * loss.item() == pytest.approx(found["loss"], rel=1e-5)
    torch.testing.assert_close(
        list(torch.autograd.grad(loss, list(model.parameters()))), found["gradients"]
    )


@pytest.mark.parametrize("average", ["pixel", "image"])
def test_a_batch_without_a_label_teaches_nothing(average: str) -> None:
    """0 / 0 would end the training: a polygon can lie outside of every window of a batch."""
    found = outcome(average, [0] * 5)

    assert 0 == found["loss"]
    assert all(not gradient.any() for gradient in found["gradients"])


def _work(rank: int, folder: Path) -> None:
    torch.save([outcome(*case, rank, 2) for case in CASES], folder / str(rank))


@pytest.mark.parametrize(
    ("method", "value", "told"),
    [
        ("per_unit_loss", torch.tensor(1.0), r"per_unit_loss\(\) returned shape \(\); return 3"),
        ("per_unit_loss", torch.ones(3, 2), r"per_unit_loss\(\) returned shape \(3, 2\)"),
        ("per_unit_loss", 0.5, r"per_unit_loss\(\) returned 0.5; return 3 losses, \(B,\)"),
        ("loss", torch.ones(3, requires_grad=True), r"loss\(\) returned shape \(3,\); return a"),
        ("loss", torch.tensor(1.0), "a scalar tensor that depends on the weights"),
        ("loss", None, r"loss\(\) returned None"),
    ],
)
def test_a_learner_that_breaks_its_contract_is_named(method: str, value: Any, told: str) -> None:
    """A user's own scheme would end in what autograd says of it."""
    one = learner()
    setattr(one, method, lambda *_: value)
    with pytest.raises(UsageError, match=f"scheme 'supervised': .*{told}"):
        one.step(batch())
    delattr(one, method)  # its own returns what the message asks for
    assert "loss" in one.step(batch())
