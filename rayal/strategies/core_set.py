"""Core-set: k-center greedy, the unit farthest from everything labeled first.

Source: Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach" (ICLR 2018), Algorithm 1; the bound of twice the best radius is Gonzalez (TCS 1985).
Reference: google/active-learning efedd8f, `kcenter_greedy.py`.

Differences:
- The greedy algorithm alone, as everybody runs it, not the robust integer program after it.
- Without labeled units the reference picks position 0; here the first pick is the unit nearest to
  the mean, and all others follow from it.
- Distances are exact on a grid (see `distances`), so ties are true ties and the seed breaks them.

Every pick is the one that comparing all units with all centres would give; most comparisons are
never made (see `farthest_first`).
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.selection.candidates import Candidates
from rayal.selection.distances import (
    BLOCK,
    NORMALISE,
    Grid,
    Made,
    Rows,
    check_scale,
    nearest_squared,
    squared_distances,
    unit_length,
)
from rayal.selection.feature_file import features_of
from rayal.selection.greedy import buy, tie_order
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class CoreSet(Strategy):
    """argmax over the pool of min over labeled and picked c of |a - a_c|, a the features."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"features"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    scans_labeled: ClassVar[bool] = True
    normalise: bool = False
    """Scale each feature vector to length 1 first, which the reference does not."""

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        features, labeled = features_of(pool, None)
        if self.normalise:
            features, labeled = Made(features, unit_length), Made(labeled, unit_length)
        else:
            check_scale((pool.ids, features), (pool.labeled_ids, labeled), way_out=NORMALISE)
        order = tie_order(pool, rng)
        return pool.ids[buy(pool, farthest_first(features, order, labeled), budget)]


def farthest_first(
    points: Rows, order: NDArray[np.intp], centres: Rows, block: int = BLOCK
) -> Iterator[int]:
    """All positions of `points`, N x D, each the farthest from `centres` and those before it.

    Of equal distances the first in `order`, a permutation of the positions, comes first.

    Distances only shrink as centres are added, so the distance to some of them is a bound. While
    the leader of the `block` units of largest bounds, which are kept exact, beats the bounds of all
    others, it is the true maximum. Memory beyond the features: two numbers a unit, and the block.
    """
    if not len(points):
        return
    search = _Search(points, order, centres)
    if not len(centres):
        first = search.most_central()
        yield int(order[first])
        search.take([first])
    while True:
        units, (rival, rival_unit) = search.leaders(block)
        distances, x = search.bounds[units], search.place(units)
        taken: list[int] = []
        while True:
            lead = int(distances.argmax())  # the first of equals
            behind = (distances[lead], -units[lead]) < (rival, -rival_unit)
            if behind or distances[lead] == TAKEN:
                break
            yield int(order[units[lead]])
            taken.append(int(units[lead]))
            to_pick = squared_distances(x, x[lead : lead + 1])[:, 0]
            distances = np.minimum(distances, to_pick.numpy())
            distances[lead] = TAKEN
        if not taken:
            return
        search.take(taken)
        search.bounds[units], search.seen[units] = distances, len(search.centres)


TAKEN = -1.0
"""In place of the distance of a unit that is taken: below all others, so never the farthest."""

FEW = 512
"""How many centres a unit is compared with at first."""


class _Search:
    """Bounds on the squared distance of each unit to its nearest centre.

    Units are counted by their place in `order`, so the lower of two equal ones goes first.
    """

    def __init__(self, points: Rows, order: NDArray[np.intp], centres: Rows) -> None:
        self.points, self.order, self.centres = points, order, centres[:]
        self.grid = Grid.of(points, self.centres)
        self.bounds = np.full(len(points), np.inf)
        self.seen = np.zeros(len(points), dtype=np.int64)  # the first so many centres are in bounds

    def place(self, units: NDArray[np.intp]) -> Tensor:
        return self.grid.place(self.points[self.order[units]])

    def most_central(self) -> int:
        """The unit nearest to the mean of all, which is rounded to the grid."""
        blocks = np.split(np.arange(len(self.order)), range(BLOCK, len(self.order), BLOCK))
        mean = sum(self.place(units).sum(dim=0) for units in blocks) / len(self.order)
        target = torch.as_tensor(mean).round()[None]
        return int(
            torch.cat([squared_distances(self.place(units), target) for units in blocks]).argmin()
        )

    def take(self, units: list[int]) -> None:
        """Make centres of these units."""
        self.centres = np.concatenate([self.centres, self.points[self.order[units]]])
        self.bounds[units] = TAKEN

    def leaders(self, count: int) -> tuple[NDArray[np.intp], tuple[float, int]]:
        """The `count` units farthest from all centres, ascending, with exact bounds; and bound and
        unit of the first that is not among them."""
        while True:
            units, rest = self._largest(count)
            behind = units[self.seen[units] < len(self.centres)]
            if not len(behind):
                rival = int(rest[self.bounds[rest].argmax()]) if len(rest) else -1
                return units, (self.bounds[rival] if len(rest) else -np.inf, rival)
            for seen in np.unique(self.seen[behind]):
                self._catch_up(behind[self.seen[behind] == seen], int(seen))

    def _largest(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The units with the `count` largest bounds, and the others, both ascending."""
        if count >= len(self.bounds):
            return np.arange(len(self.bounds)), np.arange(0)
        least = np.partition(self.bounds, -count)[-count]
        chosen = self.bounds > least
        chosen[np.flatnonzero(self.bounds == least)[: count - chosen.sum()]] = True
        return np.flatnonzero(chosen), np.flatnonzero(~chosen)

    def _catch_up(self, units: NDArray[np.intp], seen: int) -> None:
        """Compare with at most as many centres as before, so that most never see them all."""
        until = max(FEW, 2 * seen)
        nearest = nearest_squared(self.place(units), self.grid, self.centres[seen:until])
        self.bounds[units] = np.minimum(self.bounds[units], nearest.numpy())
        self.seen[units] = min(until, len(self.centres))
