"""The table of a report: strategies against labels, areas under the curves, paired tests.

`summarise(records)` reads run folders, also of runs that are still going; a Summary writes itself
for a terminal, as Markdown, CSV and JSON.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from rayal.errors import counted, some
from rayal.report import metric, rows
from rayal.report.places import in_markdown, printable
from rayal.report.references import other_data, referred
from rayal.report.runs import BASELINE, Arm, Group, Run, group
from rayal.report.statistics import Interval, interval
from rayal.runs.record import Record
from rayal.storage import csv_file

ENOUGH_SEEDS = 5
"""With 3 seeds the best of several strategies often changes (Werner et al., CDALBench, 2024)."""
COLUMNS = 5
"""Label counts side by side in a table, unless there is room for more; CSV and JSON have all."""


NARROWEST = 4
"""Signs of a column at least, with what keeps it from the next."""


class Table(NamedTuple):
    """A table as text, ready for a terminal or Markdown."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str


@dataclass(frozen=True)
class Summary:
    """What a set of runs says, and what to beware of."""

    groups: tuple[Group, ...]

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not mean what they seem to."""
        return [warning for g in self.groups for warning in _warnings(g)]

    def tables(self) -> list[Table]:
        """For every group its curves, its pairs, and how far observers agree, if there are any."""
        return [
            table
            for g in self.groups
            for table in (_curve_table(g), *_other_tables(g))
            if table.rows
        ]

    def to_markdown(self) -> str:
        """Warnings first, then the tables."""
        blocks = [f"> **Warning:** {in_markdown(warning)}" for warning in self.warnings]
        for table in self.tables():
            header, *rows = ([in_markdown(cell) for cell in r] for r in (table.header, *table.rows))
            lines = [header, ["---"] * len(header), *rows]
            body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
            blocks += [f"### {in_markdown(table.title)}", body, in_markdown(table.note)]
        return "\n\n".join(blocks) + "\n"

    def to_rich(self) -> Any:
        """The same for a terminal: something that `rich.print` shows."""
        from rich.console import Group as Stack
        from rich.text import Text

        shown: list[Any] = [Text(printable(f"warning: {text}"), "yellow") for text in self.warnings]
        for g in self.groups:
            others = [_grid(table) for table in _other_tables(g) if table.rows]
            shown += [_Curves(g), *others] if g.arms else others
        return Stack(*shown)

    def to_csv(self) -> str:
        """One row per arm and label count, unrounded; mean is empty where seeds are missing."""
        header = "name dataset metric strategy scheme settings labels n mean half_interval".split()
        points = rows.points(self.groups)
        return csv_file.dump(header, [[point[key] for key in header] for point in points])

    def to_json(self) -> str:
        """Everything, unrounded, the area of every run included."""
        groups = [_group_json(g) for g in self.groups]
        return json.dumps({"warnings": self.warnings, "groups": groups}, indent=2) + "\n"


def summarise(records: Iterable[Record], references: Iterable[Record] = ()) -> Summary:
    """Read and group the runs, with heights beside them. Raises UsageError for two runs of the same
    arm and seed, and for what is no reference of any group (`references.referred`)."""
    groups = group(Run.read(record) for record in records)
    return Summary(referred(groups, [Run.read(record) for record in references]))


def _grid(table: Table) -> Any:
    """A table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid
    from rich.text import Text

    def plain(text: str) -> Text:
        return Text(printable(text))

    grid = Grid(title=plain(table.title), caption=plain(table.note), box=SIMPLE_HEAD)
    grid.title_justify = grid.caption_justify = "left"
    for index, column in enumerate(table.header):
        justify: Literal["left", "right"] = "right" if index else "left"
        grid.add_column(plain(column), justify=justify, no_wrap=not index)
    for cells in table.rows:
        grid.add_row(*map(plain, cells))
    return grid


@dataclass(frozen=True)
class _Curves:
    """A group's curves for a terminal: as many label counts as it has room for, at least COLUMNS.

    It asks for no more room than those take.
    """

    group: Group

    def _least(self) -> Any:
        return _grid(_curve_table(self.group))

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement.get(console, options, self._least())

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from rich.measure import Measurement

        wide = options.update(max_width=sys.maxsize)
        most = min(len(self.group.labels), options.max_width // NARROWEST)
        for columns in range(most, COLUMNS, -1):
            grid = _grid(_curve_table(self.group, columns))
            if Measurement.get(console, wide, grid).maximum <= options.max_width:
                yield grid
                return
        yield self._least()


def _warnings(g: Group) -> Iterable[str]:
    where = g.question
    without = {arm.scheme for arm in g.arms} - {
        arm.scheme for arm in g.arms if arm.strategy == BASELINE
    }
    for scheme in sorted(without):
        yield (
            f"{where}: no {BASELINE} baseline with scheme {scheme};"
            " nobody can tell whether a strategy helps"
        )
    runs = [run for arm in g.arms for run in arm.runs]
    if partial := sum(not run.complete for run in runs):
        yield (
            f"{where}: {partial} of {counted(len(runs), 'run')} not complete; areas and tests"
            " leave them out"
        )
    for reference in other_data(g):
        yield (
            f"{where}: reference {reference.name} is of other data under the same name; its test"
            " split may be another"
        )
    for first, second, seeds in g.unpaired:
        yield (
            f"{where}: {first} and {second} began with different units for seed"
            f" {', '.join(map(str, seeds))}; those runs are not compared in pairs"
        )
    if g.pairs and (n := min(pair.test.difference.n for pair in g.pairs)) < ENOUGH_SEEDS:
        yield (
            f"{where}: n = {n} is not enough to rank strategies;"
            f" run {ENOUGH_SEEDS} seeds or more of each"
        )


def _curve_table(g: Group, columns: int = COLUMNS) -> Table:
    shown = _spread(g.labels, columns)
    header = ["strategy", "n", *map(str, shown), "AULC"]
    rows = [
        [arm.label, arm.size.removeprefix("n = ")]
        + [_text(arm.at(at), g.metric) for at in shown]
        + [_text(_area(g, arm), g.metric)]
        for arm in g.arms
    ]
    note = "mean ± half of the 95 % t-interval over seeds; – where a seed is missing"
    if len(g.shared) > 1:
        note += f"; AULC over {g.shared[0]} to {g.shared[-1]} {g.counted}, {len(g.shared)} points"
    if left := [at for at in g.labels if at not in shown]:
        note += f"; {len(shown)} of {len(g.labels)} label counts, without {some(left)}"
    title = f"{g.question}: {g.metric}{metric.unit(g.metric)} by {g.counted}"
    return Table(title, header, rows, note)


def _other_tables(g: Group) -> Iterable[Table]:
    yield _reference_table(g)
    yield _pair_table(g)
    yield from _agreement_tables(g)


def _reference_table(g: Group) -> Table:
    rows = []
    for each in g.references:
        reached = {arm.label: each.reached_by(arm) for arm in g.arms}
        told = [f"{label} with {at:,}" for label, at in reached.items() if at is not None]
        size = each.arm.size.removeprefix("n = ")
        rows.append(
            [each.name, size, f"{each.labels:,}", _text(each.point, g.metric)]
            + [", ".join(told) or "–"]
        )
    what = f"{g.metric}{metric.unit(g.metric)}"
    header = ["reference", "n", g.counted, what, "reached by"]
    note = f"reached: the first count of {g.counted} at which an arm's mean is as high"
    return Table(f"{g.question}: references", header, rows, note)


def _pair_table(g: Group) -> Table:
    rows = [
        [
            f"{pair.first} - {pair.second}",
            str(pair.test.difference.n),
            _text(pair.test.difference, g.metric),
            _p_text(pair.test.p),
            _p_text(pair.holm),
            pair.verdict,
        ]
        for pair in g.pairs
    ]
    header = ["difference in AULC", "seeds", "mean", "p", "p (Holm)", "verdict"]
    note = "two-sided paired t-test over common seeds; Holm's correction over all pairs shown"
    if not g.compares_all:
        note += f"; of {len(g.arms)} arms only pairs with {BASELINE}"
    return Table(f"{g.question}: pairs", header, rows, note)


def _agreement_tables(g: Group) -> Iterable[Table]:
    """For every arm that observed others, strategies against strategies."""
    for arm in g.arms:
        shares = arm.agreement()
        names = list(dict.fromkeys(name for pair in shares for name in pair))
        cells = {**shares, **{(b, a): share for (a, b), share in shares.items()}}
        rows = [
            [
                name,
                *(
                    f"{100 * cells[name, other]:.0f}" if (name, other) in cells else "–"
                    for other in names
                ),
            ]
            for name in names
        ]
        yield Table(
            f"{g.question}: agreement (%) while {arm.label} selects",
            ["strategy", *names],
            rows,
            "share of the units that both would choose; mean over cycles and seeds",
        )


def _group_json(g: Group) -> dict[str, Any]:
    arms = []
    for arm in g.arms:
        area, by_seed = _area(g, arm), g.areas(arm)
        arms.append(
            {
                "strategy": arm.strategy,
                "scheme": arm.scheme,
                "settings": arm.settings,
                "seeds": [run.seed for run in arm.runs],
                "partial": [run.seed for run in arm.runs if not run.complete],
                "curve": [{"labels": at, **_fields(arm.at(at))} for at in arm.labels],
                "aulc": _fields(area) | {"by_seed": by_seed},
                "agreement": [[*pair, share] for pair, share in arm.agreement().items()],
            }
        )
    pairs = [
        {
            "first": pair.first,
            "second": pair.second,
            **_fields(pair.test.difference),
            "p": pair.test.p,
            "p_holm": pair.holm,
            "verdict": pair.verdict,
        }
        for pair in g.pairs
    ]
    return {
        "name": g.name,
        "dataset": g.dataset,
        "metric": g.metric,
        "aulc_labels": g.shared,
        "arms": arms,
        "pairs": pairs,
        "references": [
            {"name": each.name, "labels": each.labels, **_fields(each.point)}
            for each in g.references
        ],
    }


def _area(g: Group, arm: Arm) -> Interval | None:
    areas = g.areas(arm)
    return interval(list(areas.values())) if areas else None


def _fields(point: Interval | None) -> dict[str, Any]:
    return point._asdict() if point else {"mean": None, "half": None, "n": 0}


def _spread(labels: list[int], columns: int) -> list[int]:
    """At most so many of them, the first and the last included."""
    if len(labels) <= columns:
        return labels
    return [labels[i] for i in np.linspace(0, len(labels) - 1, columns).round().astype(int)]


def _text(point: Interval | None, of: str) -> str:
    return "–" if point is None else metric.cell(point, of)


def _p_text(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
