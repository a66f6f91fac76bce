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

The pool may be divided among machines: the picks are the same. Each holder holds the balls' members
among its own units; a pair of two holders is found by both. Every holder sees all features once, so
work grows with the square of the pool, on however many machines.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from rayal.errors import UsageError
from rayal.selection.candidates import Candidates
from rayal.selection.distances import BLOCK, Grid, Numbers, Rows, within
from rayal.selection.greedy import buy, tie_order
from rayal.selection.holders import Places
from rayal.strategies._features import FeatureHolder, OnFeatures, Space

MAX_PAIRS = 200_000_000
"""Pairs of units within the radius, whoever holds them in memory, at 20 bytes each."""


class ProbCover(OnFeatures):
    """Greedy maximum coverage: argmax of the number of uncovered units within `radius`."""

    select_power: ClassVar[int] = 2
    radius: float = Field(default=0.75, gt=0)
    """Radius of a ball, a Euclidean distance. 0.75 is for CIFAR-10 with normalised SimCLR features;
    the paper takes the largest at which 95 % of the balls hold one class, by clusters for classes.
    """

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        order = tie_order(pool, rng)
        cover = _Cover(self.space(pool, order, Balls), self.radius)
        return pool.ids[buy(pool, (int(order[place]) for place in cover.greedy()), budget)]


Met = tuple[list[Places], list[NDArray[np.int32]]]
"""Units of other holders, by place, and those of this one that are in their balls."""

SENT = 16 * BLOCK
"""Rows that holders are sent at a time."""
TAKEN = -1
"""In place of how many units a ball covers, where its unit is taken: never the most."""


class Balls(FeatureHolder):
    """Which of its units are within the radius of whom, and how many uncovered units of all holders
    each of its units would cover."""

    unit_bytes: ClassVar[int] = 17  # place, count, whether it is covered; the pairs come to that

    def __init__(
        self, places: Places, kept: Mapping[str, Rows], normalise: bool, signal: str = "features"
    ) -> None:
        super().__init__(places, kept, normalise, signal)
        self.pairs = self.pairs_met = 0

    def begin(self, grid: Grid, radius: float, size: int) -> int:
        """Finds the pairs among its own units; says how many. `size`: units of all holders."""
        self.grid, self.radius, self.size = grid, radius, size
        self.limit, self.pairs, self.pairs_met = (radius / grid.step) ** 2, 0, 0
        rows, columns = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for start in range(0, len(self), BLOCK):
            x = grid.place(self.points[start : start + BLOCK])
            for other in range(start, len(self), BLOCK):
                near = within(x, grid.place(self.points[other : other + BLOCK]), self.limit)
                if other == start:
                    near.triu_(diagonal=1)
                row, column = torch.nonzero(near, as_tuple=True)
                rows.append((row + start).int().numpy())
                columns.append((column + other).int().numpy())
                self.pairs += len(row)
                check_pairs(self.pairs, size, radius)
        self.later = _graph(rows, columns, (len(self), len(self)))  # each pair once per direction
        self.earlier = self.later.T.tocsr()
        self._met: Met | None = ([np.empty(0, np.intp)], [np.empty(0, np.int32)])
        self.others = _graph(*self._met, (size, len(self)))
        return self.pairs

    def sent(self, start: int) -> tuple[Places, Numbers]:
        """Places and rows of some of its units, for other holders to meet."""
        part = slice(start, start + SENT)
        return self.places[part], self.points[part]

    def meet(self, places: Places, rows: Numbers) -> int:
        """Finds the pairs with these units of another holder; once all were met, it knows them.
        Returns how many it has found with others so far, who find these, too."""
        if self._met is None:
            return self.pairs_met
        for start in range(0, len(rows), BLOCK):
            x = self.grid.place(rows[start : start + BLOCK])
            for other in range(0, len(self), BLOCK):
                y = self.grid.place(self.points[other : other + BLOCK])
                row, column = torch.nonzero(within(x, y, self.limit), as_tuple=True)
                self._met[0].append(places[start : start + BLOCK][row.numpy()])
                self._met[1].append((column + other).int().numpy())
                self.pairs_met += len(row)
                check_pairs(self.pairs + self.pairs_met, self.size, self.radius)
        return self.pairs_met

    def met(self) -> None:
        """No other holder is left."""
        if self._met is not None:
            self.others, self._met = _graph(*self._met, (self.size, len(self))), None

    def reached(self, centres: Numbers) -> NDArray[np.bool_]:
        """n, which of its units are within the radius of one of these centres."""
        return reached(self.points, centres, self.grid, self.radius)

    def cover(self, covered: NDArray[np.bool_], taken: Sequence[int]) -> tuple[int, int]:
        """Begins with these units covered, N of all holders, and these taken; as `lose`."""
        self.covered = covered[self.places]
        self.gains = self._gains(np.flatnonzero(~covered))
        self.gains[self.own(np.array(taken, np.intp))] = TAKEN
        return self._best()

    def uncovered(self, place: int) -> Places:
        """The places of its units in this unit's ball that nothing covers."""
        ball = self._around(np.array([place]))
        return self.places[ball[~self.covered[ball]]]

    def lose(self, covered: Places, taken: int) -> tuple[int, int]:
        """What is covered now, and the pick that does it. Returns how many units the best of its
        own would cover, and its negative place."""
        self.covered[self.own(covered)] = True
        self.gains -= self._gains(covered)
        self.gains[self.own(np.array([taken]))] = TAKEN
        return self._best()

    def _best(self) -> tuple[int, int]:
        if not len(self):
            return TAKEN, 0
        unit = int(self.gains.argmax())
        return int(self.gains[unit]), -int(self.places[unit])

    def _gains(self, places: Places) -> NDArray[np.int64]:
        """n, in how many of these units' balls each of its units is."""
        counts = np.zeros(len(self), np.int64)
        for start in range(0, len(places), BLOCK):
            part = self._around(places[start : start + BLOCK])
            counts += np.bincount(part, minlength=len(self))
        return counts

    def _around(self, places: Places) -> NDArray[np.intp]:
        """Its units in the balls of these, one ball after the other."""
        own, others = self.own(places), self.others[places].indices
        return np.concatenate([own, self.later[own].indices, self.earlier[own].indices, others])


def check_pairs(pairs: float, size: int, radius: float) -> None:
    """Raises UsageError where the pool of this size has more pairs than there may be, `pairs` or
    more."""
    if pairs > MAX_PAIRS:
        raise UsageError(
            f"prob_cover: more than {MAX_PAIRS} pairs of the {size} units are"
            f" within the radius {radius:g}; give a smaller one"
        )


def _graph(
    rows: Sequence[NDArray[Any]], columns: Sequence[NDArray[np.int32]], shape: tuple[int, int]
) -> csr_array:
    joined = np.concatenate(rows), np.concatenate(columns)
    return csr_array((np.ones(len(joined[0]), dtype=bool), joined), shape=shape)


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


class _Cover:
    """What is covered, by labeled units and picks."""

    def __init__(self, space: Space, radius: float) -> None:
        self.holders, self.grid, self.radius = space.holders, space.grid, radius
        self.picks: list[int] = list(self.holders.progress.picks)
        self.covered: NDArray[np.bool_] | None = None
        """N, by place; None until the labeled units are asked for."""
        self.holders.start(self._catch_up)
        centres: Numbers = space.labeled[:]
        if self.picks:
            centres = np.concatenate([centres, self.holders.gather(np.array(self.picks))])
        self.covered = self.holders.whole(self.holders.ask("reached", centres))

    def greedy(self) -> Iterator[int]:
        """All places, each the one that covers most of what nothing covers yet, of equals the
        lowest."""
        yield from self.picks
        assert self.covered is not None
        best = self.holders.ask("cover", self.covered, self.picks)
        while len(self.picks) < self.holders.size:
            pick = -max(best)[1]
            yield pick
            new = np.concatenate(self.holders.ask("uncovered", pick))
            best = self.holders.ask("lose", new, pick)
            self.covered[new] = True
            self.picks.append(pick)
            self.holders.progress.add([pick])

    def _catch_up(self, of: Sequence[int]) -> None:
        size = self.holders.size
        own = sum(self.holders.ask("begin", self.grid, self.radius, size, of=of))
        check_pairs(own, size, self.radius)
        met = dict.fromkeys(of, 0)
        for sender, places in enumerate(self.holders.places):
            if not (others := [holder for holder in of if holder != sender]):
                continue
            for start in range(0, len(places), SENT):
                (sent,) = self.holders.ask("sent", start, of=[sender])
                met |= zip(others, self.holders.ask("meet", *sent, of=others), strict=True)
                check_pairs(own + sum(met.values()) / 2, size, self.radius)
        self.holders.ask("met", of=of)
        if self.covered is not None:
            self.holders.ask("cover", self.covered, self.picks, of=of)
