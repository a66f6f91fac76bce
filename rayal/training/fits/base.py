"""The contract of a fit: a companion that is made after a training, for the pass that follows.

A discriminator between labeled and unlabeled images, a graph over the units' features: a strategy
asks for it by a `FitSpec`. Strategies that ask for the same one share it. Its parameters learn from
labeled units and candidates, beside a model that is finished and does not change.

B images of this worker in one step, M channels, H W pixels, D features, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.pixels import pooled
from rayal.models.base import Outputs, Precision
from rayal.models.companions.base import Companion, Companions, Spec
from rayal.models.network import computing
from rayal.parts import Contradiction
from rayal.training.augment import Augment


class Shown(NamedTuple):
    """Some images, as a pass sees them."""

    images: Tensor  # B M H W, normalised, not augmented
    valid: Tensor | None = None  # B H W: which pixels are of an image, where some are filling


class Images(Protocol):
    """The images of some units, in the order of the pool, on the device of the fit."""

    def __len__(self) -> int: ...

    def share(self) -> Iterator[Shown]:
        """This worker's part of them, batch by batch. The parts of all workers, by rank, are all of
        them."""


class FitBatch(NamedTuple):
    """What one worker sees in one step."""

    labeled: Tensor  # B M H W float, augmented and normalised
    labels: Tensor  # B, what the task compares with
    candidates: Tensor  # B M H W


class Batches(NamedTuple):
    """What a fit asks to see."""

    size: int
    """Labeled images of a step, and as many candidates, on all workers together."""
    augment: Augment = Augment()
    """What happens to all of them."""


@dataclass(frozen=True)
class Scene:
    """What a fit has before it: all of it stays as it is."""

    model: nn.Module
    """In eval mode, its weights without gradient."""
    companions: Companions
    """What lived beside the model in training, likewise."""
    labeled: Images
    candidates: Images
    steps: int
    """How many the fit will take."""
    precision: Precision = "fp32"

    def ask(self, images: Tensor, valid: Tensor | None = None) -> Outputs:
        """What the model says of B M H W, in float32 and without gradient; features are means over
        the `valid` pixels alone, as those of a pass."""
        with torch.no_grad(), computing(images.device, self.precision):
            outputs: Outputs = self.model(images)
        layers = tuple(layer.float() for layer in outputs.layers)
        features = outputs.features.float() if valid is None else pooled(layers[-1], valid)
        return Outputs(outputs.logits.float(), features, layers)


class Fitting(ABC):
    """One fit in progress: the companion, and what updates it.

    What it keeps between steps is in `parts`, so that a fit continues where it was killed.
    """

    companion: Companion

    @property
    @abstractmethod
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """All that steps change, by name."""

    @abstractmethod
    def step(self, batch: FitBatch | None, step: int) -> dict[str, Tensor]:
        """One update, of `Scene.steps`; returns scalars worth plotting, means over the batch, with
        `loss` among them. `batch` is None where the spec asks for none.

        Torch's generator is seeded by the step. On several workers, modules that learn go through
        `parallel.averaging`, which makes one update of theirs.
        """

    def finished(self) -> Companion:
        """After the last step: the companion, with all that it needs for scoring."""
        return self.companion

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


class FitSpec(Spec, ABC):
    """What a strategy asks for by `Strategy.fits`."""

    replicated: ClassVar[bool] = False
    """Whether all workers take the same steps, for what cannot be shared: no batches then, and
    their random numbers are the same."""

    lr: float = Field(default=5e-4, gt=0)
    """Learning rate of the fit's Adam."""

    def batches(self) -> Batches | None:
        """What its steps see; None where a step reads no images."""
        return None

    @abstractmethod
    def steps(self, labeled: int, candidates: int) -> int:
        """How many updates it takes with so many units of each, at least 1."""

    @abstractmethod
    def build(self, model: nn.Module, classes: int, image: ImageSpec) -> Companion:
        """A companion for `model`, on the CPU, drawn from torch's global generator. Raises
        UsageError for a model or images that it cannot serve."""

    @abstractmethod
    def start(self, companion: Any, scene: Scene) -> Fitting:
        """A fit of what `build` made, which is on its device."""

    def contradictions(self, workers: int) -> Iterator[Contradiction]:
        """What cannot work with so many training workers."""
        size = batches.size if (batches := self.batches()) else 0
        if size % workers or 0 < size < 2 * workers:
            fitting = [n for n in range(1, workers) if size % n == 0 and size >= 2 * n]
            yield Contradiction(
                ("compute", "train_workers"),
                f"{workers} cannot share the {self.name}'s batches of {size} equally, two images or"
                f" more each; use {fitting[-1] if fitting else 'a larger batch'}",
            )
