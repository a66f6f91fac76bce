"""Stand-ins that many tests share: a watcher, a network and a companion of few lines."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.models.base import Model, Outputs
from rayal.models.card import ModelCard
from rayal.models.companions.base import CompanionSpec, LearningCompanion
from rayal.parts import build, find, names
from rayal.runs.events import Event
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.results import Chosen, Evaluated, Initial, Labeled, Scored, Trained
from rayal.selection.candidates import Price
from rayal.storage.folder import FileRecord, recorded
from rayal.strategies.base import Strategy


class Silent:
    """An observer that does nothing; tests extend it by what they want to hear."""

    def on(self, event: Event) -> None:
        if event.what == "begun":
            self.stage(event.cycle, event.stage)
        elif event.what == "further":
            self.further(event.done, event.total)
        else:
            self.ended(event.cycle, event.result)

    def stage(self, cycle: int | None, stage: str) -> None: ...

    def further(self, done: int, total: int) -> None: ...

    def ended(self, cycle: int | None, result: Any) -> None: ...


NEWS = Event("ended", "train", 0)
"""Something that observers look up at."""


def trained(epochs: int = 1, weights: FileRecord | None = None) -> Trained:
    """The result of a training that nobody did."""
    weights = weights or recorded("weights.safetensors", b"")
    return Trained(weights=weights, epochs=epochs, steps=epochs, loss=1.0, seconds=1.0)


def evaluated(labels: int, **metrics: Any) -> Evaluated:
    """What was measured with so many labels at 1 each."""
    return Evaluated(metrics=metrics, labels=labels, cost=float(labels))


def filled(ledger: Ledger, cycles: int) -> None:
    """Does the stages that a test has left out; no purchase in the last cycle."""
    ledger.once(0, Initial, lambda out: write_labels(out, {}))
    for cycle in range(cycles - 1):
        ledger.once(cycle, Scored, lambda out: Scored(units=0, columns=(), shards=()))
        ledger.once(cycle, Chosen, lambda out: Chosen(ids=()))
        ledger.once(cycle, Labeled, lambda out: write_labels(out, {}))


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


SMALL_FIT = {"width": 4, "discriminator_width": 16, "batch_size": 32, "epochs": 1}
SMALL: dict[str, dict[str, Any]] = {
    "vaal": {"vaal": SMALL_FIT},
    "ta_vaal": {"ta_vaal": SMALL_FIT},
    "sraal": {"sraal": SMALL_FIT},
}
"""Options of strategies that make networks of their own, small enough for tests."""


def small_strategy(name: str) -> Strategy:
    """The strategy of this name, with `SMALL` networks of its own where it has any."""
    made: Strategy = build("strategies", {"name": name, **SMALL.get(name, {})})
    return made


TAUGHT_BY = {"d_score": "s4gan", "ads": "ads"}
"""Strategies that ask what one scheme alone trains, and that scheme."""


def scheme_for(strategy: str) -> str:
    """The name of a scheme under which this strategy can choose."""
    return TAUGHT_BY.get(strategy, "supervised")


def models_for(strategy: Strategy) -> int:
    """The least ensemble with which it can choose: each further model is trained for nothing."""
    return 2 if "ensemble" in strategy.requires() else 1


def priced(ids: Sequence[str], costs: Sequence[float] | NDArray[np.floating]) -> Price:
    """What each of these units costs."""
    of = dict(zip(ids, costs, strict=True))
    return lambda units: np.array([of[unit] for unit in units], float)
