"""Who agrees with whom, what guards did, what references say: the tables of a terminal."""

from rayal.report.page.blocks import Section, Table
from rayal.report.page.seen import Seen
from rayal.report.tables import agreement_tables, guard_tables, reference_table


def section(seen: Seen) -> Section | None:
    """References, strategies that would choose the same, guards, annotators."""
    tables = [
        table
        for group in seen.groups
        for table in (reference_table(group), *agreement_tables(group), *guard_tables(group))
    ]
    shown = [Table.of(t) for t in (*tables, seen.summary.annotator_table()) if t.rows]
    return Section("References, agreement and guards", shown) if shown else None
