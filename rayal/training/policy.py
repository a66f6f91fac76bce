"""AutoAugment, RandAugment and UDA's policy on batches: images of one operation share one call.

Apart from augment.py because torchvision's operations take a second to import, which a training
without a policy need not wait for. N images, C channels, 3 numbers per image and step.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torchvision.transforms import AutoAugment, AutoAugmentPolicy
from torchvision.transforms.v2 import functional as F

from rayal.models.device import sent

PICK, APPLY, SIGN = range(3)  # columns of each step's draws


class Choice(NamedTuple):
    """An operation that a step of a policy may pick."""

    operation: str
    level: float  # 0 to 1, 1 is the strongest
    probability: float  # that it is applied, once picked


Step = tuple[Choice, ...]  # all equally likely


def apply(images: Tensor, draws: Tensor, steps: tuple[Step, ...], *, together: bool) -> Tensor:
    """The images (N C H W, uint8) after all steps; `draws` N 3S in [0, 1), on the CPU.

    `together`: all steps pick the same position of their choices, as the pairs of AutoAugment do.
    """
    images = images.clone()
    for step, own in zip(steps, torch.split(draws, 3, dim=1), strict=True):
        picks = draws[:, PICK] if together else own[:, PICK]
        for (operation, level), index in _groups(step, picks, own).items():
            chosen = sent(torch.tensor(index), images.device)
            if operation in PLACED:
                changed = PLACED[operation](images[chosen], level, own[index, SIGN])
            else:
                changed = OPERATIONS[operation](images[chosen], level)
            images[chosen] = changed
    return images


@lru_cache
def autoaugment(learned_on: str) -> tuple[Step, ...]:
    """The first and the second half of 25 pairs. Source: Cubuk et al. 2019, as in torchvision."""
    pairs = AutoAugment(AutoAugmentPolicy(learned_on)).policies
    return tuple(
        tuple(Choice(name, (level or 0) / 9, probability) for name, probability, level in half)
        for half in zip(*pairs, strict=True)
    )


def randaugment(magnitude: int) -> Step:
    """Source: Cubuk et al. 2020, with the 14 operations of torchvision."""
    return tuple(Choice(name, magnitude / 30, 1.0) for name in OPERATIONS if name != "Invert")


STRENGTHS = range(1, 10)
"""Of UDA's operations, in tenths of the strongest."""


@lru_cache
def uda() -> Step:
    """Either of the two operations of UDA's sub-policies: 15 at 9 strengths, each applied by half.

    Source: Xie et al. 2020, official code google-research/uda, image/randaugment/, 6aabffa, where
    one of the 18,225 pairs is drawn. Strengths are those of that code on 32 px, which has ranges of
    its own; of shifts and holes they grow with the image. Differences: where a moved image ends it
    is black, and holes have the image's own mean colour; in the code both are in the training
    set's. Colours are rounded as in torchvision.
    """
    return tuple(
        Choice(name, level(strength), 0.5)
        for name, level in UDA_LEVELS.items()
        for strength in STRENGTHS
    )


def _groups(step: Step, picks: Tensor, draws: Tensor) -> dict[tuple[str, float], list[int]]:
    """The positions of the images that get each operation at each level."""
    groups = defaultdict(list)
    rows = torch.stack(
        [(picks * len(step)).long(), draws[:, APPLY], draws[:, SIGN]], dim=1
    ).tolist()
    for position, (pick, apply, sign) in enumerate(rows):
        operation, level, probability = step[int(pick)]
        if apply < probability:
            direction = -1 if operation in SIGNED and sign < 0.5 else 1
            groups[operation, direction * level].append(position)
    return groups


def _affine(
    images: Tensor,
    translate: tuple[int, int] = (0, 0),
    shear: tuple[float, float] = (0.0, 0.0),
    center: list[float] | None = None,
) -> Tensor:
    kind: dict[str, Any] = {"translate": list(translate), "shear": list(shear), "center": center}
    return _moved(images, partial(F.affine, angle=0.0, scale=1.0, **kind))


def _moved(images: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
    """What torchvision's `move` makes of these images, black where they come from outside.

    It moves one image of its pixels' numbers on the CPU: on a GPU it would wait at every call, to
    tell it its matrix. Each pixel is one of the image, or black, so that this is the same.
    """
    height, width = images.shape[2:]
    numbers = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, 1, height, width)
    source = sent(move(numbers).long(), images.device)[0, 0]  # H W; 0 outside
    pixels = images.flatten(2)[:, :, (source - 1).clamp(min=0)]
    return pixels.masked_fill(source == 0, 0)


def _sharpened(images: Tensor, factor: float) -> Tensor:
    """torchvision's `adjust_sharpness`, bit by bit, of which a GPU is not waited for."""
    height, width = images.shape[2:]
    if min(height, width) <= 2:
        return images
    kernel = torch.full((3, 3), 1 / 13)
    kernel[1, 1] = 5 / 13
    sharp = images.float()
    kernels = sent(kernel, images.device).expand(images.shape[1], 1, 3, 3)
    blurred = conv2d(sharp, kernels, groups=images.shape[1])
    inside = sharp[:, :, 1:-1, 1:-1]  # the border stays as it is
    inside.add_(blurred.round_().sub_(inside), alpha=1 - factor)
    return sharp.clamp_(0, 255).to(images.dtype)


def _with_hole(images: Tensor, level: float, draws: Tensor) -> Tensor:
    """A square in each image's mean colour, at level 1 with 5/8 of its shorter side; centred on the
    pixel that each of the draws (N in [0, 1), CPU) stands for, so that it may stick out."""
    height, width = images.shape[2:]
    half = int(5 / 8 * min(height, width) * level) // 2
    places = (draws.double() * (height * width)).long()
    rows = _near(places // width, height, half)
    columns = _near(places % width, width, half)
    hole = sent(rows[:, None, :, None] & columns[:, None, None, :], images.device)  # N 1 H W
    mean = images.sum(dim=(2, 3), keepdim=True) // (height * width)  # N C 1 1
    return torch.where(hole, mean.to(images.dtype), images)


def _near(centers: Tensor, size: int, half: int) -> Tensor:
    """Which of `size` positions are in [center - half, center + half): N -> N size."""
    distance = torch.arange(size) - centers[:, None]
    return (distance >= -half) & (distance < half)


def _degrees(level: float) -> float:
    """The angle of a shear; at level 1 a pixel moves by 0.3 of its distance from the edge."""
    return math.degrees(math.atan(0.3 * level))


def _shift(level: float, size: int) -> int:
    """Whole pixels of a translation; at level 1 nearly half of the image."""
    return int(150 / 331 * size * level)


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "Identity": lambda images, level: images,
    "ShearX": lambda images, level: _affine(images, shear=(_degrees(level), 0), center=[0, 0]),
    "ShearY": lambda images, level: _affine(images, shear=(0, _degrees(level)), center=[0, 0]),
    "TranslateX": lambda images, level: _affine(images, (_shift(level, images.shape[3]), 0)),
    "TranslateY": lambda images, level: _affine(images, (0, _shift(level, images.shape[2]))),
    "Rotate": lambda images, level: _moved(images, partial(F.rotate, angle=30 * level)),
    "Brightness": lambda images, level: F.adjust_brightness(images, 1 + 0.9 * level),
    "Color": lambda images, level: F.adjust_saturation(images, 1 + 0.9 * level),
    "Contrast": lambda images, level: F.adjust_contrast(images, 1 + 0.9 * level),
    "Sharpness": lambda images, level: _sharpened(images, 1 + 0.9 * level),
    "Posterize": lambda images, level: F.posterize(images, 8 - round(4 * level)),
    "Solarize": lambda images, level: F.solarize(images, 255 * (1 - level)),
    "AutoContrast": lambda images, level: F.autocontrast(images),
    "Equalize": lambda images, level: F.equalize(images),
    "Invert": lambda images, level: F.invert(images),
}
"""Each at a level of 0 to 1, or -1 to 1 if it is SIGNED; the ranges are those of the papers."""

SIGNED = frozenset(
    ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
    + ["Brightness", "Color", "Contrast", "Sharpness"]
)
"""Operations that go either way: the level of every other image is negative, by chance."""

PLACED: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {"Cutout": _with_hole}
"""Operations that need a place in each image too, one number in [0, 1) for each."""


def _tenth(strength: int) -> float:
    return strength / 10


def _of_enhancement(strength: int) -> float:
    """The factor is 0.1 + 0.18 strength, without a sign: as likely as 1 +- 0.9 of this level."""
    return abs(2 * strength - 10) / 10


UDA_LEVELS: dict[str, Callable[[int], float]] = {
    "Invert": _tenth,
    "Cutout": _tenth,
    "Sharpness": _of_enhancement,
    "AutoContrast": _tenth,
    "Posterize": lambda strength: 1 + (4 * strength // 10) / 4,  # bits: 4 less a share of 4
    "ShearX": _tenth,
    "TranslateX": lambda strength: (strength + 0.5) / (150 / 331 * 32),  # pixels, of 32
    "TranslateY": lambda strength: (strength + 0.5) / (150 / 331 * 32),
    "ShearY": _tenth,
    "Rotate": _tenth,
    "Equalize": _tenth,
    "Contrast": _of_enhancement,
    "Color": _of_enhancement,
    "Solarize": lambda strength: (256 * strength // 10 - 1) / 255,
    "Brightness": _of_enhancement,
}
"""The level, as OPERATIONS know it, of each operation of UDA's policy at each strength."""
