"""Of each arm what a whole network reached, trained once on the labels that the arm had bought.

It is no point of the curve: another model, trained otherwise. An arm has one where all its seeds
have, after as many labels, and were trained alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rayal.report import metric
from rayal.report.arms import Arm
from rayal.report.groups import Group, Pair
from rayal.report.runs import Run
from rayal.report.statistics import Interval, PairedTest, holm, interval, paired_test
from rayal.storage.folder import Json

HEADING = "fine-tuned"
"""Of columns and tables."""
ORDERED = 3
"""Arms whose order says anything, at least."""


class FineTuned(NamedTuple):
    """The networks of one arm, by seed."""

    labels: int
    values: dict[int, float]
    before: dict[int, float]
    """What the run's own models reached with the same labels."""

    @property
    def point(self) -> Interval:
        """Their mean over seeds."""
        return interval(list(self.values.values()))

    @property
    def gain(self) -> PairedTest:
        """How much higher they are than the models before them, seed by seed."""
        return paired_test(list(self.values.values()), [self.before[s] for s in self.values])


def of_arm(arm: Arm) -> FineTuned | None:
    """None unless every seed has one; of runs that went on after it, the last."""
    ends = {max(run.fine_tuned, default=None) for run in arm.runs}
    if len(ends) > 1 or (labels := ends.pop()) is None or not _alike(arm.runs):
        return None
    values = {run.seed: run.fine_tuned[labels] for run in arm.runs}
    before = {run.seed: run.points[labels] for run in arm.runs if labels in run.measured}
    return FineTuned(labels, values, before) if before.keys() == values.keys() else None


def of_group(group: Group) -> dict[str, FineTuned]:
    """By the labels of the arms, of those that have some."""
    found = {arm.label: of_arm(arm) for arm in group.arms}
    return {label: tuned for label, tuned in found.items() if tuned is not None}


def pairs(group: Group) -> list[Pair]:
    """The pairs of arms whose areas are tested, tested in what their networks reached, and adjusted
    together."""
    tuned, begun = of_group(group), {arm.label: arm.initial for arm in group.arms}
    tests = []
    for first, second in ((pair.first, pair.second) for pair in group.pairs):
        one, other = tuned.get(first), tuned.get(second)
        if one is None or other is None or one.labels != other.labels:
            continue
        common = sorted(one.values.keys() & other.values.keys())
        if seeds := [seed for seed in common if begun[first][seed] == begun[second][seed]]:
            a, b = ([each.values[seed] for seed in seeds] for each in (one, other))
            tests.append((first, second, paired_test(a, b)))
    adjusted = iter(holm([test.p for _, _, test in tests if test.p is not None]))
    return [Pair(*pair, None if pair[2].p is None else next(adjusted)) for pair in tests]


def order(group: Group) -> float | None:
    """Kendall's tau-b of the arms' means before and after: 1 where a whole network ranks them as
    the run's own model does, -1 where it is the other way round; None for too few arms."""
    tuned = [*of_group(group).values()]
    if len(tuned) < ORDERED:
        return None
    from scipy import stats  # takes half a second to import

    before = [interval(list(each.before.values())).mean for each in tuned]
    tau = float(stats.kendalltau(before, [each.point.mean for each in tuned]).statistic)
    return tau if tau == tau else None  # all arms alike


def unequal(group: Group) -> list[str]:
    """The arms of whose seeds some were fine-tuned and others not, or otherwise."""
    some = [arm for arm in group.arms if any(run.fine_tuned for run in arm.runs)]
    return [arm.label for arm in some if of_arm(arm) is None]


def note(group: Group) -> str:
    """What stands below the table."""
    said = "a whole network, trained once on the labels of the last cycle; mean ± half of the 95 %"
    said += " t-interval over seeds; gain: over the run's own model, seed by seed"
    if (tau := order(group)) is not None:
        said += f"; order of the arms before and after: Kendall's tau {tau:.2f}"
    return said


def rows(group: Group) -> list[list[str]]:
    """Of a table, a row per arm: its seeds, labels, what its own model and the network reached."""
    found = []
    for label, tuned in of_group(group).items():
        own = interval(list(tuned.before.values()))
        points = (own, tuned.point, tuned.gain.difference)
        cells = [metric.cell(point, group.metric) for point in points]
        found.append([label, str(own.n), f"{tuned.labels:,}", *cells])
    return found


def header(group: Group) -> list[str]:
    """Of these rows."""
    return ["strategy", "n", group.counted, "in its cycles", HEADING, "gain"]


def to_json(tuned: FineTuned | None) -> Json | None:
    """Everything, unrounded."""
    if tuned is None:
        return None
    gain = tuned.gain
    return {
        "labels": tuned.labels,
        **tuned.point._asdict(),
        "by_seed": tuned.values,
        "gain": {**gain.difference._asdict(), "p": gain.p},
    }


def _alike(runs: Sequence[Run]) -> bool:
    """Whether they were trained in the same way, whatever else comes beside their curves."""
    told = [{k: v for k, v in run.beside.items() if k.startswith("fine_tune")} for run in runs]
    return all(each == told[0] for each in told)
