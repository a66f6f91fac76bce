"""Short fits on drawn images, and the simplest thing that can be fitted.

N images, M channels, H W pixels.
"""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam, Optimizer

from rayal.data.card import ImageSpec
from rayal.models import parallel
from rayal.models.companions.base import Companion, Companions, Spec
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy
from rayal.training.fits.base import Batches, FitBatch, FitSpec, Fitting, Scene

STEPS = 2


class Drawn:
    """Images in memory, all of one worker, see `fits.base.Images`."""

    def __init__(self, images: Tensor) -> None:
        self.images = images  # N M H W, normalised

    def __len__(self) -> int:
        return len(self.images)

    def share(self) -> Iterator[Tensor]:
        yield from self.images.split(4)  # type: ignore[no-untyped-call]


def fitted(
    specs: Sequence[FitSpec],
    model: nn.Module,
    beside: Sequence[tuple[Spec, Companion]],
    classes: int,
    image: ImageSpec,
) -> list[tuple[Spec, Companion]]:
    """Companions of these specs in eval mode, after two steps; `beside` lives beside the model."""
    if not specs:
        return []
    generator = torch.Generator().manual_seed(2)
    labeled, candidates = torch.randn(2, 2 * classes, *image.shape, generator=generator)
    batch = FitBatch(labeled, torch.arange(2 * classes) % classes, candidates)
    made: list[tuple[Spec, Companion]] = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for spec in specs:
            scene = Scene(model, Companions(beside), Drawn(labeled), Drawn(candidates), STEPS)
            fitting = spec.start(spec.build(model, classes, image), scene)
            for step in range(STEPS):
                fitting.step(None if spec.batches() is None else batch, step)
            made.append((spec, fitting.finished().eval()))
    return made


class Side(Companion):
    """On which side of a plane the pixels of an image lie: labeled units on the one."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.plane = nn.Linear(pixels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """N logits: the higher, the more it takes an image for a labeled one."""
        return self.plane(images.flatten(1))[:, 0]


class SideSpec(FitSpec):
    """The simplest thing that can be fitted: logistic regression on pixels."""

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
        return -s.companion(SideSpec)(s.images)
