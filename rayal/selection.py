"""From scores to a choice: exact and deterministic, whatever the order the scores came in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rayal.randomness import derive, unit_keys
from rayal.storage import FileLocation


@dataclass(frozen=True)
class Scored:
    """The candidates of one cycle that could be scored, M of them, sorted by id."""

    ids: NDArray[np.object_]  # M
    scores: NDArray[np.float64] | None  # M, higher = label sooner; None for strategies without
    costs: NDArray[np.float64]  # M, in the budget's unit
    kept: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """By signal name, M x width, float16: what the strategy's `kept` names."""
    labeled_ids: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, object))
    """L, the labeled units, sorted; empty unless the strategy `scans_labeled`."""
    labeled: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    """As `kept`, L x width, of the labeled units."""
    trained: Mapping[str, FileLocation] = field(default_factory=dict)
    """What the scored model was trained to: its `weights`, and each companion by name."""


def take_highest(pool: Scored, budget: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of the highest scores that the budget buys, best first.

    Equal scores are ordered by a seeded key of the unit's id, so a constant score is a random
    choice and no choice depends on how the pool was divided.
    """
    assert pool.scores is not None, "a strategy without scores must have its own select"
    return spend(ranking(pool.ids, pool.scores, rng), pool.costs, budget)


def ranking(
    ids: NDArray[np.object_], scores: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Positions by descending score; equal scores by a seeded 64-bit key of the id."""
    keys = unit_keys(ids, derive(rng.bytes(16).hex()))
    return np.lexsort((keys, -scores))


def spend(order: NDArray[np.intp], costs: NDArray[np.float64], budget: float) -> NDArray[np.intp]:
    """The longest prefix of `order` whose costs stay within the budget."""
    total = np.cumsum(costs[order])
    return order[: int(np.searchsorted(total, budget, side="right"))]
