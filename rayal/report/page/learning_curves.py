"""The learning curves, with bands that can be switched, the areas under them, labels to reach."""

from collections.abc import Sequence

from rayal.report import metric
from rayal.report.arms import Arm
from rayal.report.drawing import style
from rayal.report.findings import reach_table
from rayal.report.groups import Group
from rayal.report.page.blocks import NOTHING, Block, Cell, Figure, Section, Table, number
from rayal.report.page.seen import Seen
from rayal.report.statistics import Interval, interval
from rayal.storage.folder import Json


def section(seen: Seen) -> Section | None:
    """A figure, a table of areas and one of labels to reach for each group that has a point."""
    groups = [group for group in seen.groups if group.labels]
    blocks = {group.question: _blocks(group) for group in groups}
    return Section("Learning curves", [*seen.parts(blocks)]) if blocks else None


def _blocks(group: Group) -> Sequence[Block]:
    what = metric.axis(group.metric)
    figure = Figure(
        title=f"{what} by {group.counted}",
        draws="lines",
        says=f"Line chart of {what} against {group.counted}, a line for each arm; all of its"
        " numbers are in the table below",
        data=data(group),
        table=points(group),
    )
    reach = Table.of(reach_table(group))
    return [figure, areas(group), *([reach] if reach.rows else [])]


def data(group: Group) -> Json:
    """What is drawn, in the unit that people read."""
    scale = metric.scale(group.metric)
    return {
        "x": group.counted.capitalize(),
        "y": metric.axis(group.metric),
        "bands": any(len(arm.runs) > 1 for arm in group.arms),
        "series": [_series(group, arm, scale) for arm in group.arms],
        "heights": [
            {"name": each.name, "at": each.point.mean * scale} for each in group.references
        ],
    }


def _series(group: Group, arm: Arm, scale: int) -> Json:
    colour, line, _ = style(group, arm)
    low, high = metric.limits(group.metric)
    points = [arm.at(at) for at in arm.labels]
    whole = [(p.mean * scale, (p.half or 0) * scale) if p else None for p in points]
    rings = [
        (at, value * scale)
        for at, point in zip(arm.labels, points, strict=True)
        if point is None
        for value in arm.values(at)
    ]
    return {
        "name": arm.label,
        "size": arm.size,
        "colour": colour,
        "line": line,
        "x": arm.labels,
        "y": [each and each[0] for each in whole],
        "low": [each and max(low, each[0] - each[1]) for each in whole],
        "high": [each and min(high, each[0] + each[1]) for each in whole],
        "rings": rings,
    }


def points(group: Group) -> Table:
    """Every point of every arm."""
    rows: list[Sequence[Cell]] = []
    for arm in group.arms:
        for at in arm.labels:
            values = arm.values(at)
            rows.append([arm.label, number(at, ",d"), number(len(values), "d")])
            rows[-1] = [*rows[-1], *_interval(arm.at(at), group.metric)]
    shown = f"{group.metric}{metric.unit(group.metric)}"
    return Table(
        f"Points of the curves: {group.question}",
        ["arm", group.counted, "seeds", shown, "± half of the 95 % interval"],
        rows,
        f"mean over seeds; {NOTHING} where a seed is missing, or one seed has no interval",
    )


def areas(group: Group) -> Table:
    """What each arm reached, and the area under its curve."""
    shown = f"{group.metric}{metric.unit(group.metric)}"
    rows: list[Sequence[Cell]] = []
    for arm in group.arms:
        found = group.areas(arm)
        last = arm.labels[-1] if arm.labels else None
        rows.append(
            [
                arm.label,
                arm.size.removeprefix("n = "),
                number(last, ",d"),
                *_interval(None if last is None else arm.at(last), group.metric),
                *_interval(interval([*found.values()]) if found else None, group.metric),
            ]
        )
    note = "area: the mean height of the curve"
    if len(group.shared) > 1:
        note += f", over {group.shared[0]:,} to {group.shared[-1]:,} {group.counted}"
    return Table(
        f"At the end, and area under the curve: {group.question}",
        ["arm", "seeds", group.counted, f"{shown} at the end", "±", "area", "±"],
        rows,
        f"{note}; ±: half of the 95 % t-interval over seeds",
    )


def _interval(point: Interval | None, of: str) -> tuple[Cell, Cell]:
    if point is None:
        return NOTHING, NOTHING
    scale, form = metric.scale(of), ".2f" if of in metric.RATES else ".4f"
    return number(point.mean, form, scale), number(point.half, form, scale)
