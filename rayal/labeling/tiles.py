"""Images divided into tiles that people are asked for one by one: regions that need no labels.

H rows, W columns, as networks see an image; where it lies on a canvas, of its own part of that.
"""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from rayal.data.masks import IGNORE
from rayal.data.store import Store
from rayal.labeling.clicks import Region
from rayal.labeling.pictures import picture_of, stored_images

Grid = tuple[int, int]
"""Rows and columns of tiles."""

_sizes: dict[tuple[str, str], tuple[int, int]] = {}
"""H W of images on a canvas that this process has looked at, by fingerprint of the store and id."""


def tiles_of(store: Store, images: Sequence[str], grid: Grid) -> dict[str, list[Region]]:
    """Image -> its tiles. Raises DataError for one on a canvas that cannot be read."""
    shape = store.card.image.height, store.card.image.width
    sizes = dict.fromkeys(images, shape)
    if store.card.decoding is not None and store.card.decoding.canvas is not None:
        sizes = _own_sizes(store, images)
    return {image: tiles(sizes[image], grid, shape) for image in images}


def tiles(size: tuple[int, int], grid: Grid, shape: tuple[int, int]) -> list[Region]:
    """The tiles of an image of `size`, H W, at the top left of an area of `shape`, row by row, each
    at 1 click and of no class yet; one without pixels is left out."""
    rows, columns = map(_edges, size, grid)
    return [
        Region(_rectangle(left, top, right, bottom), IGNORE, 1, shape)
        for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns))
    ]


def _own_sizes(store: Store, images: Sequence[str]) -> dict[str, tuple[int, int]]:
    of = store.card.fingerprint
    new = [image for image in images if (of, image) not in _sizes]
    for image, stored in stored_images(store, new):
        _sizes[of, image] = picture_of(image, stored).size
    return {image: _sizes[of, image] for image in images}


def _edges(side: int, parts: int) -> list[int]:
    """Where parts of nearly one size begin and end, none of them empty."""
    return sorted({round(side * part / parts) for part in range(parts + 1)})


def _rectangle(left: int, top: int, right: int, bottom: int) -> NDArray[np.int64]:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
