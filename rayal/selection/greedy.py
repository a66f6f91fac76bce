"""Selection one unit at a time, where each pick changes what is worth picking next."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rayal.selection.candidates import Candidates, ranking


def tie_order(pool: Candidates, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions in `pool` by a seeded key of the id: in this order equals are preferred, whatever
    the order of the pool."""
    return ranking(pool.ids, np.zeros(len(pool.ids)), rng)


def buy(pool: Candidates, picks: Iterator[int], budget: float) -> NDArray[np.intp]:
    """As `spend`, one pick after the other: none is asked for that is not bought, but for the one
    that the budget does not buy."""
    bought, spent = list[int](), 0.0
    for pick in picks:
        if spent >= budget if pool.overshoot else spent + pool.costs[pick] > budget:
            break
        bought.append(pick)
        spent += pool.costs[pick]
    return np.array(bought, dtype=np.intp)
