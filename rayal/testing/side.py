"""The simplest thing that can be fitted: what engines are tried on. N images."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam, Optimizer

from rayal.data.card import ImageSpec
from rayal.models import parallel
from rayal.models.companions.base import Companion
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy
from rayal.training.fits.base import Batches, FitBatch, FitSpec, Fitting, Scene


class Side(Companion):
    """On which side of a plane the pixels of an image lie: labeled units on the one."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.plane = nn.Linear(pixels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """N logits: the higher, the more it takes an image for a labeled one."""
        logits: Tensor = self.plane(images.flatten(1))
        return logits[:, 0]


class SideSpec(FitSpec):
    """Logistic regression on pixels."""

    name: ClassVar[str] = "side"

    length: int = 25
    """Steps."""
    size: int = 8
    """Images of each kind in a step."""

    def batches(self) -> Batches:
        return Batches(self.size)

    def steps(self, labeled: int, candidates: int) -> int:
        return self.length

    def build(self, model: nn.Module, classes: int, image: ImageSpec) -> Side:
        return Side(math.prod(image.shape))

    def start(self, companion: Side, scene: Scene) -> Fitting:
        return _SideFitting(companion, self.lr)


class _SideFitting(Fitting):
    def __init__(self, companion: Side, lr: float) -> None:
        self.companion, self.network = companion, parallel.averaging(companion)
        self.optimizer = Adam(companion.parameters(), lr=lr)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        return {"companion": self.companion, "optimizer": self.optimizer}

    def step(self, batch: FitBatch | None, step: int) -> dict[str, Tensor]:
        assert batch is not None
        logits = self.network(torch.cat([batch.labeled, batch.candidates]))
        truth = (torch.arange(len(logits)) < len(batch.labeled)).float()
        loss = binary_cross_entropy_with_logits(logits, truth)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return {"loss": loss.detach()}


class Outside(Strategy):
    """What is least like the labeled units."""

    needs = frozenset({"images", "companion"})
    side: SideSpec = SideSpec()

    def fits(self) -> tuple[FitSpec, ...]:
        return (self.side,)

    def score(self, s: Signals) -> Tensor:
        logits: Tensor = s.companion(SideSpec)(s.images)
        return -logits
