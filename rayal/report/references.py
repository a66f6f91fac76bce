"""References of a report: what one training, of all labels say, reaches; a height beside curves.

A reference is a finished run of one cycle, or several that differ by seed only. It is no arm: it
has no curve, no area, and is tested against nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rayal.errors import UsageError, counted
from rayal.report.arms import Arm
from rayal.report.groups import Group, group
from rayal.report.runs import DATA, Run
from rayal.report.statistics import Interval


@dataclass(frozen=True)
class Reference:
    """One height, of one or more seeds."""

    name: str
    """Of its experiment, and what tells it from references of the same name."""
    arm: Arm

    @property
    def labels(self) -> int:
        """What its training had, in labels, clicks or seconds."""
        (labels,) = self.arm.labels
        return labels

    @property
    def point(self) -> Interval:
        """Its mean over seeds."""
        point = self.arm.at(self.labels)
        assert point is not None, "each of its runs was checked"
        return point

    def reached_by(self, arm: Arm) -> int | None:
        """The first label count at which an arm's mean is as high; None where it is at none."""
        means = {at: point.mean for at in arm.labels if (point := arm.at(at)) is not None}
        return next((at for at, mean in means.items() if mean >= self.point.mean), None)


def referred(groups: Iterable[Group], runs: Sequence[Run]) -> tuple[Group, ...]:
    """The groups, each with the references that are of its dataset and metric.

    Raises UsageError, with the run, for one that is not finished or has more than one cycle, and
    for one of a dataset or metric that no group is of.
    """
    groups = tuple(groups)
    for run in runs:
        _check(run, groups)
    references = [
        (each, Reference(_name(each, arm), arm)) for each in group(runs) for arm in each.arms
    ]
    return tuple(
        replace(g, references=tuple(r for of, r in references if _of(of) == _of(g))) for g in groups
    )


def other_data(of: Group) -> Iterable[Reference]:
    """The references of a group whose data has another fingerprint than its runs'."""
    own = {run.settings[DATA] for arm in of.arms for run in arm.runs if DATA in run.settings}
    for reference in of.references:
        theirs = {run.settings.get(DATA) for run in reference.arm.runs}
        if own and not theirs <= own:
            yield reference


def _check(run: Run, groups: Sequence[Group]) -> None:
    said = f"reference {run.name!r} ({run.url})"
    if len(run.points) > 1:
        raise UsageError(
            f"{said} has {counted(len(run.points), 'cycle')}, and a reference is one height; give a"
            " run of one cycle, whose budget.initial is its budget.total"
        )
    if not run.complete or not run.measured:
        raise UsageError(f"{said} is not finished; run its experiment to its end first")
    if not any((g.dataset, g.metric) == (run.dataset, run.metric) for g in groups):
        known = sorted({f"{g.dataset} ({g.metric})" for g in groups})
        raise UsageError(
            f"{said} is of {run.dataset} ({run.metric}), the runs are of {', '.join(known)}; give a"
            " reference of the same dataset and metric"
        )


def _of(of: Group) -> tuple[str, str]:
    return of.dataset, of.metric


def _name(of: Group, arm: Arm) -> str:
    return of.name if len(of.arms) == 1 else f"{of.name}: {arm.label}"
