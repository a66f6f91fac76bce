"""What every class reached in every cycle: a heat map for each arm."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.report import per_class
from rayal.report.arms import Arm
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Cell, Figure, Fold, Section, Table, number
from rayal.report.page.seen import Seen


class Mean(NamedTuple):
    """One metric of one arm, over its seeds."""

    metric: str
    classes: Sequence[str]  # C
    spent: Sequence[float]  # T
    values: NDArray[np.float64]  # C T, NaN where it is defined for no seed


def section(seen: Seen) -> Section | None:
    """A map for each arm and metric that has a value per class; those of the first arm are open."""
    blocks = {group.question: _blocks(seen, group) for group in seen.groups}
    found = [*seen.parts(blocks)]
    return Section("Classes", found) if found else None


def _blocks(seen: Seen, group: Group) -> Sequence[Block]:
    means = {arm.label: found for arm in group.arms if (found := [*_means(seen, arm)])}
    lows = _lows([each for found in means.values() for each in found])
    figures = {
        arm: [_figure(arm, each, lows[each.metric]) for each in found]
        for arm, found in means.items()
    }
    if len(figures) == 1:
        return next(iter(figures.values()))
    return [Fold(arm, found, place == 0) for place, (arm, found) in enumerate(figures.items())]


def _lows(means: Sequence[Mean]) -> dict[str, float]:
    """Metric -> where its colours begin, in per cent, the same for all arms: the ten below the
    lowest value, since classes that are good would all look alike in colours that begin at 0."""
    found: dict[str, float] = {}
    for each in means:
        known = each.values[np.isfinite(each.values)]
        low = 10 * np.floor(10 * min(known.min(initial=1.0), 0.9))
        found[each.metric] = min(found.get(each.metric, 100.0), float(low))
    return found


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


def _figure(arm: str, mean: Mean, low: float) -> Figure:
    name = mean.metric.removeprefix(per_class.PREFIX)
    what = f"Test {per_class.ACRONYMS.get(name, name)} (%) of the class"
    columns = [f"{each:,.10g}" for each in mean.spent]
    rows: list[Sequence[Cell]] = [
        [label, *(number(float(value), ".1f", 100) for value in mean.values[place])]
        for place, label in enumerate(mean.classes)
    ]
    title = f"{what}: {arm}"
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
            "low": low,
            "high": 100,
            "digits": 0,
        },
        table=Table(title, ["class", *columns], rows, "mean over seeds, by labels"),
    )


def _json(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]
