"""Selection one unit at a time, where each pick changes what is worth picking next."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rayal.selection import Scored, ranking


def tie_order(pool: Scored, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions in `pool` by a seeded key of the id: in this order equals are preferred, whatever
    the order of the pool."""
    return ranking(pool.ids, np.zeros(len(pool.ids)), rng)


def buy(picks: Iterator[int], costs: NDArray[np.float64], budget: float) -> NDArray[np.intp]:
    """As `spend`: the picks before the first that the budget does not buy. No later one is asked
    for."""
    bought, spent = [], 0.0
    for pick in picks:
        spent += costs[pick]
        if spent > budget:
            break
        bought.append(pick)
    return np.array(bought, dtype=np.intp)
