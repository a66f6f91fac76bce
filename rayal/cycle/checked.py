"""What strategies with a `select` of their own choose, checked: a user's own strategy may be wrong,
and must not be able to spend the budget on nonsense."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rayal.cycle.offer import Market
from rayal.errors import DataError, RayalError
from rayal.labeling.regions import place_of
from rayal.selection.scored import Scored
from rayal.strategies._regions import RegionStrategy
from rayal.strategies.base import Select, Strategy


def seen_by(strategy: Strategy, pool: Scored) -> Scored:
    """What it asked for and no more: an observer must not change what another strategy sees."""
    asked, scans = strategy.kept(), strategy.scans_labeled
    return replace(
        pool,
        kept={signal: rows for signal, rows in pool.kept.items() if signal in asked},
        labeled_ids=pool.labeled_ids if scans else pool.labeled_ids[:0],
        labeled={s: rows for s, rows in pool.labeled.items() if scans and s in asked},
    )


def positions(
    select: Select, name: str, pool: Scored, budget: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """The positions in `pool` that a strategy selects. Raises DataError for what is no choice, or
    not within the budget."""
    with _blamed(name):
        picks = np.asarray(select(pool, budget, rng))
    if picks.ndim != 1 or not np.issubdtype(picks.dtype, np.integer):
        raise DataError(
            f"strategy {name!r} selected {picks.dtype} of shape {picks.shape}: "
            "select returns one position per unit"
        )
    if len(picks) and (picks.min() < 0 or picks.max() >= len(pool.ids)):
        raise DataError(f"strategy {name!r} selected a position outside 0..{len(pool.ids) - 1}")
    if len(np.unique(picks)) < len(picks):
        raise DataError(f"strategy {name!r} selected a unit twice")
    _check_spent(name, pool.costs[picks], budget, pool.overshoot)
    least = min(len(pool.ids), int(budget // pool.costs.max(initial=1.0)))
    if len(picks) < least:  # nothing selected would pass for the end of the pool
        raise DataError(
            f"strategy {name!r} selected {len(picks)} units, the budget buys {least} or more"
        )
    return picks


def regions(
    strategy: RegionStrategy,
    name: str,
    pool: Scored,
    market: Market,
    budget: float,
    rng: np.random.Generator,
) -> tuple[list[str], float]:
    """The regions that a strategy selects, as units, and what they cost; raises as `positions`."""
    with _blamed(name):
        units = list(strategy.select_regions(pool, budget, rng))
    if wrong := [unit for unit in units if not isinstance(unit, str)]:
        raise DataError(
            f"strategy {name!r} selected {wrong[0]!r:.80}: select_regions returns units such as"
            " 'street/0'"
        )
    if len(set(units)) < len(units):
        raise DataError(f"strategy {name!r} selected a region twice")
    offered, costs = set(pool.ids), list[float]()
    for unit in units:
        place = place_of(unit, offered)
        left = {} if place is None else market.regions(place.image)
        if place is None or place.number not in left:
            raise DataError(f"strategy {name!r} selected {unit!r}, which is no region on offer")
        costs.append(left[place.number].clicks)
    _check_spent(name, np.array(costs), budget, pool.overshoot)
    return units, float(sum(costs))


def _check_spent(name: str, costs: NDArray[np.float64], budget: float, overshoot: bool) -> None:
    """Raises DataError where more was bought than the budget is for: with `overshoot`, anything
    with a price once it was spent."""
    spent = np.cumsum(costs)  # summed as `bought` does
    if overshoot:
        paid = np.flatnonzero(costs)
        over = len(paid) > 0 and spent[paid[-1]] - costs[paid[-1]] >= budget
    else:
        over = len(spent) > 0 and spent[-1] > budget
    if over:
        raise DataError(f"strategy {name!r} spent {spent[-1]:g} of {budget:g}")


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    try:
        yield
    except RayalError:
        raise
    except Exception as error:
        raise DataError(
            f"strategy {name!r} raised {type(error).__name__} in select: {error}"
        ) from error
