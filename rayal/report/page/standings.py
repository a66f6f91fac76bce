"""How all arms stand against each other: who beats whom, and how they rank."""

import math
from collections.abc import Sequence

from rayal.report import findings
from rayal.report.drawing import style
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Cell, Figure, Part, Section, Table, number
from rayal.report.page.seen import Seen
from rayal.report.standings import Standings, of_group, over_groups
from rayal.storage.folder import Json


def section(seen: Seen) -> Section | None:
    """Ranks and penalties of each group, then those over all of them."""
    found = {group.question: _blocks(of_group(group), group) for group in seen.groups}
    blocks = [*seen.parts(found)]
    if (over := over_groups(seen.groups)) is not None:
        together = _blocks(over)
        blocks += [Part(over.title, together)] if together else []
    return Section("Arms against each other", blocks) if blocks else None


def _blocks(s: Standings, group: Group | None = None) -> Sequence[Block]:
    table = findings.standing_table(s)
    if not table.rows:
        return []
    ranked = Table.of(table) if s.ranking is None else _ranks(s, Table.of(table))
    blocks: list[Block] = [ranked, _penalties(s)]
    if s.by_count and group is not None:
        blocks.append(_by_count(s, group))
    return blocks


def _ranks(s: Standings, table: Table) -> Figure:
    """The critical-difference diagram."""
    assert s.ranking is not None
    return Figure(
        title=f"Mean ranks and critical difference: {s.title}",
        draws="ranks",
        says="Mean rank of each arm, 1 is the best; bars join arms that are not separated; all of"
        " it is in the table below",
        data={
            "names": [s.arms[arm] for arm in s.order],
            "ranks": [s.ranking.means[arm] for arm in s.order],
            "critical": s.ranking.critical,
            "together": [
                [min(ranks), max(ranks)]
                for arms in s.ranking.together
                if (ranks := [s.ranking.means[arm] for arm in arms])
            ],
        },
        table=table,
    )


def _penalties(s: Standings) -> Figure:
    values = [
        [value if math.isfinite(value) else None for value in row] for row in s.penalties.tolist()
    ]
    rows: list[Sequence[Cell]] = [
        [name, *(number(value, ".2f") for value in row)]
        for name, row in zip(s.arms, values, strict=True)
    ]
    rows.append(["mean loss", *(number(float(value), ".2f") for value in s.losses)])
    note = (
        "share of label counts at which the row beats the column: paired t-test over seeds at 5 %,"
        " without correction (Ash et al., 2020)"
    )
    if s.settings > 1:
        note += f"; added over {s.settings} settings"
    return Figure(
        title=f"Who beats whom: {s.title}",
        draws="heat",
        says="Heat map: how often the arm of a row beats that of a column; all of its numbers are"
        " in the table below",
        data={
            "rows": [*s.arms],
            "columns": [*s.arms],
            "x": "against",
            "values": values,
            "low": 0,
            "high": s.settings,
            "digits": 2,
        },
        table=Table(f"Penalties: {s.title}", ["beats", *s.arms], rows, note),
    )


def _by_count(s: Standings, group: Group) -> Figure:
    counts = [*s.by_count]
    title = f"Mean rank by {group.counted}: {s.title}"
    rows: list[Sequence[Cell]] = [
        [name, *(number(s.by_count[at][place], ".2f") for at in counts)]
        for place, name in enumerate(s.arms)
    ]
    return Figure(
        title=title,
        draws="lines",
        says=f"Line chart of the mean rank of each arm against {group.counted}; 1 is the best and"
        " above; all of its numbers are in the table below",
        data={
            "x": group.counted.capitalize(),
            "y": "Mean rank",
            "flipped": True,
            "bands": False,
            "heights": [],
            "series": [_series(s, group, place) for place in range(len(s.arms))],
        },
        table=Table(title, ["arm", *(f"{at:,}" for at in counts)], rows, "mean over seeds"),
    )


def _series(s: Standings, group: Group, place: int) -> Json:
    arm = group.arms[place]
    colour, line, _ = style(group, arm)
    return {
        "name": arm.label,
        "size": arm.size,
        "colour": colour,
        "line": line,
        "x": [*s.by_count],
        "y": [ranks[place] for ranks in s.by_count.values()],
    }
