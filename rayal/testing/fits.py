"""Short fits on drawn images, for tests of what reads a fitted companion.

N images, M channels, H W pixels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.companions.base import Companion, Companions, Spec
from rayal.training.fits.base import FitBatch, FitSpec, Scene

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
