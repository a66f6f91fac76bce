"""Arms of a comparison: runs of one strategy, scheme and settings, which differ by seed only."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from rayal.errors import UsageError
from rayal.report import labels as words
from rayal.report.runs import DATA, Run
from rayal.report.statistics import Interval, interval


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

    def paired(self, other: "Arm") -> list[int]:
        """The seeds with which both have a complete run, and began with the same units."""
        seeds = [{run.seed for run in arm.complete} for arm in (self, other)]
        common = sorted(set.intersection(*seeds))
        return [seed for seed in common if self.initial[seed] == other.initial[seed]]

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


def arms_of(runs: Sequence[Run]) -> Iterator[Arm]:
    """The arms of one question, in order; raises UsageError for two runs of one seed that are the
    same experiment."""
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
