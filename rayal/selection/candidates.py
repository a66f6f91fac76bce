"""From scores to a choice: exact and deterministic, whatever the order the scores came in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rayal.errors import UsageError, quoted
from rayal.randomness import derive, unit_keys
from rayal.selection.holders import Dealt, Spread
from rayal.storage.ids import CHUNK, Ids, Places

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region
    from rayal.labeling.votes import Vote

Price = Callable[[Ids], NDArray[np.float64]]
"""What each of these units costs, in the budget's unit."""
Regions = Callable[[str], "Mapping[int, Region]"]
"""The regions of an image, by number."""


def one_each(units: Ids) -> NDArray[np.float64]:
    """The price where every unit costs 1."""
    return np.ones(len(units))


def unknown_regions(image: str) -> "Mapping[int, Region]":
    """Raises UsageError: there is no oracle to ask."""
    raise UsageError(
        f"the regions of image {quoted(image)} are known to the oracle of a run alone; choose"
        " regions in a run"
    )


@dataclass(frozen=True)
class Candidates:
    """The candidates of one cycle that could be scored, M of them, sorted by id."""

    ids: Ids  # M
    scores: NDArray[np.float64] | None  # M, higher = label sooner; None for strategies without
    price: Price = one_each
    kept: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """By signal name, M x width, float16: what the strategy's `kept` names. They may lie in a file:
    a copy of all of them may not fit the memory."""
    labeled_ids: Ids = field(default_factory=Ids)
    """L, the labeled units, sorted, less those that are candidates again; empty unless the strategy
    `scans_labeled`."""
    labeled: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """As `kept`, L x width, of the labeled units."""
    votes: "Mapping[str, Sequence[Vote]]" = field(default_factory=dict)
    """Of labeled units, candidates or not, what was said of them so far, in order; empty unless the
    strategy `relabels`."""
    regions: Regions = unknown_regions
    """Of an image those that are not bought, for strategies that choose these."""
    overshoot: bool = False
    """Whether the unit at which the budget would be exceeded is still bought."""
    spread: Spread | None = None
    """Where what was kept of the candidates is in place of `kept`; None: there."""

    @property
    def lies(self) -> Spread:
        """Where what was kept is, for strategies that ask `asks_holders`."""
        return self.spread or Dealt(self.kept)

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """M, of the candidates, in the budget's unit; asked for once they are read."""
        return self.price(self.ids)

    def places(self, units: Sequence[str]) -> NDArray[np.intp] | None:
        """The positions of these units; None where one is a region of a candidate."""
        order = Places(Ids(units)).of(self.ids)
        there = np.flatnonzero(order >= 0)
        if len(there) < len(units):
            return None
        places = np.empty(len(units), np.intp)
        places[order[there]] = there
        return places

    def scores_of(self, units: Sequence[str]) -> list[float] | None:
        """Theirs; None for regions, and where the strategy gives no scores."""
        places = self.places(units)
        return None if places is None or self.scores is None else self.scores[places].tolist()


def take_highest(pool: Candidates, budget: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of the highest scores that the budget buys, best first.

    Equal scores are ordered by a seeded key of the unit's id, so a constant score is a random
    choice and no choice depends on how the pool was divided.
    """
    assert pool.scores is not None, "a strategy without scores must have its own select"
    return spend(pool, ranking(pool.ids, pool.scores, rng), budget)


def ranking(ids: Ids, scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions by descending score; equal scores by a seeded 64-bit key of the id."""
    return np.lexsort((tie_keys(ids, tie_secret(rng)), -scores))


def tie_secret(rng: np.random.Generator) -> int:
    """What makes the order of equals that of this generator."""
    return derive(rng.bytes(16).hex())


def tie_keys(ids: Ids, secret: int) -> NDArray[np.uint64]:
    """One number per unit: of equals the lowest goes first."""
    starts = range(0, max(len(ids), 1), CHUNK)
    return np.concatenate([unit_keys(ids[start : start + CHUNK], secret) for start in starts])


def spend(pool: Candidates, order: NDArray[np.intp], budget: float) -> NDArray[np.intp]:
    """The longest prefix of `order` whose costs stay within the budget; with `overshoot`, the
    shortest that spends it."""
    return order[: bought(pool.costs[order], budget, pool.overshoot)]


def bought(costs: NDArray[np.float64], budget: float, overshoot: bool) -> int:
    """How many units, bought one after the other, the budget is for."""
    if overshoot:
        before = np.concatenate([[0.0], np.cumsum(costs)[:-1]]) if len(costs) else costs
        return int(np.searchsorted(before, budget, side="left"))
    return int(np.searchsorted(np.cumsum(costs), budget, side="right"))
