"""The most valuable set of units that a budget buys: the 0-1 knapsack problem, solved exactly."""

import numpy as np
from numpy.typing import NDArray

from rayal.errors import DataError, UsageError

MOST_BYTES = 2**31
"""Of the table below; filling one of this size takes about a minute."""


def most_valuable(
    values: NDArray[np.float64], costs: NDArray[np.float64], budget: float
) -> NDArray[np.intp]:
    """Positions, ascending, of the set with the largest sum of `values`, N, at least 0, among those
    whose `costs`, N, whole numbers, sum up to `budget` at most.

    Of sets of equal value the one with the first position in which they differ; so nothing is left
    that could still be bought. Sums are of float64: values that differ by less than that are equal.

    Dynamic programming over units and whole budgets: a bit for each pair, N' (B + 1) / 8 bytes, and
    as many steps, of the N' units that can be in the set: of those that cost c the best B / c. So
    N' is at most B ln B, whatever N is. Raises DataError for costs that are not whole or below 0,
    UsageError where the table takes more than `MOST_BYTES`.
    """
    _check_whole(costs)
    if budget < 0 or not len(values):
        return np.empty(0, dtype=np.intp)
    most = int(min(budget, costs.sum()))
    units = _worth_it(values, costs.astype(np.int64), most)
    prices = costs[units].astype(np.int64)
    if prices.sum() <= most:
        return units
    if len(units) * (most + 1) > 8 * MOST_BYTES:
        raise UsageError(
            f"the best of {len(units)} units for {most} is too long a search; set candidates, or a"
            " smaller budget.per_cycle"
        )
    return units[_solved(values[units], prices, most)]


def _solved(values: NDArray[np.float64], costs: NDArray[np.int64], budget: int) -> NDArray[np.intp]:
    """Positions, ascending. From the last unit to the first: the best value that it and those after
    it have for every budget, and whether it is bought for that."""
    best = np.zeros(budget + 1)
    bought = []
    for value, cost in zip(values[::-1], costs[::-1].tolist(), strict=True):
        with_it = best[: budget + 1 - cost] + value
        better = with_it >= best[cost:]
        bought.append(np.packbits(better))
        np.copyto(best[cost:], with_it, where=better)
    taken, left = list[int](), budget
    for unit, cost in enumerate(costs.tolist()):
        place = left - cost
        if place >= 0 and bought[-1 - unit][place // 8] >> (7 - place % 8) & 1:
            taken.append(unit)
            left = place
    return np.array(taken, dtype=np.intp)


def _worth_it(
    values: NDArray[np.float64], costs: NDArray[np.int64], budget: int
) -> NDArray[np.intp]:
    """Positions, ascending, of the units that may be bought: of equal cost, as many as the budget
    buys of these alone, the most valuable and of equals the first."""
    order = np.lexsort((-values, costs))  # stable
    _, start, sizes = np.unique(costs[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(start, sizes)
    return np.sort(order[(rank + 1) * costs[order] <= budget])


def _check_whole(costs: NDArray[np.float64]) -> None:
    if (wrong := np.flatnonzero((costs != np.floor(costs)) | (costs < 0))).size:
        raise DataError(f"cost {costs[wrong[0]]:g} is not a whole number; costs are clicks here")
