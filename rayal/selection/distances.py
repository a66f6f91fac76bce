"""Squared Euclidean distances that are exact, so no choice depends on blocks, threads or machine.

Rows are put on a grid of whole numbers, coarse enough that float64 holds every distance and every
partial sum of it. Then the order of summation, which differs between matrix products, changes
nothing: equal rows are exactly 0 apart, nothing is negative, ties are true ties.

N and M rows, D features.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.errors import DataError, quoted

Numbers = NDArray[np.floating]


class Rows(Protocol):
    """N x D numbers, of which a few rows are looked at: an array, one in a file, or `Made`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


BLOCK = 1024
"""Rows of one side of a matrix product: its result stays in the processor's cache."""


def unchanged(rows: Numbers) -> Numbers:
    """The rows as they are."""
    return rows


class Made:
    """Rows that are made of others whenever they are looked at, and take no memory."""

    def __init__(
        self,
        rows: Rows,
        make: Callable[[Numbers], Numbers] = unchanged,
        order: NDArray[np.intp] | None = None,
    ) -> None:
        """`make` gives row for row, of the same width; `order` says which rows these are."""
        self._rows, self._make, self._order = rows, make, order

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._rows.shape[1:])

    def __len__(self) -> int:
        return len(self._rows if self._order is None else self._order)

    def __getitem__(self, index: slice | NDArray[np.intp]) -> Numbers:
        return self._make(self._rows[index if self._order is None else self._order[index]])


def blocks(rows: Rows) -> Iterator[Numbers]:
    """All rows, BLOCK at a time."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


@dataclass(frozen=True)
class Grid:
    """Multiples of `step`, a power of two."""

    step: float

    @classmethod
    def of(cls, *groups: Rows) -> "Grid":
        """The finest grid on which distances between all these rows (each N x D) are exact.

        |x|^2 + |y|^2 - 2 x.y is at most D (2^(b+1))^2 in steps squared for numbers of b bits, and
        must stay below 2^53: 21 bits at D = 512, counted from the largest number of all rows.
        float16, in which the pass keeps features, has 11 bits, counted from each number.
        """
        width = max(group.shape[1] for group in groups)
        return cls.reaching(max(map(largest, groups)), width)

    @classmethod
    def reaching(cls, largest: float, width: int) -> "Grid":
        """As `of`, for rows of this width and numbers up to this magnitude."""
        bits = min(24, (51 - (max(width, 1) - 1).bit_length()) // 2)  # 24: float32 holds them
        return cls(2.0 ** (int(np.frexp(largest)[1]) - bits))

    def place(self, rows: Numbers) -> Tensor:
        """N D, float64 whole numbers: the rows in steps."""
        return torch.from_numpy(rows.astype(np.float64) / self.step).round_()


def magnitudes(rows: Rows) -> Numbers:
    """N, of each row the largest magnitude; infinite or NaN where one of its numbers is."""
    parts = [np.abs(part).max(axis=1) for part in blocks(rows) if part.size]
    return np.concatenate(parts) if parts else np.zeros(len(rows))


def largest(rows: Rows) -> float:
    """The largest magnitude, NaN where there is one among the rows; 0 without rows."""
    ends = [(part.max(), -part.min()) for part in blocks(rows) if part.size]
    return float(np.max(ends, initial=0.0))


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """N D and M D of one grid -> N M, in steps squared."""
    distances = torch.addmm(y.square().sum(dim=1), x, y.T, alpha=-2)
    return distances.add_(x.square().sum(dim=1, keepdim=True))


def nearest_squared(x: Tensor, grid: Grid, centres: Rows) -> Tensor:
    """N, the squared distance in steps from placed rows to the nearest of M >= 1 centres."""
    nearest = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for start in range(0, len(centres), BLOCK):
        y = grid.place(centres[start : start + BLOCK])
        part = torch.addmm(y.square().sum(dim=1), x, y.T, alpha=-2).amin(dim=1)
        nearest = torch.minimum(nearest, part)
    return nearest + x.square().sum(dim=1)


def within(x: Tensor, y: Tensor, limit: float) -> Tensor:
    """N M, bool: which squared distances are at most `limit`, in steps squared.

    float32 is three times as fast and errs by at most 2 D 2^-24 |x||y|, in whatever order it sums
    (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, Eq. 3.5); the few pairs that
    this leaves open are computed exactly.
    """
    x_norms, y_norms = x.square().sum(dim=1), y.square().sum(dim=1)
    # x.y >= this many steps squared; float64, but one pass over N M instead of several
    least = (x_norms[:, None] + y_norms - limit) / 2
    approximate = x.float() @ y.float().T
    slack = 1.01 * x.shape[1] * 2.0**-24 * float((x_norms.max() * y_norms.max()).sqrt())
    beyond = approximate - least
    inside = beyond >= 0
    rows, columns = torch.nonzero(beyond.abs() <= slack, as_tuple=True)
    inside[rows, columns] = (x[rows] * y[columns]).sum(dim=1) >= least[rows, columns]
    return inside


def nearer(rows: Numbers, others: Numbers, distance: float) -> NDArray[np.bool_]:
    """N M, which are less than `distance` apart: the root of the squared differences in float64.

    Unlike a matrix product their sum is the same whatever else is computed with it. The product is
    only off by rounding, so the few pairs that it leaves open are computed by the differences.
    """
    x, y = rows.astype(np.float64), others.astype(np.float64)
    x_norms, y_norms = (np.square(z).sum(axis=1) for z in (x, y))
    beyond = x_norms[:, None] + y_norms - 2 * (x @ y.T) - distance**2
    inside: NDArray[np.bool_] = beyond < 0
    largest = x_norms.max(initial=0) + y_norms.max(initial=0) + distance**2
    slack = 8 * (x.shape[1] + 8) * 2.0**-53 * largest
    row, column = np.nonzero(np.abs(beyond) <= slack)
    for start in range(0, len(row), BLOCK):
        part = slice(start, start + BLOCK)
        apart = np.sqrt(np.square(x[row[part]] - y[column[part]]).sum(axis=1))
        inside[row[part], column[part]] = apart < distance
    return inside


def nearest(
    rows: Numbers, others: Numbers, before: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """N distances, as `nearer` measures them, to the nearest of M others, and the places of these,
    of equals the first; infinite and -1 where there is none.

    `before`, N: for each row only so many of the first others count.
    """
    far, at = np.full(len(rows), np.inf), np.full(len(rows), -1, np.intp)
    first = np.full(len(rows), len(others), np.intp) if before is None else before
    for top in range(0, len(rows), BLOCK):
        own = slice(top, top + BLOCK)
        for left in range(0, int(first[own].max()), BLOCK):
            part = others[left : left + BLOCK]
            found, place = _nearest_of(rows[own], part, first[own] - left)
            better = found < far[own]
            far[own][better], at[own][better] = found[better], place[better] + left
    return far, at


def _nearest_of(
    rows: Numbers, others: Numbers, before: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """As `nearest`, of one block: the product says which may be it, the differences which is."""
    x, y = rows.astype(np.float64), others.astype(np.float64)
    x_norms, y_norms = (np.square(z).sum(axis=1) for z in (x, y))
    squares = x_norms[:, None] + y_norms - 2 * (x @ y.T)
    squares[np.arange(len(y)) >= before[:, None]] = np.inf
    slack = 16 * (x.shape[1] + 8) * 2.0**-53 * (x_norms.max() + y_norms.max())
    may_be = squares <= squares.min(axis=1, keepdims=True) + slack
    row, column = np.nonzero(may_be & np.isfinite(squares))
    apart = np.full(squares.shape, np.inf)
    for start in range(0, len(row), BLOCK):
        r, c = row[start : start + BLOCK], column[start : start + BLOCK]
        apart[r, c] = np.sqrt(np.square(x[r] - y[c]).sum(axis=1))
    at = apart.argmin(axis=1)
    far = apart[np.arange(len(x)), at]
    return far, np.where(np.isfinite(far), at, -1)


def unit_length(rows: Numbers) -> NDArray[np.float32]:
    """The rows divided by their Euclidean norms; a row of zeros stays as it is."""
    scaled = rows.astype(np.float32)
    for part in blocks(scaled):  # views
        norms = np.sqrt(np.square(part, dtype=np.float64).sum(axis=1, keepdims=True))
        part /= np.where(norms > 0, norms, 1)
    return scaled


BITS = 14
"""Of a row's largest number that have to be left on the grid: float16 has 11, and three more for
the smaller numbers of the row."""


NORMALISE = "set the strategy's normalise: true, which compares directions alone"
"""A way out for strategies that can."""


def check_scale(*groups: tuple[Sequence[str], Numbers], width: int, way_out: str) -> None:
    """Raise DataError naming the unit whose features are so much larger than most that the grid of
    all of them is too coarse for these: units that differ would be equal.

    Each group is N ids and the `magnitudes` of their rows, which have this width. Most: the median
    of these, rows of zeros apart.
    """
    sizes = np.concatenate([np.zeros(0), *(each for _, each in groups)])  # float64
    if not sizes.any():
        return
    typical = float(np.median(sizes[sizes > 0]))
    step = Grid.reaching(float(sizes.max()), width).step
    if step <= np.ldexp(1.0, np.frexp(typical)[1] - BITS):
        return
    unit = [each for ids, _ in groups for each in ids][int(sizes.argmax())]
    raise DataError(
        f"the features of unit {unit!r} reach {sizes.max():.4g}, those of most units"
        f" {typical:.4g}: distances between all of them cannot be exact; {way_out}"
    )


def check_finite(ids: Sequence[str], rows: Rows, what: str) -> None:
    """Raise DataError naming the first unit whose row has a number that is infinite or none."""
    for number, part in enumerate(blocks(rows)):
        if part.size:
            start = number * BLOCK
            check_magnitudes(ids[start : start + len(part)], np.abs(part).max(axis=1), what)


def check_magnitudes(ids: Sequence[str], sizes: Numbers, what: str) -> None:
    """As `check_finite`, of rows with these `magnitudes`."""
    good = np.isfinite(sizes)
    if not good.all():
        unit = ids[int(good.argmin())]
        raise DataError(f"the {what} of unit {quoted(unit)} are not all finite numbers")
