"""Runs grouped for comparison: a group is one question, an arm of it one answer.

A group holds all runs of one (name, dataset); an arm those of one strategy, scheme and settings,
which differ by seed only. Nothing is interpolated: only label counts that the compared runs share
are compared.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from rayal.data.tasks.base import is_tested
from rayal.errors import UsageError
from rayal.report import metric
from rayal.report.arms import Arm, arms_of
from rayal.report.reach import Reach, mean_curve, reach
from rayal.report.runs import Run, question
from rayal.report.statistics import Interval, PairedTest, aulc, holm, interval, paired_test

if TYPE_CHECKING:
    from rayal.report.references import Reference

BASELINE = "random"
ALL_PAIRS = 6
"""Arms of which every two are compared."""


class Pair(NamedTuple):
    """AULC of two arms over the seeds that both completed."""

    first: str
    second: str
    test: PairedTest
    holm: float | None
    """The p-value adjusted for all pairs of the group."""

    @property
    def separated(self) -> bool:
        """At an error rate of 5 % for all pairs together."""
        return self.holm is not None and self.holm < 0.05

    @property
    def verdict(self) -> str:
        """Which arm is higher, where they are separated."""
        if self.holm is None:
            return "needs 2 seeds"
        if self.test.difference.mean == self.test.difference.half == 0:
            return "tie"
        if not self.separated:
            return "not separated"
        return f"{self.first if self.test.difference.mean > 0 else self.second} higher"


@dataclass(frozen=True)
class Group:
    """All runs of one experiment name and dataset that spend the same."""

    name: str
    dataset: str
    metric: str
    arms: tuple[Arm, ...]
    counted: str = "labels"
    """What is spent: `labels` or `clicks`."""
    references: "tuple[Reference, ...]" = ()
    """Heights beside its curves, see `references.py`."""
    target: float | None = None
    """The height that labels are counted up to; None: for each arm where its baseline ends."""

    @property
    def question(self) -> str:
        """What it is about."""
        return question(self.name, self.dataset)

    @property
    def tested(self) -> bool:
        """Whether test images measure its runs, so that they can be compared."""
        return is_tested(self.metric)

    @cached_property
    def labels(self) -> list[int]:
        """Every label count of some arm."""
        return sorted({at for arm in self.arms for at in arm.labels})

    @cached_property
    def shared(self) -> list[int]:
        """Where all complete runs have a value: what areas are taken over."""
        complete = [run.measured for arm in self.arms for run in arm.complete]
        return sorted(set.intersection(*complete)) if complete else []

    def areas(self, arm: Arm) -> dict[int, float]:
        """AULC of the arm's complete runs by seed; empty where they share fewer than two points,
        and without test images: each strategy chose what its runs are measured on."""
        if len(self.shared) < 2 or not self.tested:
            return {}
        return {
            run.seed: aulc(self.shared, [run.points[at] for at in self.shared])
            for run in arm.complete
        }

    def area(self, arm: Arm) -> Interval | None:
        """Mean and interval of its `areas`; None where there are none."""
        areas = self.areas(arm)
        return interval(list(areas.values())) if areas else None

    @cached_property
    def unpaired(self) -> list[tuple[str, str, list[int]]]:
        """Pairs of arms, and the seeds with which they began with different units."""
        found = []
        for first, second in combinations(self.arms, 2):
            seeds = sorted(first.initial.keys() & second.initial.keys())
            if apart := [seed for seed in seeds if first.initial[seed] != second.initial[seed]]:
                found.append((first.label, second.label, apart))
        return found

    @property
    def compares_all(self) -> bool:
        """Whether `pairs` has every two arms."""
        return len(self.arms) <= ALL_PAIRS or all(arm.strategy != BASELINE for arm in self.arms)

    def baselines(self, arm: Arm) -> list[Arm]:
        """Baselines for an arm: with its scheme and settings; without such, with its scheme."""
        same = [b for b in self.arms if b.strategy == BASELINE and b.scheme == arm.scheme]
        return [each for each in same if each.around == arm.around] or same

    def baseline(self, arm: Arm) -> Arm | None:
        """The one baseline for an arm; None where there is none, or nothing decides which."""
        found = self.baselines(arm)
        return found[0] if len(found) == 1 else None

    def curves(self, arm: Arm) -> dict[int, dict[int, float]]:
        """What the arm's complete runs measured, by seed and label count."""
        return {run.seed: {at: run.points[at] for at in run.measured} for run in arm.complete}

    def height(self, arm: Arm) -> float | None:
        """What labels of an arm are counted up to: the target, or its baseline's mean at the end of
        the complete runs; None where there is neither."""
        baseline = self.baseline(arm)
        if self.target is not None or baseline is None or not self.tested:
            return self.target if self.tested else None
        means = mean_curve([*self.curves(baseline).values()])
        return means[max(means)] if means else None

    def reach(self, arm: Arm, height: float) -> Reach:
        """How many labels the complete runs of an arm need to be at a height."""
        return reach(self.curves(arm), height)

    def pair(self, first: Arm, second: Arm) -> Pair | None:
        """The test of these two, whichever comes first."""
        names = {first.label, second.label}
        return next((pair for pair in self.pairs if {pair.first, pair.second} == names), None)

    def _with_baseline(self, first: Arm, second: Arm) -> bool:
        """Whether one is a baseline for the other, or both are baselines."""
        if first.strategy == second.strategy == BASELINE:
            return True
        return first in self.baselines(second) or second in self.baselines(first)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Pairs of arms with a common seed, tested and adjusted together: all of them, or, of more
        than ALL_PAIRS arms, those with the baseline: a correction for hundreds hides everything.

        Runs of one seed are a pair only if they began with the same units.
        """
        tests = []
        for first, second in combinations(self.arms, 2):
            if not (self.compares_all or self._with_baseline(first, second)):
                continue
            a, b = self.areas(first), self.areas(second)
            if a and b and (seeds := first.paired(second)):
                test = paired_test([a[seed] for seed in seeds], [b[seed] for seed in seeds])
                tests.append((first.label, second.label, test))
        adjusted = iter(holm([test.p for _, _, test in tests if test.p is not None]))
        return [Pair(*pair, None if pair[2].p is None else next(adjusted)) for pair in tests]


def group(runs: Iterable[Run]) -> tuple[Group, ...]:
    """Groups by name, dataset, what is spent and measured; in them arms by strategy, scheme and
    settings.

    Raises UsageError for two runs of one seed that are the same experiment.
    """
    questions: dict[tuple[str, str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        questions[run.name, run.dataset, run.counted, run.metric].append(run)
    return tuple(
        Group(name, dataset, metric, tuple(arms_of(members)), counted)
        for (name, dataset, counted, metric), members in sorted(questions.items())
    )


def aimed(groups: Iterable[Group], target: float | None) -> tuple[Group, ...]:
    """The groups with the height that labels are counted up to. Raises UsageError for one that a
    rate cannot have: such are fractions, as in files."""
    groups = tuple(groups)
    if target is None:
        return groups
    for each in groups:
        low, high = (limit / metric.scale(each.metric) for limit in metric.limits(each.metric))
        if not low <= target <= high:
            raise UsageError(
                f"target {target:g} is no {each.metric} of {each.question}; give a fraction such as"
                " 0.95"
            )
    return tuple(replace(each, target=target) for each in groups)
