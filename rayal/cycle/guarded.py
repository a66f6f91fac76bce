"""What a strategy that ranks chooses past guards: the one way of runs and of `rayal select`.

Exact, whatever the size of the pool and however it is divided: the picks, and what is told of them,
are those of sorting all of it in memory and walking down.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayal.cycle import shard_file
from rayal.cycle.ranking import keyed, ranked, scored
from rayal.cycle.referred import FEATURES
from rayal.cycle.walk import Apart, Cap, Seen, TooNear, Walk
from rayal.runs.passes import Pass
from rayal.selection.candidates import Price, one_each
from rayal.selection.distances import check_finite, nearest
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places

PREDICTED = "predicted"
"""Column of the predicted class."""
CLASS_FULL, GROUP_FULL, TOO_NEAR = "class full", "group full", "too near"
"""Why a unit is passed over."""
FEW = 2**16
"""Units that are ranked at first where each has a cost of its own."""

Kinds = Callable[[Ids], NDArray[np.int64]]
"""Of what kind each of these units is."""


@dataclass(frozen=True)
class Limits:
    """Which units are passed over on the way down a ranking."""

    per_class: int | None = None
    """Most units of one predicted class; None: any number."""
    groups: Kinds | None = None
    per_group: int | None = None
    """Most units of one group; None: any number."""
    min_distance: float | None = None
    """Least Euclidean distance of a unit's features from those labeled and chosen before it; 0: all
    are far enough, and how far is told; None: nobody looks."""

    def columns(self) -> list[str]:
        """What the walk reads of a pass beside scores."""
        return [PREDICTED] * (self.per_class is not None) + [FEATURES] * (
            self.min_distance is not None
        )

    def caps(self) -> Iterator[Cap]:
        """One for each kind that may be full."""
        if self.per_class is not None:
            yield Cap(CLASS_FULL, self.per_class, lambda rows: rows[PREDICTED].to_numpy())
        if (groups := self.groups) is not None and self.per_group is not None:
            yield Cap(GROUP_FULL, self.per_group, lambda rows: groups(Ids(rows["id"])))

    def why(self, over: Mapping[str, int], chosen: int) -> str:
        """What is said of all others where fewer were chosen than the budget buys."""
        limits = {
            CLASS_FULL: f"of a class that has its {self.per_class}",
            GROUP_FULL: f"of a group that has its {self.per_group}",
            TOO_NEAR: f"nearer than {self.min_distance} to"
            f" {'one of these or of the labeled' if chosen else 'a labeled one'}",
        }
        found = " or ".join(limits[cause] for cause, number in over.items() if number)
        if not found:
            return "there are no others"
        return f"{'the others' if chosen else 'all'} are {found}"


@dataclass(frozen=True)
class Nearest:
    """Of each of K units the nearest among others, and how far it is."""

    ids: list[str | None]
    """None where there are no others."""
    distances: list[float | None]

    @classmethod
    def of(cls, others: Sequence[str], far: NDArray[np.float64], at: NDArray[np.intp]) -> "Nearest":
        """From what `nearest` gives for these others."""
        there = [place if place >= 0 else None for place in at.tolist()]
        return cls(
            [None if place is None else others[place] for place in there],
            [None if at is None else d for at, d in zip(there, far.tolist(), strict=True)],
        )


@dataclass(frozen=True)
class Near:
    """A unit that was passed over, and what it is too near to."""

    unit: str
    score: float
    to: str
    of: str
    """What `to` is: `labeled`, or `chosen` before it."""
    distance: float


@dataclass(frozen=True)
class Distances:
    """How far apart features are, where `min_distance` asks."""

    labeled: Nearest
    """Of each unit that was chosen: from the labeled ones."""
    chosen: Nearest
    """From those chosen before it."""
    too_near: list[Near]
    """The first in the ranking of those passed over for their distance alone."""


@dataclass(frozen=True)
class Walked:
    """K units, best first, and what was passed over for them."""

    ids: list[str]
    scores: list[float]
    spent: float
    tied: float | None
    """The score of the last one, where a unit that the budget did not buy has it too."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """How many units rank before the last one taken and were not taken, by the first cause that
    stands in their way in the end; where the budget was not spent, how many of all."""
    short: str = ""
    """Why it is less than the budget buys, where the limits or the pool say so."""
    distances: Distances | None = None


def walk_down(
    folder: Folder,
    result: Pass,
    column: str,
    secret: int,
    budget: float,
    labeled: Places,
    limits: Limits,
    price: Price = one_each,
    cheapest: float = 1.0,
    overshoot: bool = False,
) -> Walked:
    """The units of a finished pass with the highest scores in this column that the limits allow and
    the budget buys, each at its `price`, none below `cheapest`; those of `labeled` are none.

    A `tie_secret` decides the order of equals.
    """
    caps, near = list(limits.caps()), limits.min_distance
    apart = None if near is None else Apart(near, [*_seen(folder, result, labeled)])

    def eligible(rows: pa.Table) -> NDArray[np.bool_]:
        open_ = ~labeled.has(Ids(rows["id"]))
        for cap in caps:
            open_ &= cap.open(rows)
        return open_

    walk = Walk(budget, price, cheapest, caps, apart, overshoot)
    # one more than can be bought, to see a tie; a budget of clicks says little about units
    first = int(min(budget, np.inf if price is one_each else FEW)) + 1
    columns = limits.columns()
    walk.down(ranked(folder, result, column, secret, first, columns, eligible))
    over = _passed_over(folder, result, column, walk, labeled, secret)
    return Walked(
        walk.ids,
        walk.scores,
        walk.spent,
        tied=walk.scores[-1] if walk.tie else None,
        passed_over=over,
        short=limits.why(over, len(walk.ids)) if walk.short and walk.spent < budget else "",
        distances=None if apart is None else _distances(walk, apart),
    )


def predicted(folder: Folder, result: Pass, units: Ids) -> list[int] | None:
    """The number of the class that the model gives each unit; None where the pass has none."""
    places, numbers = Places(units), np.full(len(units), -1, np.int64)
    for rows in shard_file.shards(folder, result, ["id", PREDICTED]):
        if PREDICTED not in rows.schema.names:
            return None
        at = places.of(Ids(rows["id"]))
        numbers[at[at >= 0]] = rows[PREDICTED].to_numpy()[at >= 0]
    return numbers.tolist()


def _seen(folder: Folder, result: Pass, labeled: Places) -> Iterator[Seen]:
    """What the pass kept of labeled units, shard by shard."""
    if not len(labeled.ids):
        return
    for rows in shard_file.shards(folder, result, ["id", FEATURES]):
        seen = rows.filter(pa.array(labeled.has(Ids(rows["id"]))))
        if seen.num_rows:
            ids, features = Ids(seen["id"]), shard_file.matrix(seen[FEATURES])
            check_finite(ids, features, "features")
            yield Seen(ids, features)


def _distances(walk: Walk, apart: Apart) -> Distances:
    """Of what was taken, and of what was passed over for it."""
    picks, number = apart.taken, len(walk.ids)
    return Distances(
        labeled=_from(apart.labeled, picks),
        chosen=Nearest.of(walk.ids, *nearest(picks, picks, np.arange(number))),
        too_near=[_near(each, walk.ids, picks, apart.labeled) for each in walk.too_near],
    )


def _from(seen: Sequence[Seen], rows: NDArray[np.floating]) -> Nearest:
    """The nearest labeled one of each row; of equals the first id, however shards divide them."""
    found = Nearest([None] * len(rows), [None] * len(rows))
    for part in seen:
        order = pc.sort_indices(part.ids.array).to_numpy().astype(np.intp)
        far, at = nearest(rows, part.features[order])
        for row, (distance, place) in enumerate(zip(far.tolist(), at.tolist(), strict=True)):
            before, unit = found.distances[row], part.ids[int(order[place])]
            here = (distance, unit)
            if before is None or here < (before, found.ids[row] or ""):
                found.distances[row], found.ids[row] = here
    return found


def _near(
    passed: TooNear, ids: Sequence[str], picks: NDArray[np.floating], seen: Sequence[Seen]
) -> Near:
    """What stood in its way: the nearest of the labeled ones and of the picks before it."""
    rows = passed.features[None]
    labeled = _from(seen, rows)
    chosen = Nearest.of(ids, *nearest(rows, picks[: passed.before]))
    pairs = [
        (distance, unit, of)
        for each, of in ((labeled, "labeled"), (chosen, "chosen"))
        for unit, distance in zip(each.ids, each.distances, strict=True)
        if unit is not None and distance is not None
    ]
    distance, unit, of = min(pairs, key=lambda pair: pair[0])
    return Near(passed.unit, passed.score, unit, of, distance)


def _passed_over(
    folder: Folder, result: Pass, column: str, walk: Walk, labeled: Places, secret: int
) -> dict[str, int]:
    """See `Walked.passed_over`."""
    causes = {cap.cause: 0 for cap in walk.caps}
    if walk.apart is not None:
        causes[TOO_NEAR] = 0
    last = None if walk.short else walk.last
    if not causes or (last is None and not walk.short):
        return causes
    taken, columns = Places(Ids(walk.ids)), [PREDICTED] * (CLASS_FULL in causes)
    for shard in shard_file.shards(folder, result, ["id", f"score.{column}", *columns]):
        rows = scored(folder, shard, column, columns)
        if last is not None:
            rows = rows.filter(pc.greater_equal(rows["score"], last.score))
        ids = Ids(rows["id"])
        rows = rows.filter(pa.array(~(labeled.has(ids) | taken.has(ids))))
        if last is not None:
            rows = keyed(rows, secret)
            rows = rows.filter(pa.array(~last.before(rows)))
        for cap in walk.caps:
            open_ = cap.open(rows)
            causes[cap.cause] += int((~open_).sum())
            rows = rows.filter(pa.array(open_))
        if rows.num_rows:  # only distance is left
            causes[TOO_NEAR] += rows.num_rows
    return causes
