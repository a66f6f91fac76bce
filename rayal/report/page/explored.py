"""What units drawn at random say of the models, where a share of purchases was."""

from rayal.report.group_tables import explored_tables
from rayal.report.page.blocks import Section, Table
from rayal.report.page.seen import Seen


def section(seen: Seen) -> Section | None:
    """The estimates of each arm, model by model."""
    tables = [t for group in seen.groups for t in explored_tables(group) if t.rows]
    return Section("Estimated from random draws", [Table.of(t) for t in tables]) if tables else None
