"""What people draw on an image, made into its mask; and a mask made into what they can correct.

H rows, W columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rayal.data.masks import IGNORE, Mask, decoded
from rayal.errors import UsageError, counted
from rayal.labeling.exchange.base import Item
from rayal.labeling.suggestions import Suggestion

FAR = 1e6  # pixels: no point of a drawing lies farther out

Area = NDArray[np.bool_]
"""H W of an image, or of a window of it."""


class Canvas:
    """An image that is drawn on, class over class; void where nothing is."""

    def __init__(self, size: tuple[int, int]) -> None:
        """`size`: H W."""
        self.mask: Mask = np.full(size, IGNORE, np.uint8)

    def paint(self, number: int, area: Area, top: int = 0, left: int = 0) -> None:
        """A class onto an area, whose first pixel is at this place.

        Raises UsageError for one that does not lie inside of the image.
        """
        height, width = area.shape
        if min(top, left) < 0 or (np.add((top, left), area.shape) > self.mask.shape).any():
            size = "x".join(map(str, self.mask.shape))
            raise UsageError(
                f"has an area of {height}x{width} pixels at {top}, {left}, which does not lie in"
                f" the image of {size}; draw it again"
            )
        self.mask[top : top + height, left : left + width][area] = number


def filled(points: Sequence[Sequence[float]], size: tuple[int, int]) -> Area:
    """The pixels, H W, whose centres are inside of a polygon of points x y, in pixels from the top
    left corner of the image.

    Raises UsageError for fewer than 3 points, and for ones that are no finite numbers.
    """
    from rayal.data.polygons import fill  # with scipy

    if len(points) < 3:
        few = counted(len(points), "point")
        raise UsageError(f"has a polygon of {few}, without an inside; draw it again, or delete it")
    if not all(-FAR < each < FAR for point in points for each in point):
        raise UsageError("has a polygon with a point far out of the image; draw it again")
    area = np.zeros(size, bool)
    window, inside = fill([np.array(points, np.float64)], size)
    area[window] = inside
    return area


def of_runs(runs: Sequence[int], count: int) -> Area:
    """`count` pixels in a row: so many outside of an area, so many in it, and so on.

    Raises UsageError where they are negative, or not so many together.
    """
    if any(run < 0 for run in runs) or sum(runs) != count:
        raise UsageError(
            f"has a mask with runs of {counted(sum(runs), 'pixel')}, not {count:,}; export it again"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, np.array(runs, np.int64))


def runs_of(area: Area) -> list[int]:
    """What `of_runs` reads, of pixels in a row."""
    steps = np.flatnonzero(area[1:] != area[:-1]) + 1
    runs = [after - before for before, after in pairwise([0, *steps.tolist(), area.size])]
    return [0, *runs] if area.size and area[0] else runs


def areas(mask: Mask) -> Iterator[tuple[int, Area]]:
    """Each class in a mask, void apart, and where it is."""
    for number in np.unique(mask).tolist():
        if number != IGNORE:
            yield number, mask == number


def suggested_mask(item: Item, suggestions: Mapping[str, Suggestion]) -> Mask | None:
    """What the model says of an item, in the size in which people see it; None where it says
    nothing."""
    said = suggestions.get(item.unit)
    return decoded(said.predicted) if said and isinstance(said.predicted, bytes) else None
