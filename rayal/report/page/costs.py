"""Where the time goes, cycle by cycle, and what the labels cost."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from rayal.report.arms import Arm
from rayal.report.drawing import style
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Cell, Figure, Section, Table, number
from rayal.report.page.seen import Seen
from rayal.runs.ledger import STAGES

Row = dict[str, Any]


def section(seen: Seen) -> Section | None:
    """Seconds of each cycle, by arm."""
    blocks = {group.question: _blocks(seen, group) for group in seen.groups if group.labels}
    return Section("Time and cost", [*seen.parts(blocks)]) if blocks else None


def _blocks(seen: Seen, group: Group) -> Sequence[Block]:
    means = {arm.label: _means(seen, arm) for arm in group.arms}
    series = []
    for arm in group.arms:
        colour, line, _ = style(group, arm)
        done = [row for row in means[arm.label] if row["seconds"] is not None]
        series.append(
            {
                "name": arm.label,
                "size": arm.size,
                "colour": colour,
                "line": line,
                "x": [row["cycle"] for row in done],
                "y": [row["seconds"] for row in done],
            }
        )
    there = [row for each in means.values() for row in each]
    stages = [stage for stage in STAGES if any(row[stage] is not None for row in there)]
    rows: list[Sequence[Cell]] = [
        [
            arm,
            number(row["cycle"], "d"),
            number(row["labels"], ",.10g"),
            number(row["cost"], ",.10g"),
            *(number(row[stage], ",.2f") for stage in stages),
            number(row["seconds"], ",.2f"),
        ]
        for arm, rows_of in means.items()
        for row in rows_of
    ]
    header = ["arm", "cycle", "labels", "cost", *(f"{stage} (s)" for stage in stages), "all (s)"]
    note = (
        "mean over the seeds that did the stage, of the attempt that finished it; cost: all answers"
        " so far, in the unit of the budget"
    )
    return [
        Figure(
            title="Seconds of a cycle",
            draws="lines",
            says="Line chart of the seconds of each cycle, a line for each arm; all of its numbers"
            " are in the table below",
            data={"x": "Cycle", "y": "Seconds", "bands": False, "series": series, "heights": []},
            table=Table(f"Time and cost: {group.question}", header, rows, note),
        )
    ]


def _means(seen: Seen, arm: Arm) -> list[Row]:
    """A row per cycle: mean labels, cost and seconds of each stage, None where no seed did it."""
    cycles: dict[int, list[Row]] = {}
    for run in arm.runs:
        for row in seen.record(run).cycles():
            cycles.setdefault(row["cycle"], []).append(row)
    found = []
    for cycle, rows in sorted(cycles.items()):
        stages = {stage: _mean(row[f"{stage}_seconds"] for row in rows) for stage in STAGES}
        sums = [sum(row[f"{stage}_seconds"] or 0 for stage in STAGES) for row in rows]
        common = {key: _mean(row[key] for row in rows) for key in ("labels", "cost")}
        found.append({"cycle": cycle, **common, **stages, "seconds": _mean(sums)})
    return found


def _mean(values: Any) -> float | None:
    there = [value for value in values if value is not None]
    return mean(there) if there else None
