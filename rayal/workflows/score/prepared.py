"""Images in the memory of this process as networks take them.

N images of C channels, H rows, W columns, of volumes also planes before the rows; D numbers where
a network takes vectors.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.in_memory import InMemory
from rayal.errors import DataError, UsageError, quoted
from rayal.models.device import sent
from rayal.models.module import first_weight
from rayal.storage.ids import Ids
from rayal.training.augment import normalise

LARGEST, NUMBERS = 256, 2**22
"""Of a batch of `auto` size the most images, and about the most numbers in them."""


class Prepared:
    """Images as networks take them: on their device, in their type of numbers, pixels normalised.

    Numbers that are no pixels are left as they are.
    """

    def __init__(
        self,
        images: InMemory,
        ids: Ids,
        model: nn.Module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        trained: ImageSpec | None = None,
    ) -> None:
        """`mean` and `std` per channel, of pixels in [0, 1]; None: as the model was `trained`.

        Raises UsageError for pixels where neither is known.
        """
        self.images, self.ids = images, ids
        weight = first_weight(model)
        self.device, self.dtype = weight.device, weight.dtype
        first = images.rows(slice(0, 1))
        self.shape = tuple(first.shape[1:])
        if mean is None and trained is not None and first.dtype == torch.uint8:
            mean, std = trained.mean, trained.std
        self._image = self._spec(first, mean, std)

    def rows(self, rows: slice, fill: int = 0) -> Tensor:
        """These, and so many more of the last one. Raises DataError for a number that is not
        finite, with the unit's id."""
        images = self.images.rows(rows)
        if images.dtype != torch.uint8:
            self._check_finite(images, rows)
        images = torch.cat([images, images[-1:].repeat(fill, *[1] * (images.ndim - 1))])
        images = sent(images, self.device)
        if self._image is not None:
            images = normalise(images, self._image)
        return images.to(self.dtype).contiguous()

    def _spec(
        self, first: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
    ) -> ImageSpec | None:
        pixels = first.dtype == torch.uint8
        if not pixels or first.ndim != 4:
            if mean is not None:
                raise UsageError(
                    "mean and std are of uint8 pixels, N C H W; normalise these images yourself, or"
                    " leave mean and std out"
                )
            if pixels:
                kind = "vectors N D" if first.ndim == 2 else "volumes N C D H W"
                raise UsageError(f"{kind} are uint8; give floating-point numbers")
            return None
        channels, height, width = first.shape[1:]
        if mean is None or std is None:
            raise unknown_normalisation(channels)
        mean, std = tuple(mean), tuple(std)
        if not len(mean) == len(std) == channels:
            raise UsageError(
                f"mean {mean} and std {std} need one value for each of {channels} channels"
            )
        return ImageSpec(channels=channels, height=height, width=width, mean=mean, std=std)

    def _check_finite(self, images: Tensor, rows: slice) -> None:
        good = images.isfinite().flatten(1).all(dim=1)
        if not good.all():
            unit = self.ids[rows][int(good.int().argmin())]
            raise DataError(
                f"image {quoted(unit)} holds numbers that are not finite; mend it, or leave it out"
            )


def unknown_normalisation(channels: int) -> UsageError:
    """Of pixels for a module, which does not say what it was trained with."""
    none, one = (0,) * channels, (1,) * channels
    return UsageError(
        "the mean and standard deviation by which the module's pixels are normalised are not known;"
        " give those of its training, per channel, as mean= and std=, or the run or the weights in"
        f" place of the module; mean={none}, std={one} are for a module that takes pixels in [0, 1]"
    )


def auto_batch(shape: Sequence[int]) -> int:
    """Images of this shape in one forward pass, a power of two: all of a batch, with what a network
    makes of it, has to be in memory at once."""
    most = max(1, min(LARGEST, NUMBERS // max(1, math.prod(shape))))
    return int(2 ** int(math.log2(most)))
