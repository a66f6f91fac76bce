"""Random pieces of images and of their masks, at random scales.

N images, C channels, H W pixels; h w is the size of all pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

WINDOW_DRAWS = 3
"""Random numbers of one window: scale, row, column."""


class Window(NamedTuple):
    """A part of an image, in its own pixels; it may stick out on all sides."""

    top: int
    left: int
    height: int
    width: int


def windows(
    image: tuple[int, int],
    size: tuple[int, int],
    scale: tuple[float, float] | None,
    draws: Tensor,
) -> list[Window]:
    """A window for each row of `draws` (N 3, in [0, 1)): what `size` shows of an `image` (H, W)
    that was made `scale` times as large, drawn evenly between its two numbers; null: 1.

    Along a side on which the image is larger every place inside it is as likely as the others;
    where it is smaller, every place of the image inside the window.
    """
    found = []
    for stretch, row, column in draws.double().tolist():
        factor = 1.0 if scale is None else scale[0] + stretch * (scale[1] - scale[0])
        height, width = (max(1, round(side / factor)) for side in size)
        top, left = _between(image[0] - height, row), _between(image[1] - width, column)
        found.append(Window(top, left, height, width))
    return found


def cut_out(
    images: Tensor, places: Sequence[Window], size: tuple[int, int], fill: int | None = None
) -> Tensor:
    """Each image's own window in `size`: uint8 N C H W -> N C h w.

    Bilinear with antialiasing, outside in the mean colour of the image; where `fill` is given, the
    nearest pixel, and that value outside.
    """
    return torch.stack(
        [_piece(image, place, size, fill) for image, place in zip(images, places, strict=True)]
    )


def _piece(image: Tensor, place: Window, size: tuple[int, int], fill: int | None) -> Tensor:
    height, width = image.shape[1:]
    bottom, right = place.top + place.height, place.left + place.width
    inside = image[:, max(place.top, 0) : bottom, max(place.left, 0) : right]
    sides = (
        *(max(-place.left, 0), max(right - width, 0)),
        *(max(-place.top, 0), max(bottom - height, 0)),
    )
    if any(sides):
        inside = _padded(image, inside, sides, fill)
    if inside.shape[1:] == size:
        return inside
    if fill is not None:
        return interpolate(inside[None].float(), size, mode="nearest-exact")[0].to(image.dtype)
    # not in uint8, which GPUs cannot resize
    resized = interpolate(inside[None].float(), size, mode="bilinear", antialias=True)[0]
    return resized.round().clamp(0, 255).to(image.dtype)


def _padded(image: Tensor, inside: Tensor, sides: tuple[int, ...], fill: int | None) -> Tensor:
    if fill is not None:
        return pad(inside, sides, value=fill)
    outside = pad(torch.zeros_like(inside[:1], dtype=torch.bool), sides, value=True)
    mean = image.sum(dim=(1, 2)) // image[0].numel()
    return torch.where(outside, mean[:, None, None].to(image.dtype), pad(inside, sides))


def _between(spare: int, draw: float) -> int:
    """Where the window begins: 0 to `spare`, or `spare` to 0 where the image is smaller."""
    place = int(draw * (abs(spare) + 1))
    return place if spare >= 0 else -place
