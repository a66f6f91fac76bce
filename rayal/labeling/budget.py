"""How many labels are bought, and when."""

import logging
from collections.abc import Iterator
from typing import Literal

from pydantic import PositiveInt

from rayal.data.card import Card
from rayal.errors import LockedError, UsageError
from rayal.parts import Contradiction, Settings

CostUnit = Literal["samples", "clicks"]

logger = logging.getLogger(__name__)


class Budget(Settings):
    """Costs, in samples or in the clicks that an annotator makes."""

    initial: PositiveInt
    """Cost spent on random units before the first training."""
    per_cycle: PositiveInt
    """Cost spent in each cycle; the last one spends what is left."""
    total: PositiveInt
    """Cost at which the run is complete, the initial units included."""
    unit: CostUnit = "samples"
    """What cost is counted in: that of the oracle."""
    balanced: bool = False
    """Draw the initial units with equally many of every class, as far as the pool has them; only
    an oracle that knows the classes beforehand can (`simulated`)."""
    overshoot: bool = False
    """Where units differ in cost: buy the one, too, at which the budget is exceeded; else it, and
    all after it, are left."""

    def contradictions(self, candidates: int | None) -> Iterator[Contradiction]:
        """What cannot work with so many candidates in each cycle; None: the whole pool."""
        if self.initial > self.total:
            yield Contradiction(
                ("budget", "initial"),
                f"{self.initial} is more than budget.total, {self.total}; lower it, or raise that",
            )
        if self.unit == "samples" and candidates is not None and candidates < self.per_cycle:
            yield Contradiction(
                ("candidates",),
                f"{candidates} cannot fill budget.per_cycle, {self.per_cycle}; raise it, or lower"
                " that",
            )

    def check(self, card: Card) -> None:
        """Raises UsageError where the pool has less than `total` to buy."""
        if self.unit == "samples" and self.total > card.pool:
            raise UsageError(
                f"budget.total: {self.total} is more than the {card.pool} images of the pool; lower"
                " it"
            )

    def check_growth(self, before: int) -> None:
        """Looks at a run that began with a smaller total and is to go on with this one.

        What the last cycle bought was cut by the smaller total, unless that was due anyway. Raises
        LockedError where costs differ, as it would then be shown at another cost than it had.
        """
        if before == self.initial or (before - self.initial) % self.per_cycle == 0:
            return
        cut = f"its last purchase was cut by budget.total {before}"
        if self.unit != "samples":
            fits = before - (before - self.initial) % self.per_cycle
            raise LockedError(
                f"{cut}, so that it cannot go on to {self.total}: with clicks that works from"
                f" totals such as {fits}, at whole cycles of budget.per_cycle; use another --out"
            )
        logger.warning(
            "%s: it is smaller than one of a run that has %d from the beginning", *(cut, self.total)
        )

    def due(self, cycle: int) -> int:
        """What may be spent in all by the end of this cycle's purchase."""
        return min(self.total, self.initial + (cycle + 1) * self.per_cycle)

    def left(self, cycle: int, spent: float) -> float:
        """What may be spent in this cycle, after `spent` in those before.

        Where units differ in cost, what those could not spend is left for it.
        """
        if self.unit == "samples":
            return min(self.per_cycle, self.total - spent)
        return max(0.0, self.due(cycle) - spent)

    def is_last(self, cycle: int) -> bool:
        """Whether a cycle in which nothing could be bought ends the run; else the next one, with
        what this one has left, may buy again."""
        return self.unit == "samples" or self.due(cycle) == self.total

    def is_spent(self, cycle: int, spent: float) -> bool:
        """Whether this cycle buys nothing more, after `spent` in those before.

        Where units differ in cost a rest may remain: the last purchase is that of the last cycle.
        """
        if self.unit != "samples" and self.due(cycle - 1) == self.total:
            return True
        return spent >= self.total
