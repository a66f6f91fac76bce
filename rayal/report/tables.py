"""The tables of a report: strategies against labels, areas under the curves, paired tests.

`summarise(records)` reads run folders, also of runs that are still going; a Summary writes itself
for a terminal, as Markdown, CSV and JSON.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rayal.report import annotators
from rayal.report import rows as plain
from rayal.report.annotators import NOTE, Agreed
from rayal.report.curve_table import Curves, curve_table
from rayal.report.findings import penalty_table, standing_table, verdict_table
from rayal.report.group_json import group_json
from rayal.report.group_tables import matrices, other_tables
from rayal.report.groups import Group, aimed, group
from rayal.report.places import in_markdown, printable
from rayal.report.references import referred
from rayal.report.runs import Run
from rayal.report.standings import Standings, of_group, over_groups
from rayal.report.table import Table, grid, latex, markdown
from rayal.report.warnings import warnings
from rayal.runs.record import Record
from rayal.storage import csv_file


@dataclass(frozen=True)
class Summary:
    """What a set of runs says, and what to beware of."""

    groups: tuple[Group, ...]
    annotators: tuple[Agreed, ...] = ()
    """Of runs that people labeled, a row for each request."""

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not mean what they seem to."""
        return [warning for g in self.groups for warning in warnings(g)]

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
            for table in (verdict_table(g), curve_table(g), *other_tables(g), *matrices(g))
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
            others = [grid(table) for table in other_tables(g) if table.rows]
            shown += [Curves(g), *others] if g.arms else others
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
