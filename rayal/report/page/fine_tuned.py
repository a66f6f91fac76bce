"""What the labels are worth to a network that is trained on them as a whole, once, at the end."""

from rayal.report.group_tables import tuned_tables
from rayal.report.page.blocks import Section, Table
from rayal.report.page.seen import Seen


def section(seen: Seen) -> Section | None:
    """The figure of each arm beside its curve's end, and every pair of arms."""
    tables = [table for group in seen.groups for table in tuned_tables(group) if table.rows]
    return Section("Fine-tuned at the end", [Table.of(t) for t in tables]) if tables else None
