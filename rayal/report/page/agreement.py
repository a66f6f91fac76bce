"""Who agrees with whom: arms by what they bought, strategies by what they would have, annotators;
beside it what guards did and what references say.
"""

from collections.abc import Iterable, Sequence

from rayal.report.group_tables import agreement_tables, guard_tables, reference_table
from rayal.report.groups import Group
from rayal.report.overlaps import Overlap, note, overlaps, shown_by_cycle
from rayal.report.page.blocks import Block, Cell, Figure, Section, Table, number
from rayal.report.page.seen import Seen


def section(seen: Seen) -> Section | None:
    """References, arms that buy the same, strategies that would, guards, annotators."""
    blocks = {group.question: [*_blocks(group)] for group in seen.groups}
    annotators = seen.summary.annotator_table()
    shown = [*seen.parts(blocks), *([Table.of(annotators)] if annotators.rows else [])]
    return Section("References, agreement and guards", shown) if shown else None


def _blocks(group: Group) -> Iterable[Block]:
    yield from _overlaps(group)
    for table in (reference_table(group), *agreement_tables(group), *guard_tables(group)):
        if table.rows:
            yield Table.of(table)


def _overlaps(group: Group) -> Iterable[Figure]:
    found = overlaps(group)
    if not found.pairs:
        return
    yield _heat(
        f"Units that both bought (%): {group.question}",
        "arm",
        found.arms,
        found.arms,
        found.matrix,
        note(group),
    )
    shown = shown_by_cycle(group, found)
    cycles = max((len(each.by_cycle) for each in shown), default=0)
    if cycles > 1:
        yield _heat(
            f"Picks of each cycle that both chose (%): {group.question}",
            "arms",
            [f"{each.first} – {each.second}" for each in shown],
            [f"cycle {cycle}" for cycle in range(cycles)],
            [_padded(each, cycles) for each in shown],
            "of the units that either chose in the cycle, mean over seeds; only in the first cycle"
            " do arms choose from the same units: later ones lack what each had bought",
        )


def _heat(
    title: str,
    what: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    note: str,
) -> Figure:
    cells: list[Sequence[Cell]] = [
        [name, *(number(value, ".1f", 100) for value in row)]
        for name, row in zip(rows, values, strict=True)
    ]
    return Figure(
        title=title,
        draws="heat",
        says=f"Heat map: {note}; all of its numbers are in the table below",
        data={
            "rows": [*rows],
            "columns": [*columns],
            "x": "",
            "values": [[None if value is None else 100 * value for value in row] for row in values],
            "low": 0,
            "high": 100,
            "digits": 0,
        },
        table=Table(title, [what, *columns], cells, note),
    )


def _padded(each: Overlap, cycles: int) -> list[float | None]:
    return [*each.by_cycle, *([None] * (cycles - len(each.by_cycle)))]
