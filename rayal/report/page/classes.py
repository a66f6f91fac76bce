"""What every class reached in every cycle: a heat map for each arm."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.report import per_class
from rayal.report.arms import Arm
from rayal.report.page.blocks import Block, Cell, Figure, Fold, Section, Table, number
from rayal.report.page.seen import Seen


class Mean(NamedTuple):
    """One metric of one arm, over its seeds."""

    metric: str
    classes: Sequence[str]  # C
    spent: Sequence[float]  # T
    values: NDArray[np.float64]  # C T, NaN where it is defined for no seed


def section(seen: Seen) -> Section | None:
    """A map for each arm and metric that has a value per class; the first is open."""
    found = {
        group.question: [_figure(arm, each) for arm in group.arms for each in _means(seen, arm)]
        for group in seen.groups
    }
    blocks = {title: _folded(figures) for title, figures in found.items() if figures}
    return Section("Classes", [*seen.parts(blocks)]) if blocks else None


def _folded(figures: Sequence[Figure]) -> list[Block]:
    if len(figures) == 1:
        return [*figures]
    return [Fold(figure.title, [figure], place == 0) for place, figure in enumerate(figures)]


def _means(seen: Seen, arm: Arm) -> Iterator[Mean]:
    """Over the seeds that have come as far as the one that has come farthest."""
    by_metric: dict[str, list[per_class.Grid]] = {}
    for run in arm.runs:
        for grid in per_class.grids(seen.record(run)):
            by_metric.setdefault(grid.metric, []).append(grid)
    for metric, grids in by_metric.items():
        most = max(len(grid.cycles) for grid in grids)
        whole = [grid for grid in grids if len(grid.cycles) == most]
        first = whole[0]
        values = np.stack([grid.values for grid in whole])
        known = np.isfinite(values)
        sums = np.where(known, values, 0).sum(axis=0)
        means = sums / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        yield Mean(metric, first.classes, first.spent, means)


def _figure(arm: Arm, mean: Mean) -> Figure:
    name = mean.metric.removeprefix(per_class.PREFIX)
    what = f"Test {per_class.ACRONYMS.get(name, name)} (%) of the class"
    columns = [f"{each:,.10g}" for each in mean.spent]
    rows: list[Sequence[Cell]] = [
        [label, *(number(float(value), ".1f", 100) for value in mean.values[place])]
        for place, label in enumerate(mean.classes)
    ]
    title = f"{what}: {arm.label}"
    return Figure(
        title=title,
        draws="heat",
        says=f"Heat map of {what}, a row for each class and a column for each cycle; all of its"
        " numbers are in the table below",
        data={
            "rows": [*mean.classes],
            "columns": columns,
            "x": "Labels",
            "values": _json(100 * mean.values),
            "low": 0,
            "high": 100,
            "digits": 0,
        },
        table=Table(title, ["class", *columns], rows, "mean over seeds, by labels"),
    )


def _json(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]
