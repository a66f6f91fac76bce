"""Stand-ins that many tests share: a watcher, a network and a companion of few lines."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.models.base import Model, Outputs
from rayal.models.card import ModelCard
from rayal.models.companions.base import CompanionSpec, LearningCompanion
from rayal.parts import find, names


class Silent:
    """A watcher that does nothing; tests extend it by what they want to hear."""

    def stage(self, cycle: int, stage: str) -> None: ...

    def shards(self, done: int, total: int) -> None: ...

    def finished(self, cycle: int, stage: str, result: Any) -> None: ...


class Says(nn.Module):
    """A network that says these logits, whatever the images."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.calls = logits, 0

    def forward(self, images: Tensor) -> Outputs:
        self.calls += 1
        return Outputs(self.logits, self.logits, ())


class Guess(LearningCompanion):
    """Predicts every image's loss from the channels of the last block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 1)

    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        guess = self.linear(outputs.layers[-1].mean(dim=(2, 3)))[:, 0]
        return (guess - per_unit_loss).square().mean()


class GuessSpec(CompanionSpec):
    """Its head on the last block."""

    name = "guess"

    def build(self, model: Any, classes: int, fresh: Callable[[], nn.Module]) -> Guess:
        return Guess(model.layer_channels[-1])


def card_of(model: Model, classes: int, image: ImageSpec) -> ModelCard:
    """What a trained model of so many classes says of itself."""
    names = tuple(f"class-{number}" for number in range(classes))
    task = find("tasks", min(model.tasks))()
    return ModelCard(model=model, classes=names, image=image, decoding=Decoding(), task=task)


def strategies_for(task: str) -> list[str]:
    """The names of the strategies that are defined for a task."""
    return [name for name in names("strategies") if task in find("strategies", name).tasks]
