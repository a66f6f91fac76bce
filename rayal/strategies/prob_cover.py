"""ProbCover: the units whose balls cover the most units not yet covered.

Source: Yehuda et al., "Active Learning Through a Covering Lens" (NeurIPS 2022), Algorithm 1;
official code avihu111/TypiClust 4097a71, `prob_cover.py`. It wants features in which near units
share a class, of a self-supervised encoder, and few labels.

Differences:
- The official graph leaves out the last N mod 500 units as centres; here every unit can be one.
- Once all is covered the official code picks position 0 again and again, which may be a labeled
  unit; here the rest of the budget is picked in seeded order, as are equal counts.
- Distances are exact (see `distances`); a unit on the edge of a ball is covered, as in the paper.

Memory: 20 bytes for each pair of units within the radius while the graph is built, 10 after, and a
few blocks of features.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from rayal.errors import UsageError
from rayal.selection.candidates import Candidates
from rayal.selection.distances import BLOCK, Grid, Rows, within
from rayal.selection.greedy import buy, tie_order
from rayal.strategies._features import OnFeatures

MAX_PAIRS = 200_000_000
"""Pairs of units within the radius that are held in memory, at 20 bytes each."""


class ProbCover(OnFeatures):
    """Greedy maximum coverage: argmax of the number of uncovered units within `radius`."""

    radius: float = Field(default=0.75, gt=0)
    """Radius of a ball, a Euclidean distance. 0.75 is for CIFAR-10 with normalised SimCLR features;
    the paper takes the largest at which 95 % of the balls hold one class, by clusters for classes.
    """

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        order = tie_order(pool, rng)
        points, labeled = self.rows(pool, order)
        grid = Grid.of(points, labeled)
        balls = _Balls(points, grid, self.radius)
        covered = reached(points, labeled, grid, self.radius)
        return pool.ids[buy(pool, (int(order[i]) for i in balls.greedy_cover(covered)), budget)]


def reached(points: Rows, centres: Rows, grid: Grid, radius: float) -> NDArray[np.bool_]:
    """N, which points are within the radius of a centre."""
    result = np.zeros(len(points), dtype=bool)
    for start in range(0, len(points), BLOCK):
        x = grid.place(points[start : start + BLOCK])
        for other in range(0, len(centres), BLOCK):
            y = grid.place(centres[other : other + BLOCK])
            near = within(x, y, (radius / grid.step) ** 2)
            result[start : start + BLOCK] |= near.any(dim=1).numpy()
    return result


class _Balls:
    """Who is within the radius of whom, N points; each pair i < j is held once per direction."""

    def __init__(self, points: Rows, grid: Grid, radius: float) -> None:
        self.size = len(points)
        limit, pairs = (radius / grid.step) ** 2, 0
        rows, columns = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for start in range(0, self.size, BLOCK):
            x = grid.place(points[start : start + BLOCK])
            for other in range(start, self.size, BLOCK):
                near = within(x, grid.place(points[other : other + BLOCK]), limit)
                if other == start:
                    near.triu_(diagonal=1)
                row, column = torch.nonzero(near, as_tuple=True)
                rows.append((row + start).int().numpy())
                columns.append((column + other).int().numpy())
                pairs += len(row)
                if pairs > MAX_PAIRS:
                    raise UsageError(
                        f"prob_cover: more than {MAX_PAIRS} pairs of the {self.size} units are"
                        f" within the radius {radius:g}; give a smaller one"
                    )
        joined = np.concatenate(rows), np.concatenate(columns)
        del rows, columns
        self.later = csr_array((np.ones(pairs, dtype=bool), joined), shape=(self.size, self.size))
        self.earlier = self.later.T.tocsr()

    def around(self, points: NDArray[np.intp]) -> NDArray[np.intp]:
        """The members of the balls of these points, one ball after the other."""
        return np.concatenate([points, self.later[points].indices, self.earlier[points].indices])

    def greedy_cover(self, covered: NDArray[np.bool_]) -> Iterator[int]:
        """All points, each the one that covers most of what nothing covers yet; ties by position.

        `covered` is where to start from, and is written to."""
        gains = self._count(np.flatnonzero(~covered))
        for _ in range(self.size):
            pick = int(gains.argmax())
            yield pick
            ball = self.around(np.array([pick]))
            new = ball[~covered[ball]]
            covered[new] = True
            gains -= self._count(new)
            gains[pick] = -1 - self.size  # never again

    def _count(self, points: NDArray[np.intp]) -> NDArray[np.int64]:
        """In how many of these points' balls each point is."""
        counts = np.zeros(self.size, np.int64)
        for start in range(0, len(points), BLOCK):
            part = self.around(points[start : start + BLOCK])
            counts += np.bincount(part, minlength=self.size)
        return counts
