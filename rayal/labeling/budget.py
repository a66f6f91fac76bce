"""How many labels are bought, and when."""

import logging
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, NonNegativeInt, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticKnownError

from rayal.errors import OUT, LockedError, UsageError
from rayal.parts import Contradiction
from rayal.settings import Settings
from rayal.storage.folder import Json

CostUnit = Literal["samples", "clicks", "seconds", "votes"]

LACKING = object()
"""In place of an amount that is missing where another is given."""
REQUIRED = (
    "budget: is required; set budget.initial, budget.per_cycle and budget.total, or ask for so many"
    " units at a time with rayal.ActiveLearner"
)
"""What is wrong with an open budget where nobody asks."""

logger = logging.getLogger(__name__)

HOUR = 3600


def charged(amount: float, unit: CostUnit) -> float:
    """What is paid by its price of an amount: labels, clicks or votes; of seconds the hours."""
    return amount / HOUR if unit == "seconds" else amount


class Amounts(NamedTuple):
    """How much a run spends, and when."""

    initial: int
    per_cycle: int
    total: int


def _whole(schema: Json) -> None:
    """Says in a JSON Schema that the three amounts are given together or not at all."""
    given = {name: {"type": "integer"} for name in Amounts._fields}
    open_ = {name: {"type": "null"} for name in Amounts._fields}
    whole = {"required": [*given], "properties": given}
    schema["anyOf"] = [whole, {"properties": open_}]


class Budget(Settings):
    """Costs, in samples, in the clicks that an annotator makes, the seconds that one works, or in
    single votes of annotators.

    Without its three amounts it is open: `ActiveLearner` is asked for so many units at a time.
    """

    model_config = ConfigDict(json_schema_extra=_whole)

    initial: NonNegativeInt | None = None
    """Cost spent on units before the first training, see `first`; 0 where the first labels exist
    already, see `labeled`; null in an open budget."""
    per_cycle: PositiveInt | None = None
    """Cost spent in each cycle, the last one spends what is left; null in an open budget."""
    total: PositiveInt | None = None
    """Cost at which the run is complete, initial units included; null in an open budget."""
    unit: CostUnit = "samples"
    """What cost is counted in: that of the oracle."""
    balanced: bool = False
    """Draw the initial units with equally many of every class, as far as the pool has them; only
    an oracle that knows the classes beforehand can (`simulated`)."""
    overshoot: bool = False
    """Where units differ in cost: buy the one, too, at which the budget is exceeded; else it, and
    all after it, are left."""

    @model_validator(mode="before")
    @classmethod
    def _all_or_none(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: data.get(name) for name in Amounts._fields}
        if all(amount is None for amount in given.values()):
            return data
        lacking = {name: LACKING for name, amount in given.items() if amount is None}
        return {**data, **lacking}

    @field_validator(*Amounts._fields, mode="before")
    @classmethod
    def _not_lacking(cls, value: Any) -> Any:
        if value is LACKING:
            raise PydanticKnownError("missing")
        return value

    @property
    def is_open(self) -> bool:
        """Whether it says no amounts."""
        return self.total is None

    @property
    def amounts(self) -> Amounts:
        """The three amounts; raises UsageError where it is open."""
        if self.initial is None or self.per_cycle is None or self.total is None:
            raise UsageError(REQUIRED)
        return Amounts(self.initial, self.per_cycle, self.total)

    def contradictions(self, candidates: int | None) -> Iterator[Contradiction]:
        """What cannot work with so many candidates in each cycle; None: the whole pool."""
        if self.is_open:
            return
        initial, per_cycle, total = self.amounts
        if initial > total:
            yield Contradiction(
                ("budget", "initial"),
                f"{initial} is more than budget.total, {total}; lower it, or raise that",
            )
        if self.unit == "samples" and candidates is not None and candidates < per_cycle:
            yield Contradiction(
                ("candidates",),
                f"{candidates} cannot fill budget.per_cycle, {per_cycle}; raise it, or lower that",
            )

    def check(self, images: int, *, again: bool = False, which: str = "") -> None:
        """Raises UsageError where the pool has less `images` to buy than the budget is for; those
        that are bought `again` are only the first ones once. `which` of the pool's they are."""
        if self.unit != "samples":
            return
        name, amount = ("initial", self.initial) if again else ("total", self.total)
        if amount is not None and amount > images:
            raise UsageError(
                f"budget.{name}: {amount} is more than the {images} images of the pool{which};"
                " lower it"
            )

    def check_growth(self, before: int) -> None:
        """Looks at a run that began with a smaller total and is to go on with this one.

        What the last cycle bought was cut by the smaller total, unless that was due anyway. Raises
        LockedError where costs differ, as it would then be shown at another cost than it had.
        """
        initial, per_cycle, total = self.amounts
        if before == initial or (before - initial) % per_cycle == 0:
            return
        cut = f"its last purchase was cut by budget.total {before}"
        if self.unit != "samples":
            fits = before - (before - initial) % per_cycle
            raise LockedError(
                f"{cut}, so that it cannot go on to {total}: with {self.unit} that works from"
                f" totals such as {fits}, at whole cycles of budget.per_cycle; use another {OUT}"
            )
        logger.warning(
            "%s: it is smaller than one of a run that has %d from the beginning", *(cut, total)
        )

    def due(self, cycle: int) -> int:
        """What may be spent in all by the end of this cycle's purchase."""
        initial, per_cycle, total = self.amounts
        return min(total, initial + (cycle + 1) * per_cycle)

    def left(self, cycle: int, spent: float) -> float:
        """What may be spent in this cycle, after `spent` in those before.

        Where units differ in cost, what those could not spend is left for it.
        """
        if self.unit == "samples":
            return min(self.amounts.per_cycle, self.amounts.total - spent)
        return max(0.0, self.due(cycle) - spent)

    def is_last(self, cycle: int) -> bool:
        """Whether a cycle in which nothing could be bought ends the run; else the next one, with
        what this one has left, may buy again."""
        return self.unit == "samples" or self.due(cycle) == self.total

    def is_spent(self, cycle: int, spent: float) -> bool:
        """Whether this cycle buys nothing more, after `spent` in those before.

        Where units differ in cost a rest may remain: the last purchase is that of the last cycle.
        """
        if self.total is None:
            return False
        if self.unit != "samples" and self.due(cycle - 1) == self.total:
            return True
        return spent >= self.total
