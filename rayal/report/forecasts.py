"""What the runs of an arm say of labels that are not bought yet: numbers, or why there are none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any, NamedTuple

from rayal.errors import counted
from rayal.forecasting.learning_curve import ENOUGH, FARTHEST, Estimate, LearningCurve, Reach
from rayal.forecasting.of_points import curve_of, usable
from rayal.labeling.budget import CostUnit, charged
from rayal.parts import find
from rayal.report.groups import group
from rayal.report.runs import Run
from rayal.runs.measured import Measured, measured
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Json


class Asked(NamedTuple):
    """What is to be known."""

    target: float | None = None
    """A value of the metric, in [0, 1]."""
    labels: int | None = None
    """A number of labels; None: what the budget has, or some beyond those measured."""
    price: float | None = None
    """Of a label, a click or an hour of annotation."""


class Basis(NamedTuple):
    """What an arm was measured on."""

    points: tuple[Measured, ...]
    """By cycle, the means of all seeds that have as many as are needed."""
    seeds: tuple[int, ...]
    random: bool
    """Whether it was measured on labels drawn at random, and not on test images."""
    why: str | None
    """Why nothing can be known of it."""


@dataclass(frozen=True)
class Outlook:
    """What is expected of one arm."""

    name: str
    arm: str
    metric: str
    basis: Basis
    unit: CostUnit
    batch: float
    """What the next cycle would spend."""
    total: float
    """What the budget has in all."""
    asked: Asked

    @property
    def counted(self) -> str:
        """What is counted: `labels`, or the budget's unit."""
        return "labels" if self.unit == "samples" else self.unit

    @cached_property
    def curve(self) -> LearningCurve | None:
        """None where nothing can be said: see `why`."""
        shares = all(0 <= point.value <= 1 for point in self.basis.points)
        return curve_of(self.basis.points) if self.basis.why is None and shares else None

    @cached_property
    def why(self) -> str | None:
        """Why nothing can be said; None where something can."""
        if self.curve is not None or self.basis.why is not None:
            return self.basis.why
        if not all(0 <= point.value <= 1 for point in self.basis.points):
            return f"{self.metric} is not in [0, 1], as the curves are that are fitted"
        there = counted(len(usable(self.basis.points)), "point is", "points are")
        return f"{there} too few to say anything; {ENOUGH} are needed"

    @property
    def last(self) -> float:
        """The most that was measured."""
        return self.basis.points[-1].at

    @property
    def at(self) -> list[float]:
        """Label counts to look at: what is asked; else after the next purchase, with the whole
        budget, and with twice as many as were measured."""
        if self.asked.labels is not None:
            return [float(self.asked.labels)]
        some = {self.last + self.batch, 2 * self.last, self.total}
        return sorted(each for each in some if self.last < each <= FARTHEST * self.last)

    def supported(self, labels: float) -> bool:
        """Whether anything is said of so many labels."""
        curve = self.curve
        return curve is not None and curve.first <= labels <= curve.farthest

    @cached_property
    def expected(self) -> dict[float, Estimate | None]:
        """What will be measured with so many labels; None where nothing is said of them."""
        curve = self.curve
        if curve is None:
            return {}
        return {n: curve.measured(n) if self.supported(n) else None for n in self.at}

    @cached_property
    def reach(self) -> Reach | None:
        """With how many labels the target is reached; None where there is none."""
        curve, target = self.curve, self.asked.target
        return None if curve is None or target is None else curve.reach(target)

    @cached_property
    def gain(self) -> Estimate | None:
        """What the next purchase brings, in the metric; None where it is too large to be said."""
        curve = self.curve
        if curve is None or not self.supported(curve.last + self.batch):
            return None
        return curve.gain(self.batch)

    def cost(self, labels: float | None) -> float | None:
        """Of the labels up to so many that are not bought yet; None without a price."""
        if labels is None or self.asked.price is None:
            return None
        return self.asked.price * charged(max(0.0, labels - self.last), self.unit)

    @property
    def per_point(self) -> float | None:
        """What a percentage point costs in the next purchase; None where none is expected."""
        cost, gain = self.cost(self.last + self.batch), self.gain
        if cost is None or gain is None or gain.value <= 0:
            return None
        return cost / (100 * gain.value)

    def to_dict(self) -> Json:
        """All numbers: fractions where the metric is one."""
        told: Json = {
            "name": self.name,
            "arm": self.arm,
            "metric": self.metric,
            "counted": self.counted,
            "seeds": list(self.basis.seeds),
            "measured_on": "labels drawn at random" if self.basis.random else "test images",
            "points": [point._asdict() for point in self.basis.points],
            "why_not": self.why,
        }
        if self.curve is None:
            return told
        return {
            **told,
            "farthest": self.curve.farthest,
            "expected": [*self._expected()],
            "reach": self._reach(),
            "next": {
                "labels": self.batch,
                "cost": self.cost(self.last + self.batch),
                "gain": None if self.gain is None else self.gain._asdict(),
                "per_point": self.per_point,
            },
        }

    def _expected(self) -> Iterator[Json]:
        for labels, estimate in self.expected.items():
            known = {"value": None, "low": None, "high": None}
            known = known if estimate is None else estimate._asdict()
            times, cost = labels / self.last, self.cost(labels)
            yield {"labels": labels, "times_measured": times, "cost": cost, **known}

    def _reach(self) -> Json | None:
        if self.reach is None:
            return None
        return {
            "target": self.asked.target,
            **self.reach._asdict(),
            "cost": self.cost(self.reach.value),
            "cost_low": self.cost(self.reach.low),
            "cost_high": self.cost(self.reach.high),
        }


def outlooks(records: Iterable[Record], asked: Asked) -> list[Outlook]:
    """One for each arm. Raises UsageError for two runs of one arm and seed."""
    by_url = {record.folder.url: record for record in records}
    found = []
    for each in group(Run.read(record) for record in by_url.values()):
        for arm in each.arms:
            of_arm = [by_url[run.url] for run in arm.runs]
            budget = of_arm[0].budget()
            amounts = [budget] if not budget.is_open else []
            found.append(
                Outlook(
                    name=each.question,
                    arm=arm.label,
                    metric=each.metric,
                    basis=_basis(of_arm),
                    unit=budget.unit,
                    batch=amounts[0].amounts.per_cycle if amounts else _typical(of_arm[0]),
                    total=amounts[0].amounts.total if amounts else 0.0,
                    asked=asked,
                )
            )
    return found


def _basis(records: Sequence[Record]) -> Basis:
    """What the seeds of an arm were measured on, together."""
    first = records[0]
    seeds = tuple(record.experiment()["seed"] for record in records)
    x = first.experiment()
    strategy: Any = find("strategies", x["strategy"]["name"], first.plugins)
    guards = x.get("guards", {})
    limits = guards.get("min_distance") is not None or guards.get("per_class") is not None
    random = not first.tested
    if random and not first.explores and (limits or not strategy.draws_at_random):
        return Basis((), seeds, False, _biased(x["strategy"]["name"]))
    each = [_points(record) for record in records]
    enough = [points for points in each if len(points) >= ENOUGH] or each
    kept = tuple(s for s, points in zip(seeds, each, strict=True) if points in enough)
    return Basis(tuple(_means(enough)), kept, random, None)


def _biased(strategy: str) -> str:
    return (
        f"there is no test set, and {strategy!r} chose the labels that its models were measured on:"
        " of a sample that a strategy picks nothing can be known; give the dataset test images, or"
        " start a run with explore: 0.1, or strategy random, beside it"
    )


def _points(record: Record) -> list[Measured]:
    found = (record.result(cycle, Evaluated) for cycle in range(record.begun()))
    evaluated = [each for each in found if each is not None]
    return measured(evaluated, record.headline, record.tested, record.budget().unit)


def _means(seeds: Sequence[Sequence[Measured]]) -> Iterator[Measured]:
    """Of the cycles that all have."""
    for points in zip(*seeds, strict=False):
        images = [point.images for point in points if point.images is not None]
        yield Measured(
            mean(point.at for point in points),
            mean(point.value for point in points),
            sum(images) if len(images) == len(points) else None,
        )


def _typical(record: Record) -> float:
    """What the last purchase of a run whose budget is open was."""
    spent = [row["labels"] for row in record.cycles()]
    return float(spent[-1] - spent[-2]) if len(spent) > 1 else 0.0
