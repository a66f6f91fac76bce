"""Runs grouped for comparison: a group is one question, an arm of it one answer.

A group holds all runs of one (name, dataset); an arm those of one strategy, scheme and settings,
which differ by seed only. Nothing is interpolated: only label counts that the compared runs share
are compared.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations
from operator import itemgetter
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rayal.errors import UsageError
from rayal.experiment import identity
from rayal.labeling.budget import Budget
from rayal.report import labels as words
from rayal.report.statistics import Interval, PairedTest, aulc, holm, interval, paired_test
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Json
from rayal.storage.yaml_file import leaves

if TYPE_CHECKING:
    from rayal.report.references import Reference

BASELINE = "random"
ALL_PAIRS = 6
"""Arms of which every two are compared."""
DATA = "data"
"""The setting that is the fingerprint of the prepared data."""


def question(name: str, dataset: str) -> str:
    """What all runs of a group are about; a name that is the dataset's is said once."""
    return name if name == dataset else f"{name} on {dataset}"


@dataclass(frozen=True)
class Run:
    """One run folder, reduced to its learning curve."""

    name: str
    dataset: str
    strategy: str
    scheme: str
    seed: int
    metric: str
    """The task's headline metric."""
    points: dict[int, float]
    """Labels spent -> metric, NaN where it is missing or not finite. Where units differ in cost it
    is what could be spent: what was spent differs a little from seed to seed."""
    complete: bool
    url: str
    initial: frozenset[str] = frozenset()
    """The units labeled before the first training."""
    settings: dict[str, Any] = field(default_factory=dict)
    """All that tells arms apart, by keys such as `scheme.lr`; values as JSON has them."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What tells runs apart that are of one arm and seed: strategies that were only observed."""
    place: str | None = None
    """Where the data lies, if the experiment says so."""
    agreement: dict[tuple[str, str], float] = field(default_factory=dict)
    """Two strategies of the pass -> the share of their choices that is the same, mean of cycles."""
    counted: str = "labels"
    """What is spent: `labels` or `clicks`."""

    @cached_property
    def measured(self) -> set[int]:
        """The label counts where there is a value."""
        return {at for at, value in self.points.items() if math.isfinite(value)}

    @classmethod
    def read(cls, record: Record) -> Self:
        """The run in a folder, also while it is still going or after it crashed."""
        record.check_whole()
        x = record.experiment()
        clicks = x.get("budget", {}).get("unit") == "clicks"
        spent = partial(_clicks, record, Budget(**x["budget"])) if clicks else itemgetter("labels")
        points = {spent(row): row.get(record.headline, math.nan) for row in record.cycles()}
        recorded = record.identity()
        return cls(
            name=x["name"],
            dataset=x["dataset"]["name"],
            strategy=x["strategy"]["name"],
            scheme=x["scheme"]["name"],
            seed=x["seed"],
            metric=record.headline,
            points={at: y if math.isfinite(y) else math.nan for at, y in points.items()},
            complete=record.complete,
            url=record.folder.url,
            counted="clicks" if clicks else "labels",
            initial=record.initial(),
            settings=settings(x) | ({DATA: recorded[DATA]} if DATA in recorded else {}),
            beside=dict(leaves({key: x.get(key) for key in identity.BESIDE})),
            place=x["dataset"].get("root"),
            agreement=_agreement(record),
        )


def _clicks(record: Record, budget: Budget, row: Json) -> int:
    """What a cycle's labels could cost, or did where nothing was left to buy."""
    chosen, before = record.result(row["cycle"], Chosen), row["cycle"] - 1
    if chosen is not None and chosen.sold_out:
        return max(int(row["cost"]), budget.due(before - 1) + 1)  # to the right of the last cycle
    return budget.due(before)


def settings(x: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the arm of an experiment from others, by keys such as `scheme.lr`."""
    return dict(leaves(identity.of_arm(x)))


def _agreement(record: Record) -> dict[tuple[str, str], float]:
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in record.cycles():
        chosen = record.result(row["cycle"], Chosen)
        for first, others in ({} if chosen is None else chosen.agreement).items():
            for second, share in others.items():
                shares[first, second].append(share)
    return {pair: mean(values) for pair, values in shares.items()}


@dataclass(frozen=True)
class Arm:
    """The runs of one strategy, scheme and settings, by seed."""

    label: str
    """The strategy, and what else tells the group's arms apart."""
    runs: tuple[Run, ...]
    settings: str = ""
    """What tells it from arms of the same strategy and scheme: `weight=0.02 alpha=0.99`."""

    @property
    def strategy(self) -> str:
        return self.runs[0].strategy

    @property
    def scheme(self) -> str:
        return self.runs[0].scheme

    @cached_property
    def around(self) -> dict[str, Any]:
        """All its settings but those of its strategy."""
        settings = self.runs[0].settings.items()
        return {key: value for key, value in settings if key.partition(".")[0] != "strategy"}

    @cached_property
    def initial(self) -> dict[int, frozenset[str]]:
        """What each seed began with."""
        return {run.seed: run.initial for run in self.runs}

    @property
    def complete(self) -> tuple[Run, ...]:
        """The runs that spent their whole budget: the only ones that are ranked."""
        return tuple(run for run in self.runs if run.complete)

    @property
    def size(self) -> str:
        """How many seeds, in words: `n = 3, 1 partial`."""
        partial = len(self.runs) - len(self.complete)
        return f"n = {len(self.runs)}" + (f", {partial} partial" if partial else "")

    @cached_property
    def labels(self) -> list[int]:
        """Every label count at which some seed was evaluated."""
        return sorted({at for run in self.runs for at in run.points})

    def agreement(self) -> dict[tuple[str, str], float]:
        """Of the pairs that every seed scored, the mean over seeds."""
        pairs = [run.agreement for run in self.runs]
        common = [pair for pair in pairs[0] if all(pair in each for each in pairs)]
        return {pair: mean(each[pair] for each in pairs) for pair in common}

    def values(self, labels: int) -> list[float]:
        """What the seeds reached with this many labels; shorter than `runs` where some lack it."""
        return [run.points[labels] for run in self.runs if labels in run.measured]

    def at(self, labels: int) -> Interval | None:
        """The mean over all seeds; None (a gap) unless every seed has this point."""
        values = self.values(labels)
        return interval(values) if len(values) == len(self.runs) else None


class Pair(NamedTuple):
    """AULC of two arms over the seeds that both completed."""

    first: str
    second: str
    test: PairedTest
    holm: float | None
    """The p-value adjusted for all pairs of the group."""

    @property
    def verdict(self) -> str:
        """Which arm is higher at an error rate of 5 % for all pairs together."""
        if self.holm is None:
            return "needs 2 seeds"
        if self.test.difference.mean == self.test.difference.half == 0:
            return "tie"
        if self.holm >= 0.05:
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

    @property
    def question(self) -> str:
        """What it is about."""
        return question(self.name, self.dataset)

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
        """AULC of the arm's complete runs by seed; empty where they share fewer than two points."""
        if len(self.shared) < 2:
            return {}
        return {
            run.seed: aulc(self.shared, [run.points[at] for at in self.shared])
            for run in arm.complete
        }

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
            common = sorted(a.keys() & b.keys())
            if seeds := [seed for seed in common if first.initial[seed] == second.initial[seed]]:
                test = paired_test([a[seed] for seed in seeds], [b[seed] for seed in seeds])
                tests.append((first.label, second.label, test))
        adjusted = iter(holm([test.p for _, _, test in tests if test.p is not None]))
        return [Pair(*pair, None if pair[2].p is None else next(adjusted)) for pair in tests]


def group(runs: Iterable[Run]) -> tuple[Group, ...]:
    """Groups by name, dataset and what is spent; in them arms by strategy, scheme and settings.

    Raises UsageError for two runs of one seed that are the same experiment.
    """
    questions: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        questions[run.name, run.dataset, run.counted].append(run)
    return tuple(
        Group(name, dataset, members[0].metric, tuple(_arms(members)), counted)
        for (name, dataset, counted), members in sorted(questions.items())
    )


def _arms(runs: Sequence[Run]) -> Iterator[Arm]:
    answers: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        answers[run.strategy, run.scheme].append(run)
    several = len({scheme for _, scheme in answers}) > 1
    for (strategy, scheme), members in sorted(answers.items()):
        for settings, by_seed in _by_settings(members):
            told = ", ".join([scheme] * several + [settings] * bool(settings))
            label = f"{strategy} ({told})" if told else strategy
            yield Arm(label, tuple(by_seed[seed] for seed in sorted(by_seed)), settings)


def _by_settings(runs: Sequence[Run]) -> Iterator[tuple[str, dict[int, Run]]]:
    """The runs of one strategy and scheme by what else tells them apart, in words, and seed.

    Raises UsageError for two runs of one seed that nothing tells apart.
    """
    facts = _with_places(runs)
    if _twice(runs, facts):
        facts = [{**run.beside, **each} for run, each in zip(runs, facts, strict=True)]
    if found := _twice(runs, facts):
        one, other = found
        raise UsageError(
            f"two runs of {one.strategy} ({one.scheme}) with seed {one.seed} in {one.name!r}:"
            f" {one.url} and {other.url}; leave one out, or run one again under another name"
        )
    keys = words.telling(facts)
    arms: dict[str, dict[int, Run]] = defaultdict(dict)
    order: dict[str, list[Any]] = {}
    for run, fact, told in zip(runs, facts, words.described(facts, keys), strict=True):
        arms[told][run.seed] = run
        order[told] = [_rank(fact.get(key)) for key in keys]
    yield from sorted(arms.items(), key=lambda item: order[item[0]])


def _twice(runs: Sequence[Run], facts: Sequence[Mapping[str, Any]]) -> tuple[Run, Run] | None:
    """Two runs of one seed whose facts are the same."""
    there: dict[tuple[int, str], Run] = {}
    for run, fact in zip(runs, facts, strict=True):
        if there.setdefault((run.seed, words.same(fact)), run) is not run:
            return there[run.seed, words.same(fact)], run
    return None


def _with_places(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Their settings; where the data lies in place of what it is, if that says the same."""
    pairs = {(run.settings.get(DATA), run.place) for run in runs}
    data, places = ({pair[i] for pair in pairs} for i in (0, 1))
    if not len(pairs) == len(data) == len(places) > 1 or None in places:
        return [run.settings for run in runs]
    rest = [{key: value for key, value in run.settings.items() if key != DATA} for run in runs]
    return [{**each, "dataset.root": run.place} for each, run in zip(rest, runs, strict=True)]


def _rank(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before all that is none."""
    number = isinstance(value, int | float)
    return not number, value if number else 0.0, words.same(value)
