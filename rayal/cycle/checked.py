"""What strategies with a `select` of their own choose, checked: a user's own strategy may be wrong,
and must not be able to spend the budget on nonsense."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rayal.blame import located
from rayal.errors import DataError, RayalError, counted, quoted
from rayal.labeling.regions import parse_unit
from rayal.selection.candidates import Candidates
from rayal.storage.ids import Ids, Places
from rayal.strategies.base import Select, Strategy


def seen_by(strategy: Strategy, pool: Candidates) -> Candidates:
    """What it asked for and no more: an observer must not change what another strategy sees."""
    asked, scans = strategy.kept(), strategy.scans_labeled
    return replace(
        pool,
        kept={signal: rows for signal, rows in pool.kept.items() if signal in asked},
        labeled_ids=pool.labeled_ids if scans else pool.labeled_ids[:0],
        labeled={s: rows for s, rows in pool.labeled.items() if scans and s in asked},
        votes=pool.votes if strategy.relabels else {},
    )


def chosen(
    strategy: Strategy,
    select: Select,
    name: str,
    pool: Candidates,
    budget: float,
    rng: np.random.Generator,
) -> tuple[list[str], float]:
    """The units that a strategy selects, and what they cost. Raises DataError for what is not on
    offer, or not within the budget."""
    with _blamed(name):
        units = list(select(pool, budget, rng))
    if wrong := [unit for unit in units if not isinstance(unit, str)]:
        raise DataError(
            f"strategy {name!r} selected {quoted(wrong[0])}: select returns units, of images their"
            " ids: pool.ids[positions]"
        )
    if len(set(units)) < len(units):
        raise DataError(f"strategy {name!r} selected a unit twice")
    _check_on_offer(strategy, name, pool, units)
    costs = pool.price(Ids(units))
    _check_spent(name, costs, budget, pool.overshoot)
    _check_enough(strategy, name, pool, costs, budget)
    return units, float(costs.sum())


def _check_on_offer(strategy: Strategy, name: str, pool: Candidates, units: Sequence[str]) -> None:
    named = Places(Ids({each for unit in units for each in (unit, unit.rpartition("/")[0])}))
    images = set(pool.ids[named.has(pool.ids)])  # of all of them, these may be meant
    places = [parse_unit(unit, images) for unit in units]
    meant = dict.fromkeys(place.image for place in places if place is not None)
    offered = set(strategy.units(meant, pool.regions))
    if wrong := [unit for unit in units if unit not in offered]:
        raise DataError(f"strategy {name!r} selected {quoted(wrong[0])}, which is not on offer")


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


def _check_enough(
    strategy: Strategy, name: str, pool: Candidates, costs: NDArray[np.float64], budget: float
) -> None:
    """Raises DataError where fewer were bought than the budget is for, were all units as dear as
    the dearest, or none by a strategy that may buy fewer: nothing selected would pass for the end
    of the pool."""
    if len(costs) >= budget // costs.max(initial=1.0):
        return  # the others need not be priced
    offered = Ids(strategy.units(pool.ids, pool.regions))
    least = min(len(offered), int(budget // pool.price(offered).max(initial=1.0)))
    least = min(least, 1) if strategy.buys_fewer() else least
    if len(costs) < least:
        raise DataError(
            f"strategy {name!r} selected {counted(len(costs), 'unit')}, the budget buys"
            f" {least} or more"
        )


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    try:
        yield
    except RayalError:
        raise
    except Exception as error:
        raise DataError(f"strategy {name!r} raised {located(error, 'select')}") from error
