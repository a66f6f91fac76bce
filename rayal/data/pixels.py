"""Maps of one number per pixel: to the size of the image, to the logit grid, to one per image.

N images, C classes, H W pixels, h w positions of the logit grid, on which dense networks predict.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate

from rayal.data.masks import IGNORE

Pixels = Literal["mean", "max", "above"]
"""How one number per pixel becomes one per image: their mean, the largest, or how many are above a
threshold."""


def upsampled(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Logits N C h w at every pixel, N C H W, bilinear; N C, of whole images, stay as they are."""
    if logits.ndim == 2 or logits.shape[2:] == size:
        return logits
    return interpolate(logits, list(size), mode="bilinear", align_corners=False)


def on_grid(masks: Tensor, size: tuple[int, ...]) -> Tensor:
    """Masks N H W at the positions of the logit grid, N h w: the class of the nearest pixel.

    Truth values say which pixels are of an image. One that is so small that it holds the middle of
    no position has those that it touches: what is true somewhere is true at one position or more.
    """
    if masks.shape[1:] == size:
        return masks
    pixels = masks[:, None].float()
    found = interpolate(pixels, list(size), mode="nearest-exact")[:, 0].to(masks.dtype)
    if masks.dtype != torch.bool:
        return found
    touched = adaptive_max_pool2d(pixels, list(size))[:, 0].bool()
    return torch.where(found.any(dim=(1, 2), keepdim=True), found, touched)


def pooled(maps: Tensor, valid: Tensor | None, corner: int | None = None) -> Tensor:
    """The mean of each channel, N C, over a map N C h w, or N C d h w of volumes, of which only
    what is `valid` counts (N H W, at pixels); and only the first rows and columns where a `corner`
    is given."""
    seen = maps[(..., *[slice(corner)] * (maps.ndim - 2))]
    if valid is None:
        return seen.flatten(2).mean(dim=2)
    inside = on_grid(valid, maps.shape[2:])[:, None, :corner, :corner]
    return (seen * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3))


def valid_pixels(sizes: Tensor, height: int, width: int) -> Tensor:
    """N H W: which pixels belong to the images, whose own heights and widths are `sizes`, N 2."""
    rows = torch.arange(height, device=sizes.device)
    columns = torch.arange(width, device=sizes.device)
    return (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None]


def labeled_rows(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (P ...) and their labels (P), less those without a label (`masks.IGNORE`).

    On a GPU all are still there: leaving them out would wait for their number. Whoever calls this
    has to count them for nothing.
    """
    if labels.is_cuda:
        return rows, labels
    labeled = labels != IGNORE
    return rows[labeled], labels[labeled]


def per_image(
    values: Tensor, valid: Tensor | None, pixels: Pixels = "mean", threshold: float = 0.0
) -> Tensor:
    """One number per image, N, from one per pixel, N H W, of which only the `valid` ones count.

    N, of whole images, stay as they are. `above` counts values strictly above `threshold`. Where a
    valid pixel is NaN, so is the image: a count would make it one that nobody is uncertain of.
    """
    if values.ndim == 1:
        return values
    inside = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
    if pixels == "above":
        unknown = (values.isnan() & inside).any(dim=(1, 2))
        above = ((values > threshold) & inside).sum(dim=(1, 2)).to(values.dtype)
        return above.masked_fill(unknown, torch.nan)
    if pixels == "max":
        return values.masked_fill(~inside, -torch.inf).amax(dim=(1, 2))
    return values.masked_fill(~inside, 0).sum(dim=(1, 2)) / inside.sum(dim=(1, 2))
