"""The curves of a group as a table, on a terminal with as many columns as there is room for."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayal.errors import some
from rayal.report import metric
from rayal.report.groups import Group
from rayal.report.table import Table, grid

COLUMNS = 5
"""Label counts side by side in a table, unless there is room for more; CSV and JSON have all."""
NARROWEST = 4
"""Signs of a column at least, with what keeps it from the next."""


def curve_table(g: Group, columns: int = COLUMNS) -> Table:
    """Every arm at so many of the label counts, and its area."""
    shown = spread(g.labels, columns)
    header = ["strategy", "n", *map(str, shown), "AULC"]
    rows = [
        [arm.label, arm.size.removeprefix("n = ")]
        + [metric.cell(arm.at(at), g.metric) for at in shown]
        + [metric.cell(g.area(arm), g.metric)]
        for arm in g.arms
    ]
    note = "mean ± half of the 95 % t-interval over seeds; – where a seed is missing"
    if not g.tested:
        note = f"{note}, or nothing was bought yet"
    elif len(g.shared) > 1:
        note += f"; AULC over {g.shared[0]} to {g.shared[-1]} {g.counted}, {len(g.shared)} points"
    if left := [at for at in g.labels if at not in shown]:
        note += f"; {len(shown)} of {len(g.labels)} label counts, without {some(left)}"
    title = f"{g.question}: {g.metric}{metric.unit(g.metric)} by {g.counted}"
    return Table(title, header, rows, note)


def spread(labels: list[int], columns: int) -> list[int]:
    """At most so many of them, the first and the last included."""
    if len(labels) <= columns:
        return labels
    return [labels[i] for i in np.linspace(0, len(labels) - 1, columns).round().astype(int)]


@dataclass(frozen=True)
class Curves:
    """A group's curves for a terminal: as many label counts as it has room for, at least COLUMNS.

    It asks for no more room than those take.
    """

    group: Group

    def _least(self) -> Any:
        return grid(curve_table(self.group))

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement.get(console, options, self._least())

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from rich.measure import Measurement

        wide = options.update(max_width=sys.maxsize)
        most = min(len(self.group.labels), options.max_width // NARROWEST)
        for columns in range(most, COLUMNS, -1):
            table = grid(curve_table(self.group, columns))
            if Measurement.get(console, wide, table).maximum <= options.max_width:
                yield table
                return
        yield self._least()
