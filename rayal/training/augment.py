"""Random changes of training images, in batch on any device, decided by numbers drawn beforehand.

N images, C channels, K numbers per image; of volumes D planes before the rows. The masks of a dense
task, N H W, move with their images. What happens to an image depends on the image and its own row
of draws alone, so batch size and number of workers change nothing. The numbers are drawn on the
CPU, so a GPU makes the same choices; it may round colours differently. Nothing here waits for it.
"""

from collections.abc import Iterator
from operator import not_
from typing import TYPE_CHECKING, Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import pad

from rayal.data.card import ImageSpec
from rayal.data.masks import IGNORE
from rayal.errors import UsageError
from rayal.models.device import sent
from rayal.settings import Settings
from rayal.training.turns import TURN_DRAWS, turned
from rayal.training.windows import WINDOW_DRAWS, Window, cut_out, windows

if TYPE_CHECKING:
    from rayal.training.policy import Step

FLIP, TOP, LEFT, CUT_ROW, CUT_COLUMN, POLICY = range(
    6
)  # columns of the draws; then a policy's, a window's and those of turns, where there are any
FLAT = "window", "crop", "policy", "cutout"
"""What is of pictures, H W, alone."""
MOVES = "flip", "mirror", "rotate"
"""What needs a side to move along."""


class Augment(Settings):
    """Window, padded crop, flip, turns, a policy, then cutout: each only where it is asked for.

    Turning one of them on changes nothing about what the others draw.
    """

    flip: bool = False
    """Mirror every other image, by chance, left to right."""

    # Left out where they are off, so that what was identified before they were still is.
    mirror: bool = Field(default=False, exclude_if=not_)
    """Mirror every side by chance: left to right, top to bottom, and front to back in a volume."""

    rotate: bool = Field(default=False, exclude_if=not_)
    """Turn by right angles, each of a square's 4 turns, or of a cube's 24, as likely."""

    window: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width (pixels) of a random piece of the image, which is all that a training sees
    of it; null: all of it. Where it sticks out of the image it shows the image's mean colour."""

    scale: tuple[PositiveFloat, PositiveFloat] | None = None
    """Least and largest factor by which the image is enlarged, at random, before the window is cut
    out; null: none."""

    crop: int = Field(default=0, ge=0)
    """Pad every side with this many pixels, then crop back to size at any place; 0: none."""

    padding: Literal["black", "reflect"] = "black"
    """What `crop` pads with: black, or the image mirrored in its outermost pixels (UDA)."""

    cutout: int = Field(default=0, ge=0)
    """Side in pixels of a square painted over in the image's own mean colour; 0: none.

    Its centre is any pixel, so it may stick out. Source: DeVries and Taylor 2017. Difference: they
    fill with the mean of the training set.
    """

    policy: Literal["autoaugment", "randaugment", "uda"] | None = None
    """Colour and geometric operations: a random pair of 25 (`autoaugment`), a random row of one
    strength (`randaugment`), or two of random strengths, each with a chance of one half (`uda`);
    null: none. 1 or 3 channels only."""

    learned_on: Literal["cifar10", "imagenet", "svhn"] = "cifar10"
    """The dataset that AutoAugment's policy was searched on."""

    operations: int = Field(default=2, ge=1)
    """How many operations RandAugment applies, one after the other (N in its paper)."""

    magnitude: int = Field(default=9, ge=0, le=30)
    """How strong RandAugment's operations are, 0 to 30 (M in its paper)."""

    @model_validator(mode="after")
    def _scaled_in_a_window(self) -> Self:
        if self.scale and not self.window:
            raise ValueError(
                "scale needs a window, the one size that its images come to; give both"
            )
        if self.scale and self.scale[0] > self.scale[1]:
            raise ValueError(
                f"scale {list(self.scale)}: the smaller number comes first; exchange them"
            )
        return self

    @property
    def changes_nothing(self) -> bool:
        """Whether images stay as they are."""
        return not any(getattr(self, name) for name in (*FLAT, *MOVES))

    @property
    def numbers(self) -> int:
        """K, how many random numbers decide what happens to an image."""
        windows, turns = WINDOW_DRAWS * bool(self.window), TURN_DRAWS * self._turns
        return POLICY + 3 * len(self._steps()) + windows + turns

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """All random numbers of n images for one epoch: (n, K) in [0, 1), on the CPU."""
        draws = torch.rand(n, POLICY, generator=generator)
        policy = torch.rand(n, 3 * len(self._steps()), generator=generator)
        windows = torch.rand(n, WINDOW_DRAWS if self.window else 0, generator=generator)
        turns = torch.rand(n, TURN_DRAWS if self._turns else 0, generator=generator)
        return torch.cat([draws, policy, windows, turns], dim=1)

    def misfits(self, image: ImageSpec, key: str = "scheme.augment") -> Iterator[str]:
        """What of it cannot be done with such images (looked at before a run); `key` is the field
        that it is of."""
        flat = [name for name in FLAT if getattr(self, name)]
        if not image.sides:
            if moved := [name for name in (*FLAT, *MOVES) if getattr(self, name)]:
                yield f"{key}: {', '.join(moved)} cannot change vectors of features; set it to off"
            return
        if flat and len(image.sides) > 2:
            yield (
                f"{key}: {', '.join(flat)} cannot change volumes {image.shape}"
                f" ({image.axes}); use flip, mirror and rotate in place of it"
            )
        if self.rotate and len(set(self.window or image.sides)) > 1:
            yield (
                f"{key}.rotate needs equal sides, these are {self.window or image.sides};"
                " use mirror in place of it"
            )

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """The images (N C H W, or volumes N C D H W) after what their rows of `draws` (N K, CPU)
        decide."""
        if self.window:
            images = cut_out(images, self._windows(images, draws), self.window)
        if self.crop:
            images = self._crop(images, draws)
        if self.flip:
            images = self._flip(images, draws)
        if self._turns:
            images = self._turn(images, draws)
        if self.policy:
            images = self._apply_policy(images, draws[:, POLICY : POLICY + 3 * len(self._steps())])
        if self.cutout:
            images = self._cut_out(images, draws)
        return images

    def of_masks(self, masks: Tensor, draws: Tensor) -> Tensor:
        """The masks (N H W) of images after what the same rows of `draws` decide for these.

        Raises UsageError for what has no counterpart: `crop` (use `window`) and `policy`.
        """
        if self.crop or self.policy:
            raise UsageError(
                "scheme.augment.crop and policy cannot move masks; use scheme.augment.window, no"
                " policy"
            )
        masks = masks[:, None]
        if self.window:
            masks = cut_out(masks, self._windows(masks, draws), self.window, fill=IGNORE)
        if self.flip:
            masks = self._flip(masks, draws)
        if self._turns:
            masks = self._turn(masks, draws)
        return masks[:, 0]

    def _windows(self, images: Tensor, draws: Tensor) -> list[Window]:
        assert self.window is not None
        height, width = images.shape[2:]
        start = POLICY + 3 * len(self._steps())
        own = draws[:, start : start + WINDOW_DRAWS]
        return windows((height, width), self.window, self.scale, own)

    @property
    def _turns(self) -> bool:
        return self.mirror or self.rotate

    def _turn(self, images: Tensor, draws: Tensor) -> Tensor:
        return turned(images, draws[:, -TURN_DRAWS:], mirror=self.mirror, rotate=self.rotate)

    def _crop(self, images: Tensor, draws: Tensor) -> Tensor:
        """Each image's own window, out of a view of all windows of the padded images."""
        height, width = images.shape[2:]
        padded = self._padded(images)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # N C top left H W
        places = torch.stack([_pick(draws[:, i], 2 * self.crop + 1) for i in (TOP, LEFT)])
        top, left = sent(places, images.device)
        return windows[torch.arange(len(images), device=images.device), :, top, left]

    def _padded(self, images: Tensor) -> Tensor:
        if self.padding == "black":
            return pad(images, [self.crop] * 4)
        rows, columns = (
            sent(_reflected(size, self.crop), images.device) for size in images.shape[2:]
        )
        return images[:, :, rows][:, :, :, columns]

    def _flip(self, images: Tensor, draws: Tensor) -> Tensor:
        flipped = sent(draws[:, FLIP] < 0.5, images.device)
        flipped = flipped.view(-1, *[1] * (images.ndim - 1))
        return torch.where(flipped, images.flip(-1), images)

    def _apply_policy(self, images: Tensor, draws: Tensor) -> Tensor:
        """One call for all images that get the same operation at the same level, step by step."""
        if images.shape[1] not in (1, 3):
            raise UsageError(
                f"scheme.augment.policy {self.policy!r} needs images of 1 or 3 channels, these have"
                f" {images.shape[1]}; set it to null"
            )
        from rayal.training import policy

        together = self.policy == "autoaugment"
        return policy.apply(images, draws, self._steps(), together=together)

    def _cut_out(self, images: Tensor, draws: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows = sent(self._covered(draws[:, CUT_ROW], height), images.device)
        columns = sent(self._covered(draws[:, CUT_COLUMN], width), images.device)
        hole = rows[:, None, :, None] & columns[:, None, None, :]  # N 1 H W
        mean = images.sum(dim=(2, 3), keepdim=True) // (height * width)  # N C 1 1
        return torch.where(hole, mean.to(images.dtype), images)

    def _covered(self, draws: Tensor, size: int) -> Tensor:
        """Which of `size` positions the cutout covers: N -> N size."""
        first = _pick(draws, size) - self.cutout // 2
        position = torch.arange(size) - first[:, None]
        return (position >= 0) & (position < self.cutout)

    def _steps(self) -> "tuple[Step, ...]":
        if self.policy is None:
            return ()
        from rayal.training import policy

        if self.policy == "autoaugment":
            return policy.autoaugment(self.learned_on)
        if self.policy == "uda":
            return (policy.uda(),) * 2
        return (policy.randaugment(self.magnitude),) * self.operations


def normalise(images: Tensor, image: ImageSpec) -> Tensor:
    """What networks see, N C *, contiguous, float32: (x / scale - mean) / std, where the scale of
    pixels in [0, 255] is 255 and that of other numbers 1; one channel becomes as many as there are
    means."""
    ones = [1] * (images.ndim - 2)
    mean, std = sent(torch.from_numpy(image.moments), images.device).view(2, -1, *ones)
    # a copy in any case: numbers that are float32 already belong to whoever has stored them
    copy = images.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if copy.shape[1] < len(mean):  # gray, for a network of three channels
        copy = copy.expand(-1, len(mean), *images.shape[2:]).contiguous()
    if image.scale != 1:
        copy.div_(image.scale)
    return copy.sub_(mean).div_(std)


def _reflected(size: int, padding: int) -> Tensor:
    """Which of `size` pixels is seen at each of -`padding` .. `size` + `padding` - 1, where the
    image goes on as its mirror image; as often as it takes for a padding larger than the image."""
    period = max(2 * (size - 1), 1)
    place = torch.arange(-padding, size + padding) % period
    return torch.minimum(place, period - place)


def _pick(draws: Tensor, n: int) -> Tensor:
    """One of 0 .. n-1 for each number in [0, 1), also for the largest float below 1."""
    return (draws * n).long()
