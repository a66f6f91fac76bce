"""When a run ends before its budget is spent."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import Field, PositiveFloat, PositiveInt

from rayal.errors import counted
from rayal.labeling.budget import CostUnit, charged
from rayal.runs.measured import Measured
from rayal.settings import Settings

POINTS = 100
"""Points of a metric in [0, 1]."""


class Plateau(Settings):
    """Nothing is gained any more."""

    points: float = Field(default=0.2, ge=0)
    """What has to be gained, in percentage points of the task's metric."""
    cycles: PositiveInt = 3
    """In how many cycles: the best of these, against the best of all before them."""


class Price(Settings):
    """The next labels cost more than they are worth."""

    per_label: PositiveFloat
    """Of one label, in any currency; of one click where the budget counts these, or of an hour of
    annotation where it counts seconds."""
    per_point: PositiveFloat
    """What one percentage point more of the task's metric is worth, in the same currency."""


class Reason(NamedTuple):
    """Why a run ends."""

    rule: str
    message: str


class Stop(Settings):
    """Rules that end a run after an evaluation, the first that applies; without any it ends with
    its budget.

    They may change at any time, and nothing that is chosen depends on them: a run that one of them
    ended goes on when it is changed or left out.
    """

    target: float | None = Field(default=None, gt=0, le=1)
    """The task's metric, in [0, 1], with which the run ends; null: none is enough."""
    plateau: Plateau | None = None
    """End where nothing was gained for some cycles; null: never."""
    price: Price | None = None
    """End where the next purchase is expected to bring less than it costs; null: never. From the
    fourth evaluated cycle on, see `rayal forecast`."""

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of those that are given."""
        return tuple(key for key in type(self).model_fields if getattr(self, key) is not None)

    def described(self, metric: str) -> Iterator[str]:
        """What each rule waits for."""
        if self.target is not None:
            yield f"target: {metric} {self.target:g}"
        if self.plateau is not None:
            cycles = counted(self.plateau.cycles, "cycle brings", "cycles bring")
            yield f"plateau: {cycles} less than {self.plateau.points:g} points"
        if self.price is not None:
            yield f"price: the next purchase costs more than {self.price.per_point:g} a point"

    def reason(self, points: Sequence[Measured], next_cost: float, unit: CostUnit) -> Reason | None:
        """Why to end after these cycles, where the next one would spend so much; None: go on."""
        if not points:
            return None
        return self._target(points) or self._plateau(points) or self._price(points, next_cost, unit)

    def _target(self, points: Sequence[Measured]) -> Reason | None:
        last = points[-1].value
        if self.target is None or last < self.target:
            return None
        return Reason("target", f"{last:.4f} is {self.target:g} or more")

    def _plateau(self, points: Sequence[Measured]) -> Reason | None:
        rule, values = self.plateau, [point.value for point in points]
        if rule is None or len(values) <= rule.cycles:
            return None
        gained = POINTS * (max(values[-rule.cycles :]) - max(values[: -rule.cycles]))
        if gained >= rule.points:
            return None
        return Reason(
            "plateau",
            f"the best of the last {rule.cycles} cycles is {gained:+.2f} points from the best"
            f" before, less than {rule.points:g}",
        )

    def _price(self, points: Sequence[Measured], next_cost: float, unit: CostUnit) -> Reason | None:
        if (rule := self.price) is None:
            return None
        from rayal.forecasting.of_points import curve_of  # imports scipy, which takes a second

        curve = curve_of(points)
        if curve is None or not 0 < next_cost <= curve.farthest - curve.last:
            return None
        gain = POINTS * curve.gain(next_cost).value
        cost = rule.per_label * charged(next_cost, unit)
        if cost <= rule.per_point * gain:
            return None
        return Reason(
            "price",
            f"the next purchase costs {cost:,.2f} and is expected to bring {gain:.2f} points, worth"
            f" {rule.per_point * max(gain, 0.0):,.2f}",
        )
