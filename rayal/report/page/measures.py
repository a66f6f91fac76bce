"""What else the test images say of each model: every other metric that is one number, such as the
negative log likelihood or the calibration error."""

from collections.abc import Mapping, Sequence
from typing import Any

from rayal.data.tasks.base import EXPLORED
from rayal.report import metric
from rayal.report.arms import Arm
from rayal.report.drawing import style
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Cell, Figure, Fold, Section, Table, number
from rayal.report.page.seen import Seen
from rayal.report.statistics import interval
from rayal.runs.results import Evaluated

Points = dict[int, list[float]]
"""Labels -> the value of each seed that has one."""


def section(seen: Seen) -> Section | None:
    """A figure for each such metric."""
    blocks = {group.question: _blocks(seen, group) for group in seen.groups}
    found = [*seen.parts(blocks)]
    return Section("Other measures", found) if found else None


def _blocks(seen: Seen, group: Group) -> Sequence[Block]:
    by_arm = {arm.label: _measured(seen, arm, group.metric) for arm in group.arms}
    names = dict.fromkeys(name for metrics in by_arm.values() for name in metrics)
    figures = [
        figure(
            group,
            f"{name}{metric.unit(name)}",
            {arm: metrics.get(name, {}) for arm, metrics in by_arm.items()},
            scale=metric.scale(name),
            form=".2f" if name in metric.RATES else ".4f",
            limits=metric.limits(name),
        )
        for name in names
    ]
    return [Fold(each.title, [each], not place) for place, each in enumerate(figures)]


def _measured(seen: Seen, arm: Arm, but: str) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for run in arm.runs:
        record = seen.record(run)
        for cycle in range(record.begun()):
            result = record.result(cycle, Evaluated)
            for name, value in ({} if result is None else result.metrics).items():
                apart = name == but or name.startswith(EXPLORED)  # they have their own sections
                if not apart and _is_number(value) and result is not None:
                    found.setdefault(name, {}).setdefault(result.labels, []).append(value)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(
    group: Group,
    what: str,
    by_arm: Mapping[str, Points],
    *,
    scale: float = 1,
    form: str = ".4f",
    limits: metric.Limits = metric.UNLIMITED,
) -> Figure:
    """A curve with its band for each arm, by labels; `what` is measured, in `scale` times the unit
    of files, and cannot be beyond the `limits` in that."""
    series, rows = [], list[Sequence[Cell]]()
    for arm in group.arms:
        colour, line, _ = style(group, arm)
        points = by_arm[arm.label]
        whole = {at: interval(y) for at, y in sorted(points.items()) if len(y) == len(arm.runs)}
        series.append(
            {
                "name": arm.label,
                "size": arm.size,
                "colour": colour,
                "line": line,
                "x": [*whole],
                "y": [scale * each.mean for each in whole.values()],
                "low": [
                    max(limits.low, scale * (each.mean - (each.half or 0)))
                    for each in whole.values()
                ],
                "high": [
                    min(limits.high, scale * (each.mean + (each.half or 0)))
                    for each in whole.values()
                ],
            }
        )
        rows += [
            [arm.label, number(at, ",d")]
            + [number(each.mean, form, scale), number(each.half, form, scale)]
            for at, each in whole.items()
        ]
    return Figure(
        title=f"{what} by labels",
        draws="lines",
        says=f"Line chart of {what} against labels, a line for each arm; all of its numbers are in"
        " the table below",
        data={
            "x": "Labels",
            "y": what,
            "bands": any(len(arm.runs) > 1 for arm in group.arms),
            "series": series,
            "heights": [],
        },
        table=Table(
            f"{what}: {group.question}",
            ["arm", "labels", what, "±"],
            rows,
            "mean over seeds, where all have a value; ±: half of the 95 % t-interval",
        ),
    )
