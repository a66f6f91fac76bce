"""A random share of each purchase: how much it is, and what it cannot be beside."""

import math
from collections.abc import Iterator

from rayal.labeling.budget import Budget
from rayal.parts import Contradiction
from rayal.strategies.base import Strategy


def share(explore: float, budget: float) -> int:
    """How many of so many units are drawn at random: to the nearest whole number, halves up; at
    least 1, and at least 1 is left to the strategy. Of a single unit none."""
    units = int(budget)
    if not explore or units < 2:
        return 0
    return min(max(1, math.floor(explore * units + 0.5)), units - 1)


def contradictions(
    explore: float, budget: Budget, strategy: Strategy, again: bool
) -> Iterator[Contradiction]:
    """What has no random share whose probability is known; `again`: units that have a label are
    asked for once more."""
    if not explore:
        return
    where = ("explore",)
    if budget.unit != "samples":
        yield Contradiction(
            where,
            f"{explore:g}, but budget.unit is {budget.unit}: units differ in cost, and how many of"
            " a random order a budget buys depends on that; set explore to 0, or use samples",
        )
    elif budget.per_cycle == 1:
        yield Contradiction(
            where,
            f"{explore:g}, but budget.per_cycle is 1, of which there is no share; raise it, or set"
            " explore to 0",
        )
    if strategy.divides_images:
        yield Contradiction(
            where,
            f"{explore:g}, but {strategy.part_name()!r} buys regions, and whole images are drawn;"
            " set explore to 0, or choose a strategy of images",
        )
    elif again:
        yield Contradiction(
            where,
            f"{explore:g}, but {strategy.part_name()!r} asks again for units that have a label,"
            " and of those the model has learned; set explore to 0, or use an oracle that answers"
            " once",
        )
