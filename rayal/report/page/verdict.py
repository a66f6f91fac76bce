"""What the runs say, in words, above all else; and what to beware of."""

from collections.abc import Sequence

from rayal.report import findings
from rayal.report.group_tables import pair_table
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Fold, Section, Table, Text
from rayal.report.page.seen import Seen
from rayal.report.verdicts import verdicts


def section(seen: Seen) -> Section | None:
    """A sentence for each arm, then the warnings."""
    blocks: list[Block] = [*seen.parts({group.question: _said(group) for group in seen.groups})]
    blocks += [Text(warning, "warning") for warning in seen.summary.warnings]
    return Section("Verdict", blocks) if blocks else None


def _said(group: Group) -> Sequence[Block]:
    known = [each for each in verdicts(group) if each.kind != "unknown"]
    if not known:
        return []
    how = Table.of(findings.verdict_table(group))
    return [
        *(Text(f"{each.sentence}.", "lead") for each in known),
        Fold("How that is judged", [Text(how.note, "note"), *_pairs(group)]),
    ]


def _pairs(group: Group) -> Sequence[Block]:
    table = pair_table(group)
    return [Table.of(table)] if table.rows else []
