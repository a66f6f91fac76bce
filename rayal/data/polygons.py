"""Regions of a label image as polygons, and polygons as pixels.

An outline runs along the edges of pixels, so its points are corners of pixels: whole numbers x y,
0 0 the top left corner of the image, W H the bottom right one. It is exact: the area that it
encloses is the number of pixels, and `fill` gives back those pixels. (Outlines through the centres
of pixels, as OpenCV has them, lose half a pixel all around; marching squares cut off corners.)

H rows, W columns, P points.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Connectivity = Literal[4, 8]
Points = NDArray[np.int64]
"""P 2, x y."""

STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""x y of one step along the top, right, bottom and left side of a pixel, kept on the right."""
CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
"""Where each side begins, seen from the pixel's top left corner."""


class Outline(NamedTuple):
    """A closed curve along the edge of a region, or of a hole in one."""

    points: Points  # P 2, where it turns, from its topmost point (the leftmost of those) on
    region: int  # the region's number in the label image
    pixel: tuple[int, int]  # row and column of one of the region's
    area: int  # enclosed pixels, holes included; negative: the outline of a hole


def components(
    mask: NDArray[np.uint8], connectivity: Connectivity, where: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The connected components of equal values of a mask, H W, numbered from 0; -1 elsewhere."""
    from scipy import ndimage  # takes a fifth of a second, which most runs do without

    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    found = np.full(mask.shape, -1, np.int32)
    values = np.where(where, mask.astype(np.int32) + 1, 0)
    count = 0
    for value, window in enumerate(ndimage.find_objects(values), start=1):
        if window is not None:
            labels, more = ndimage.label(values[window] == value, structure)
            np.copyto(found[window], labels + (count - 1), where=labels > 0)
            count += more
    return found


def outlines(regions: NDArray[np.int32], connectivity: Connectivity) -> list[Outline]:
    """Every outline of a label image (H W, -1: no region), from the top down.

    A region that is connected in the given sense has exactly one outline of positive area.
    """
    padded = np.pad(regions, 1, constant_values=-1)
    edges, following = _edges(padded, connectivity)
    order, bounds = _cycles(following)
    pixels, sides = edges[order] // 4, edges[order] % 4
    y, x = np.divmod(pixels, padded.shape[1])
    corners = np.stack([x, y], axis=1) - 1 + CORNERS[sides]
    found = []
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        pixel = int(y[first]) - 1, int(x[first]) - 1
        points = _turns(corners[first:last], sides[first:last])
        found.append(Outline(points, int(regions[pixel]), pixel, _area(points)))
    return found


def _edges(padded: NDArray[np.int32], connectivity: Connectivity) -> tuple[Points, Points]:
    """Sides of pixels that bound a region, as 4 * pixel + side, and the position of the next.

    Where two pixels of a region touch at a corner only, the curve passes from one to the other
    with connectivity 8, and stays with its own with 4.
    """
    width = padded.shape[1]
    steps = STEPS[:, 1] * width + STEPS[:, 0]
    inner, labels = padded[1:-1, 1:-1], padded.ravel()
    other = [
        np.roll(padded, (-STEPS[side - 1, 1], -STEPS[side - 1, 0]), (0, 1)) for side in range(4)
    ]
    bounds = np.stack([(side[1:-1, 1:-1] != inner) & (inner >= 0) for side in other], axis=2)
    y, x, sides = np.nonzero(bounds)
    pixels = (y + 1) * width + x + 1
    edges = 4 * pixels + sides
    ahead = pixels + steps[sides]
    across = ahead + steps[sides - 1]
    straight = labels[ahead] == labels[pixels]
    left = labels[across] == labels[pixels]
    if connectivity == 4:
        left &= straight
    following = np.where(straight, 4 * ahead + sides, 4 * pixels + (sides + 1) % 4)
    following = np.where(left, 4 * across + (sides - 1) % 4, following)
    return edges, np.searchsorted(edges, following)


def _cycles(following: Points) -> tuple[Points, list[int]]:
    """The cycles of a permutation one after the other, and where each begins (and the last ends).

    A loop over lists: 0.1 microseconds an edge, which numpy could not do faster.
    """
    after = following.tolist()
    seen = bytearray(len(after))
    order: list[int] = []
    bounds = [0]
    for first in range(len(after)):
        at = first
        while not seen[at]:
            seen[at] = 1
            order.append(at)
            at = after[at]
        if len(order) > bounds[-1]:
            bounds.append(len(order))
    return np.array(order, np.int64), bounds


def _turns(corners: Points, sides: Points) -> Points:
    """The corners at which a curve turns, from the topmost one on, the leftmost of those."""
    turns = corners[sides != np.roll(sides, 1)]
    return np.roll(turns, -np.lexsort(turns.T)[0], axis=0)


def _area(points: Points) -> int:
    x, y = points.T
    return int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) // 2


def simplify(curves: Sequence[Points], tolerance: float, least: int = 2) -> list[Points]:
    """Closed curves with fewer points: no point left out is farther than `tolerance` from the rest.

    Ramer-Douglas-Peucker (Ramer 1972, Douglas and Peucker 1973), for closed curves: the first point
    and the one farthest from it stay whatever the tolerance and cut the curve in two. A piece is
    cut at the point that is farthest from the straight line between its ends (the segment, not the
    endless line), the first of equals, while that is farther than `tolerance`. Where a piece is cut
    does not depend on the tolerance: the points of a larger one are among those of a smaller one.
    `least` 3 adds to a curve that fell to two points the one farthest from their segment.

    All pieces of all curves are cut at once, so the time is that of the deepest one.
    """
    if not curves:
        return []
    points = np.concatenate([np.concatenate([curve, curve[:1]]) for curve in curves])
    ends = np.cumsum([len(curve) + 1 for curve in curves]) - 1
    begins = np.concatenate([[0], ends[:-1] + 1])
    _, opposite = _farthest(points, begins, ends)
    kept = np.zeros(len(points), bool)
    kept[begins] = kept[opposite] = True
    lower, upper = np.concatenate([begins, opposite]), np.concatenate([opposite, ends])
    halves = lower, upper
    while len(lower):
        lower, upper = (side[upper - lower > 1] for side in (lower, upper))
        squared, middle = _farthest(points, lower, upper)
        cut = squared > tolerance**2
        lower, middle, upper = lower[cut], middle[cut], upper[cut]
        kept[middle] = True
        lower, upper = np.concatenate([lower, middle]), np.concatenate([middle, upper])
    if least == 3:
        kept[_third(points, *halves, kept)] = True
    return [points[b:e][kept[b:e]] for b, e in zip(begins, ends, strict=True)]


def _third(points: Points, lower: Points, upper: Points, kept: NDArray[np.bool_]) -> Points:
    """Of each curve of two kept points, the one farthest from their segment.

    `lower` and `upper`: the first halves of all curves, then the second ones; both have points
    between their ends, as an outline turns at least four times.
    """
    counts = np.add.reduceat(kept, lower[: len(lower) // 2], dtype=np.int64)
    squared, middle = _farthest(points, lower, upper)
    first, second = np.split(squared, 2)
    best = np.where(first >= second, *np.split(middle, 2))
    third: Points = best[counts == 2]
    return third


def _farthest(points: Points, lower: Points, upper: Points) -> tuple[NDArray[np.float64], Points]:
    """Per piece: the largest squared distance of a point between its ends from the segment that
    joins them, and the position of the first such point. Every piece has a point inside."""
    counts = upper - lower - 1
    firsts = np.cumsum(counts) - counts
    piece = np.repeat(np.arange(len(counts)), counts)
    inner = np.arange(len(piece)) - firsts[piece] + lower[piece] + 1
    if not len(piece):
        return np.zeros(0), inner
    squared = _squared_distance(points[inner], points[lower[piece]], points[upper[piece]])
    largest = np.maximum.reduceat(squared, firsts)
    hits = np.flatnonzero(squared == largest[piece])
    return largest, inner[hits[np.searchsorted(piece[hits], np.arange(len(counts)))]]


def _squared_distance(p: Points, a: Points, b: Points) -> NDArray[np.float64]:
    """Of points from segments; 0 exactly where a point lies on its segment."""
    along, out, back = b - a, p - a, p - b
    cross = along[:, 0] * out[:, 1] - along[:, 1] * out[:, 0]
    before = (along * out).sum(1) <= 0  # also where the segment is a point
    behind = (along * back).sum(1) >= 0
    beside = cross.astype(np.float64) ** 2 / np.maximum((along**2).sum(1), 1)
    beyond = np.where(before, (out**2).sum(1), (back**2).sum(1))
    squared: NDArray[np.float64] = np.where(before | behind, beyond, beside)
    return squared


def fill(
    rings: Sequence[NDArray[np.number]], shape: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """The pixels whose centres are inside, as a window of an image of `shape` and what is in it.

    Inside is what an odd number of rings' edges separates from the outside, so a ring in a ring is
    a hole. A centre on an edge belongs to what is to the right.
    """
    ends = [(ring, np.roll(ring, -1, axis=0)) for ring in rings]
    starts, stops = (np.concatenate(side).astype(np.float64) for side in zip(*ends, strict=True))
    left, top = np.clip(np.floor(starts.min(0)), 0, shape[::-1]).astype(int)
    right, bottom = np.clip(np.ceil(starts.max(0)), 0, shape[::-1]).astype(int)
    downward = (starts[:, 1] <= stops[:, 1])[:, None]  # an edge is the same pixels both ways
    upper, lower = np.where(downward, starts, stops), np.where(downward, stops, starts)
    first, last = (
        np.clip(np.ceil(side[:, 1] - 0.5), top, bottom).astype(int) for side in (upper, lower)
    )
    edge = np.repeat(np.arange(len(first)), last - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
    (x, y), (width, height) = upper[edge].T, (lower - upper)[edge].T
    column = np.ceil(x + (row + 0.5 - y) * width / height - 0.5)
    column = np.clip(column, left, right).astype(int)
    size = bottom - top, right - left + 1
    crossings = np.bincount((row - top) * size[1] + column - left, minlength=size[0] * size[1])
    odd = np.bitwise_xor.accumulate((crossings & 1).reshape(size), axis=1)[:, :-1]
    return (slice(top, bottom), slice(left, right)), odd.astype(bool)
