"""Length, learning rate and one step of a training, on models small enough to do by hand."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.companion import Companion, LearningCompanion
from rayal.model import Outputs
from rayal.parts import build
from rayal.scheme import Batch, Learner, TrainingScheme
from rayal.schemes.supervised import Supervised
from rayal.tasks.classification import Classification

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


def learner(companion: Companion | None = None, **fields: object) -> Learner:
    companions = {} if companion is None else {"guess": companion}
    return Supervised.model_validate(fields).start(Linear(), Classification(), companions, 0)


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
    ("fields", "message"),
    [
        ({"epochs": 2, "steps": 3}, "set the other to null"),
        ({"epochs": None}, "set the other to null"),
        ({"epochs": 10, "milestones": [11]}, "beyond the training's 10 epochs"),
        ({"steps": 10, "milestones": [11]}, "beyond the training's 10 steps"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": 0}, "lr"),
        ({"momentum": 0, "nesterov": True}, "nesterov"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, object], message: str) -> None:
    """A scheme that cannot do what it says would be found out hours later."""
    with pytest.raises(ValidationError, match=message):
        Supervised.model_validate(fields)


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
        [*straight.model.parameters(), *straight.companions["guess"].parameters()],
        [*resumed.model.parameters(), *resumed.companions["guess"].parameters()],
        strict=True,
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
