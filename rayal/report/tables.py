"""The table of a report: strategies against labels, areas under the curves, paired tests.

`summarise(records)` reads run folders, also of runs that are still going; a Summary writes itself
for a terminal, as Markdown, CSV and JSON.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rayal.data.tasks.base import metric_of, untested_note
from rayal.errors import counted, some
from rayal.report import annotators, explored, fine_tuned, guarded, metric
from rayal.report import rows as plain
from rayal.report.annotators import NOTE, Agreed
from rayal.report.findings import (
    penalty_table,
    rank_table,
    reach_table,
    standing_table,
    verdict_table,
)
from rayal.report.group_json import group_json
from rayal.report.groups import BASELINE, Group, Pair, aimed, group
from rayal.report.overlaps import overlap_table
from rayal.report.places import in_markdown, printable
from rayal.report.references import other_data, referred
from rayal.report.runs import Run
from rayal.report.standings import Standings, of_group, over_groups
from rayal.report.statistics import Interval
from rayal.report.table import Table, grid, latex, markdown
from rayal.runs.record import Record
from rayal.storage import csv_file

ENOUGH_SEEDS = 5
"""With 3 seeds the best of several strategies often changes (Werner et al., CDALBench, 2024)."""
COLUMNS = 5
"""Label counts side by side in a table, unless there is room for more; CSV and JSON have all."""


NARROWEST = 4
"""Signs of a column at least, with what keeps it from the next."""


@dataclass(frozen=True)
class Summary:
    """What a set of runs says, and what to beware of."""

    groups: tuple[Group, ...]
    annotators: tuple[Agreed, ...] = ()
    """Of runs that people labeled, a row for each request."""

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not mean what they seem to."""
        return [warning for g in self.groups for warning in _warnings(g)]

    @cached_property
    def standings(self) -> list[Standings]:
        """Of every group, and over those that have arms in common."""
        over = over_groups(self.groups)
        return [*map(of_group, self.groups), *([] if over is None else [over])]

    def tables(self) -> list[Table]:
        """For every group its verdict, its curves, labels to reach, pairs, ranks, and how far
        observers agree, where there are any; then ranks over all groups, and how far annotators
        agree."""
        tables = [
            table
            for g in self.groups
            for table in (verdict_table(g), _curve_table(g), *_other_tables(g), *_matrices(g))
        ]
        over = over_groups(self.groups)
        together = () if over is None else (standing_table(over), penalty_table(over))
        return [table for table in (*tables, *together, self.annotator_table()) if table.rows]

    def to_markdown(self) -> str:
        """Warnings first, then the tables."""
        blocks = [f"> **Warning:** {in_markdown(warning)}" for warning in self.warnings]
        for table in self.tables():
            blocks += markdown(table)
        return "\n\n".join(blocks) + "\n"

    def to_latex(self) -> str:
        """The tables for a paper, with the rules of the package booktabs; warnings are comments."""
        blocks = [f"% Warning: {printable(warning)}" for warning in self.warnings]
        return "\n\n".join([*blocks, *map(latex, self.tables())]) + "\n"

    def to_rich(self) -> Any:
        """For a terminal, something that `rich.print` shows: the same but matrices of arms."""
        from rich.console import Group as Stack
        from rich.text import Text

        shown: list[Any] = [Text(printable(f"warning: {text}"), "yellow") for text in self.warnings]
        for g in self.groups:
            verdict = verdict_table(g)
            shown += [grid(verdict)] if verdict.rows else []
            others = [grid(table) for table in _other_tables(g) if table.rows]
            shown += [_Curves(g), *others] if g.arms else others
        return Stack(*shown, *([grid(self.annotator_table())] if self.annotators else []))

    def to_csv(self) -> str:
        """One row per arm and label count, unrounded; mean is empty where seeds are missing."""
        header = "name dataset metric strategy scheme settings labels n mean half_interval".split()
        points = plain.points(self.groups)
        return csv_file.dump(header, [[point[key] for key in header] for point in points])

    def to_json(self) -> str:
        """Everything, unrounded, the area of every run included."""
        told: dict[str, Any] = {
            "warnings": self.warnings,
            "groups": [group_json(g) for g in self.groups],
        }
        if (over := over_groups(self.groups)) is not None:
            told["over_groups"] = plain.standing(over)
        if self.annotators:
            told["annotators"] = [row._asdict() for row in self.annotators]
        return json.dumps(told, indent=2) + "\n"

    def annotator_table(self) -> Table:
        """Every request of people; no rows where nobody was asked."""
        return Table("Annotators", annotators.HEADER, annotators.cells(self.annotators), NOTE)


def summarise(
    records: Iterable[Record], references: Iterable[Record] = (), target: float | None = None
) -> Summary:
    """Read and group the runs, with heights beside them; labels are counted up to `target`, or to
    where baselines end. Raises UsageError for two runs of the same arm and seed, for what is no
    reference of any group (`references.referred`), and for a target that is none."""
    records = [*records]
    groups = aimed(group(Run.read(record) for record in records), target)
    referring = referred(groups, [Run.read(record) for record in references])
    return Summary(referring, tuple(annotators.agreed(records)))


@dataclass(frozen=True)
class _Curves:
    """A group's curves for a terminal: as many label counts as it has room for, at least COLUMNS.

    It asks for no more room than those take.
    """

    group: Group

    def _least(self) -> Any:
        return grid(_curve_table(self.group))

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement.get(console, options, self._least())

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from rich.measure import Measurement

        wide = options.update(max_width=sys.maxsize)
        most = min(len(self.group.labels), options.max_width // NARROWEST)
        for columns in range(most, COLUMNS, -1):
            table = grid(_curve_table(self.group, columns))
            if Measurement.get(console, wide, table).maximum <= options.max_width:
                yield table
                return
        yield self._least()


def _warnings(g: Group) -> Iterable[str]:
    where = g.question
    if not g.tested:
        yield f"{where}: {untested_note(g.metric)}"
        if chosen := [arm.strategy for arm in g.arms if arm.strategy != BASELINE]:
            yield f"{where}: {explored.better_than_random(chosen, g.metric)}"
    without = {arm.scheme for arm in g.arms} - {
        arm.scheme for arm in g.arms if arm.strategy == BASELINE
    }
    for scheme in sorted(without) if g.tested else ():
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
    if early := sum(bool(run.stopped) for run in runs):
        yield (
            f"{where}: {early} of {counted(len(runs), 'run')} ended by a rule of stop; areas and"
            " tests go by the label counts that all complete runs share"
        )
    for label in fine_tuned.unequal(g):
        yield (
            f"{where}: not all seeds of {label} were fine-tuned alike with the same labels; it has"
            " no figure of a whole network"
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
        + [_text(g.area(arm), g.metric)]
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


def _other_tables(g: Group) -> Iterable[Table]:
    yield reference_table(g)
    yield reach_table(g)
    yield pair_table(g)
    yield standing_table(of_group(g))
    yield from tuned_tables(g)
    yield from agreement_tables(g)
    yield from explored_tables(g)
    yield from guard_tables(g)


def explored_tables(g: Group) -> Iterable[Table]:
    """For every arm what its random draws say of its models; no rows where it has none."""
    for arm in g.arms:
        title = f"{g.question}: {metric_of(g.metric)} estimated from random draws of {arm.label}"
        rows = explored.rows(arm.runs, g.metric)
        yield Table(title, explored.header(g.metric), rows, explored.NOTE)


def guard_tables(g: Group) -> Iterable[Table]:
    """For every arm what its guards did; no rows where it has none."""
    for arm in g.arms:
        rows = guarded.rows([run.guarded for run in arm.runs])
        yield Table(f"{g.question}: guards of {arm.label}", guarded.HEADER, rows, guarded.NOTE)


def _matrices(g: Group) -> Iterable[Table]:
    standings = of_group(g)
    yield penalty_table(standings)
    yield rank_table(standings, _spread(g.shared, COLUMNS))
    yield overlap_table(g)


def reference_table(g: Group) -> Table:
    """Every reference, and which arms reach it."""
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


def tuned_tables(g: Group) -> Iterable[Table]:
    """What the networks that were fine-tuned at the end come to, and every pair of them."""
    what = f"{g.metric}{metric.unit(g.metric)}"
    title = f"{g.question}: fine-tuned at the end, {what}"
    yield Table(title, fine_tuned.header(g), fine_tuned.rows(g), fine_tuned.note(g))
    header = ["difference when fine-tuned", "seeds", "mean", "p", "p (Holm)", "verdict"]
    note = "two-sided paired t-test over common seeds; Holm's correction over all pairs shown"
    rows = _pair_rows(g, fine_tuned.pairs(g))
    yield Table(f"{g.question}: pairs when fine-tuned", header, rows, note)


def _pair_rows(g: Group, pairs: Iterable[Pair]) -> list[list[str]]:
    return [
        [
            f"{pair.first} - {pair.second}",
            str(pair.test.difference.n),
            _text(pair.test.difference, g.metric),
            metric.p_value(pair.test.p),
            metric.p_value(pair.holm),
            pair.verdict,
        ]
        for pair in pairs
    ]


def pair_table(g: Group) -> Table:
    """Every pair of arms that is tested."""
    rows = _pair_rows(g, g.pairs)
    header = ["difference in AULC", "seeds", "mean", "p", "p (Holm)", "verdict"]
    note = "two-sided paired t-test over common seeds; Holm's correction over all pairs shown"
    if not g.compares_all:
        note += f"; of {len(g.arms)} arms only pairs with {BASELINE}"
    return Table(f"{g.question}: pairs", header, rows, note)


def agreement_tables(g: Group) -> Iterable[Table]:
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


def _spread(labels: list[int], columns: int) -> list[int]:
    """At most so many of them, the first and the last included."""
    if len(labels) <= columns:
        return labels
    return [labels[i] for i in np.linspace(0, len(labels) - 1, columns).round().astype(int)]


def _text(point: Interval | None, of: str) -> str:
    return "–" if point is None else metric.cell(point, of)
