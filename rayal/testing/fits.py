"""Short fits on drawn images, for tests of what reads a fitted companion.

N images, M channels, H W pixels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.companions.base import Companion, Companions, Spec
from rayal.training.fits.base import FitBatch, FitSpec, Fitting, Scene, Shown

STEPS = 2


class Drawn:
    """Images in memory, all of one worker, see `fits.base.Images`."""

    def __init__(self, images: Tensor) -> None:
        self.images = images  # N M H W, normalised

    def __len__(self) -> int:
        return len(self.images)

    def share(self) -> Iterator[Shown]:
        yield from map(Shown, self.images.split(4))  # type: ignore[no-untyped-call]


class ShortFit:
    """A fit of a spec to drawn images, step by step."""

    def __init__(
        self,
        spec: FitSpec,
        model: nn.Module,
        beside: Sequence[tuple[Spec, Companion]],
        classes: int,
        image: ImageSpec,
        steps: int = STEPS,
    ) -> None:
        """`beside` lives beside the model."""
        self.spec, self.steps = spec, steps
        generator = torch.Generator().manual_seed(2)
        labeled, candidates = torch.randn(2, 2 * classes, *image.shape, generator=generator)
        self.batch = FitBatch(labeled, torch.arange(2 * classes) % classes, candidates)
        self.scene = Scene(model, Companions(beside), Drawn(labeled), Drawn(candidates), steps)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            built = spec.build(model, classes, image)
            self.fitting: Fitting = spec.start(built, self.scene)

    def go(self, steps: range) -> list[dict[str, Tensor]]:
        """Takes these steps; what each noted."""
        noted = []
        with torch.random.fork_rng(devices=[]):
            for step in steps:
                torch.default_generator.manual_seed(step)
                batch = None if self.spec.batches() is None else self.batch
                noted.append(self.fitting.step(batch, step))
        return noted

    def finished(self) -> Companion:
        """The companion in eval mode, after the last step."""
        self.go(range(self.steps))
        return self.fitting.finished().eval()


def fitted(
    specs: Sequence[FitSpec],
    model: nn.Module,
    beside: Sequence[tuple[Spec, Companion]],
    classes: int,
    image: ImageSpec,
) -> list[tuple[Spec, Companion]]:
    """Companions of these specs in eval mode, after two steps; `beside` lives beside the model."""
    return [(s, ShortFit(s, model, beside, classes, image).finished()) for s in specs]
