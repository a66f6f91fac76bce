"""Down a ranking while the budget lasts, past the units that a limit forbids.

A unit that the budget does not buy ends it, as with `selection.spend`. One that is passed over
costs nothing. The picks are those of sorting everything in memory and walking down.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayal.cycle.ranking import Mark, mark
from rayal.cycle.referred import FEATURES
from rayal.cycle.shard_file import matrix
from rayal.selection.distances import Numbers, check_finite, nearer
from rayal.storage.ids import Ids

ROWS = 256
"""Rows whose distances to each other are known at one time."""
SHOWN = 100
"""Units passed over for their distance that are remembered, the first in the ranking."""


class Seen(NamedTuple):
    """Units and what a pass kept of them."""

    ids: Ids
    features: Numbers
    """N x D"""


class Cap:
    """At most `limit` units of each kind."""

    def __init__(
        self, cause: str, limit: int, kinds: Callable[[pa.Table], NDArray[np.integer]]
    ) -> None:
        """`kinds` says of what kind each row is; `cause` is what to call a kind that is full."""
        self.cause, self.limit, self.kinds = cause, limit, kinds
        self.taken = Counter[int]()
        self._full: list[int] = []

    def room(self, kind: int) -> bool:
        """Whether one more of this kind may be taken."""
        return self.taken[kind] < self.limit

    def take(self, kind: int) -> None:
        """Counts one more."""
        self.taken[kind] += 1
        if self.taken[kind] == self.limit:
            self._full.append(kind)

    def open(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows are of a kind that is not full."""
        return np.isin(self.kinds(rows), self._full, invert=True)


class Apart:
    """Units at least `distance` from all that are taken, and from `labeled` ones."""

    def __init__(self, distance: float, labeled: Sequence[Seen] = ()) -> None:
        self.distance, self.labeled = distance, labeled
        self._taken: list[Numbers] = []

    @property
    def taken(self) -> Numbers:
        """K x D, of what was taken, in its order."""
        return np.concatenate(self._taken) if self._taken else np.empty((0, 0), np.float16)

    def far(self, rows: Numbers) -> NDArray[np.bool_]:
        """Which rows are far enough from all of these."""
        near = np.zeros(len(rows), bool)
        for others in (*(seen.features for seen in self.labeled), *self._taken):
            near |= nearer(rows, others, self.distance).any(axis=1)
        return ~near

    def take(self, rows: Numbers) -> None:
        if self._taken and len(self._taken[-1]) < 4 * ROWS:  # few arrays, of few sizes
            rows = np.concatenate([self._taken.pop(), rows])
        self._taken.append(rows)


class TooNear(NamedTuple):
    """A unit that was passed over for its distance."""

    unit: str
    score: float
    before: int
    """How many units were taken before it."""
    features: Numbers
    """D"""


class Walk:
    """Units taken so far, best first, and what they cost."""

    def __init__(
        self,
        budget: float,
        costs: Callable[[Ids], NDArray[np.floating]],
        cheapest: float,
        caps: Sequence[Cap] = (),
        apart: Apart | None = None,
        overshoot: bool = False,
    ) -> None:
        """`costs` of units, of which none is below `cheapest`; `overshoot`: see `Budget`."""
        self.budget, self.costs, self.cheapest = budget, costs, cheapest
        self.overshoot = overshoot
        self.caps, self.apart = caps, apart
        self.ids: list[str] = []
        self.scores: list[float] = []
        self.spent = 0.0
        self.last: Mark | None = None
        """The place of the last one in the ranking."""
        self.short = False
        """Whether the ranking ended while there was something left of the budget."""
        self.tie = False
        """Whether the first unit that the budget did not buy has the score of the last one."""
        self.too_near: list[TooNear] = []
        """The first SHOWN of those passed over for their distance alone."""

    def down(self, blocks: Iterable[pa.Table]) -> None:
        """Takes from the consecutive blocks of a ranking until the budget is spent."""
        for block in blocks:
            for start in range(0, block.num_rows, ROWS):
                if not self._take_from(block.slice(start, ROWS)):
                    return
        self.short = self._buys(self.cheapest)

    def _buys(self, price: float) -> bool:
        """Whether what is left of the budget buys a unit at this price."""
        if self.overshoot:
            return self.spent < self.budget
        return self.spent + price <= self.budget

    def _take_from(self, rows: pa.Table) -> bool:
        """Whether to go on."""
        open_, near = self._open(rows)
        kinds = [cap.kinds(rows).tolist() for cap in self.caps]
        prices, scores = self.costs(Ids(rows["id"])).tolist(), rows["score"].to_pylist()
        taken: list[int] = []
        for row, (price, score) in enumerate(zip(prices, scores, strict=True)):
            lower = bool(self.scores) and score < self.scores[-1]
            if lower and not self._buys(self.cheapest):
                return self._keep(rows, taken, False)
            allowed = all(cap.room(kind[row]) for cap, kind in zip(self.caps, kinds, strict=True))
            if not (allowed and open_[row]):
                if allowed:
                    self._pass_over(rows, row, len(self.ids) + len(taken))
                continue
            if not self._buys(price):
                self.tie = bool(self.scores) and not lower
                return self._keep(rows, taken, False)
            self.spent += price
            self.scores.append(score)
            taken.append(row)
            for cap, kind in zip(self.caps, kinds, strict=True):
                cap.take(kind[row])
            if near is not None:
                open_ &= ~near[row]
        return self._keep(rows, taken, True)

    def _open(self, rows: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Which rows are far from all that is taken; and which are near to one another."""
        if self.apart is None:
            return np.ones(rows.num_rows, bool), None
        features = matrix(rows[FEATURES])
        check_finite(Ids(rows["id"]), features, "features")
        if not self.apart.distance:
            return np.ones(rows.num_rows, bool), None
        return self.apart.far(features), nearer(features, features, self.apart.distance)

    def _pass_over(self, rows: pa.Table, row: int, before: int) -> None:
        """Remembers one that is too near to what is taken, among the first."""
        if len(self.too_near) < SHOWN:
            one = rows.slice(row, 1)
            unit, score = one["id"][0].as_py(), one["score"][0].as_py()
            self.too_near.append(TooNear(unit, score, before, matrix(one[FEATURES])[0]))

    def _keep(self, rows: pa.Table, taken: list[int], more: bool) -> bool:
        """Notes the rows that were taken; hands on `more`."""
        if taken:
            chosen = rows.take(taken)
            self.ids += chosen["id"].to_pylist()
            self.last = mark(chosen)
            if self.apart is not None:
                self.apart.take(matrix(chosen[FEATURES]))
        return more
