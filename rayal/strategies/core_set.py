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
never made (see `farthest_first`). The pool may be divided among machines: the picks are the same.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.selection.candidates import Candidates
from rayal.selection.distances import BLOCK, Grid, Numbers, nearest_squared, squared_distances
from rayal.selection.greedy import buy, tie_order
from rayal.selection.holders import Places
from rayal.signals.signal import SignalName
from rayal.strategies._features import FeatureHolder, Space, space_of
from rayal.strategies.base import Strategy


class CoreSet(Strategy):
    """argmax over the pool of min over labeled and picked c of |a - a_c|, a the features."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"features"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    scans_labeled: ClassVar[bool] = True
    normalise: bool = False
    """Scale each feature vector to length 1 first, which the reference does not."""

    def asks_holders(self) -> bool:
        return True

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        return select_farthest(pool, budget, rng, self.normalise)


def select_farthest(
    pool: Candidates,
    budget: float,
    rng: np.random.Generator,
    normalise: bool,
    signal: SignalName = "features",
) -> Sequence[str]:
    """The units that the budget buys, each the farthest from labeled ones and those before it, by
    the rows that the pass kept of `signal`."""
    order = tie_order(pool, rng)
    space = space_of(pool, order, Bounds, normalise, signal=signal)
    picks = (int(order[place]) for place in farthest_first(space))
    return pool.ids[buy(pool, picks, budget)]


def farthest_first(space: Space, block: int = BLOCK) -> Iterator[int]:
    """All places, each the farthest from the labeled units and those before it; of equal distances
    the lower place comes first.

    Distances only shrink as centres are added, so the distance to some of them is a bound. While
    the leader of the `block` units of largest bounds, which are kept exact, beats the bounds of all
    others, it is the true maximum. Of several holders each gives its share of the block, and the
    bounds of all its others. Memory beyond the features: 20 bytes a unit, and the block.
    """
    if not space.holders.size:
        return
    search = _Search(space, -(-block // len(space.holders)))
    yield from search.taken
    if not len(search.centres):
        yield search.take_most_central()
    while True:
        leaders = search.leaders()
        distances, x = leaders.distances, space.grid.place(leaders.rows)
        taken: list[int] = []
        while True:
            lead = int(distances.argmax())  # the first of equals
            behind = (distances[lead], -leaders.places[lead]) < leaders.rival
            if behind or distances[lead] == TAKEN:
                break
            yield int(leaders.places[lead])
            taken.append(lead)
            to_pick = squared_distances(x, x[lead : lead + 1])[:, 0]
            distances = np.minimum(distances, to_pick.numpy())
            distances[lead] = TAKEN
        if not taken:
            return
        search.take(taken, leaders._replace(distances=distances))


TAKEN = -1.0
"""In place of the distance of a unit that is taken: below all others, so never the farthest."""

FEW = 512
"""How many centres a unit is compared with at first."""


class Leaders(NamedTuple):
    """Units far from all centres, by place, ascending."""

    places: Places
    distances: NDArray[np.float64]
    """Squared, exact."""
    rows: Numbers
    rival: tuple[float, int]
    """Bound and negative place of the first unit that is not among them."""


class Bounds(FeatureHolder):
    """Bounds on the squared distance of each unit to its nearest centre."""

    unit_bytes: ClassVar[int] = 20  # place, bound, seen

    def begin(self, grid: Grid, centres: Numbers, taken: Sequence[int]) -> None:
        """`taken` of all holders' units are among the centres, L + K x D."""
        self.grid, self.centres = grid, centres
        self.bounds = np.full(len(self), np.inf)
        self.seen = np.zeros(len(self), np.int32)  # the first so many centres are in the bounds
        self.bounds[self.own(np.array(taken, np.intp))] = TAKEN

    def sums(self, grid: Grid) -> NDArray[np.int64]:
        """D, in steps, of all units."""
        total = torch.zeros(self.points.shape[1], dtype=torch.int64)
        for start in range(0, len(self), BLOCK):
            total += grid.place(self.points[start : start + BLOCK]).sum(dim=0).long()
        return total.numpy()

    def nearest(self, grid: Grid, target: NDArray[np.float64]) -> tuple[float, int]:
        """Squared distance and place of the unit nearest to a point on the grid."""
        best = (np.inf, -1)
        for start in range(0, len(self), BLOCK):
            x = grid.place(self.points[start : start + BLOCK])
            distances = squared_distances(x, torch.from_numpy(target.copy())[None])[:, 0]
            unit = int(distances.argmin())
            best = min(best, (float(distances[unit]), int(self.places[start + unit])))
        return best

    def leaders(self, count: int) -> Leaders:
        """The `count` units farthest from all centres."""
        self._compare_new()
        reach = count
        while True:
            units, rest = self._largest(count)
            if not (self.seen[units] < len(self.centres)).any():
                break
            if reach > count:
                units, _ = self._largest(reach)
            behind = units[self.seen[units] < len(self.centres)]
            reach = min(2 * reach, len(self) // 16)
            for seen in np.unique(self.seen[behind]):
                self._catch_up(behind[self.seen[behind] == seen], int(seen))
        rival = (-np.inf, 0)
        if len(rest):
            first = int(rest[self.bounds[rest].argmax()])
            rival = (float(self.bounds[first]), -int(self.places[first]))
        return Leaders(self.places[units], self.bounds[units], self.points[units], rival)

    def take(self, rows: Numbers, places: Places, distances: NDArray[np.float64]) -> None:
        """Makes centres of these rows; `distances` are then those of the leaders at `places`."""
        self.centres = np.concatenate([self.centres, rows])
        units = self.own(places)
        self.bounds[units], self.seen[units] = distances, len(self.centres)

    def _largest(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The units with the `count` largest bounds, and the others, both ascending."""
        if count >= len(self.bounds):
            return np.arange(len(self.bounds)), np.arange(0)
        least = np.partition(self.bounds, -count)[-count]
        chosen = self.bounds > least
        chosen[np.flatnonzero(self.bounds == least)[: count - chosen.sum()]] = True
        return np.flatnonzero(chosen), np.flatnonzero(~chosen)

    def _compare_new(self) -> None:
        """Units without a bound would all be among the largest, a few at a time."""
        if len(self.centres):
            self._catch_up(np.flatnonzero(np.isinf(self.bounds)), 0)

    def _catch_up(self, units: NDArray[np.intp], seen: int) -> None:
        """Compare with at most as many centres as before, so that most never see them all."""
        until = max(FEW, 2 * seen)
        centres = self.centres[seen:until]
        for start in range(0, len(units), BLOCK):
            part = units[start : start + BLOCK]
            x: Tensor = self.grid.place(self.points[part])
            nearest = nearest_squared(x, self.grid, centres)
            self.bounds[part] = np.minimum(self.bounds[part], nearest.numpy())
        self.seen[units] = min(until, len(self.centres))


class _Search:
    """The centres, and what the holders say of their units."""

    def __init__(self, space: Space, share: int) -> None:
        """`share`: leaders that each holder gives."""
        self.holders, self.grid, self.share = space.holders, space.grid, share
        self.taken = list(self.holders.progress.picks)
        self.centres: Numbers = space.labeled[:]
        if self.taken:
            picked = self.holders.gather(np.array(self.taken))
            self.centres = np.concatenate([self.centres, picked])
        self.holders.start(
            lambda of: self.holders.ask("begin", self.grid, self.centres, self.taken, of=of)
        )

    def take_most_central(self) -> int:
        """The unit nearest to the mean of all, which is rounded to the grid."""
        mean = sum(self.holders.ask("sums", self.grid)) / self.holders.size
        _, place = min(self.holders.ask("nearest", self.grid, np.round(mean)))
        places = np.array([place])
        row = self.holders.gather(places)
        only = Leaders(places, np.array([TAKEN]), row, (-np.inf, 0))
        self.take([0], only)
        return int(place)

    def leaders(self) -> Leaders:
        """Those of all holders."""
        found: list[Leaders] = self.holders.ask("leaders", self.share)
        places = np.concatenate([each.places for each in found])
        order = np.argsort(places)
        return Leaders(
            places[order],
            np.concatenate([each.distances for each in found])[order],
            np.concatenate([each.rows for each in found])[order],
            max(each.rival for each in found),
        )

    def take(self, taken: list[int], leaders: Leaders) -> None:
        """Makes centres of these of the leaders, whose distances are those to all centres then."""
        rows, at = leaders.rows[taken], self.holders.of(leaders.places)
        places = [
            (leaders.places[at.get(holder, [])], leaders.distances[at.get(holder, [])])
            for holder in range(len(self.holders))
        ]
        self.holders.ask_each("take", rows, own=dict(enumerate(places)))
        self.centres = np.concatenate([self.centres, rows])
        new = leaders.places[taken].tolist()
        self.taken += new
        self.holders.progress.add(new)
