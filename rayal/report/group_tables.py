"""The other tables of a group: references, pairs, and what observers, random draws, guards and the
networks of the end say.
"""

from collections.abc import Iterable

from rayal.data.tasks.base import metric_of
from rayal.report import explored, fine_tuned, guarded, metric
from rayal.report.curve_table import COLUMNS, spread
from rayal.report.findings import penalty_table, rank_table, reach_table, standing_table
from rayal.report.groups import BASELINE, Group, Pair
from rayal.report.overlaps import overlap_table
from rayal.report.standings import of_group
from rayal.report.table import Table


def other_tables(g: Group) -> Iterable[Table]:
    """All but its verdict, its curves and its matrices; some have no rows."""
    yield reference_table(g)
    yield reach_table(g)
    yield pair_table(g)
    yield standing_table(of_group(g))
    yield from tuned_tables(g)
    yield from agreement_tables(g)
    yield from explored_tables(g)
    yield from guard_tables(g)


def matrices(g: Group) -> Iterable[Table]:
    """Arms against arms, or against label counts; some have no rows."""
    standings = of_group(g)
    yield penalty_table(standings)
    yield rank_table(standings, spread(g.shared, COLUMNS))
    yield overlap_table(g)


def reference_table(g: Group) -> Table:
    """Every reference, and which arms reach it."""
    rows = []
    for each in g.references:
        reached = {arm.label: each.reached_by(arm) for arm in g.arms}
        told = [f"{label} with {at:,}" for label, at in reached.items() if at is not None]
        size = each.arm.size.removeprefix("n = ")
        rows.append(
            [each.name, size, f"{each.labels:,}", metric.cell(each.point, g.metric)]
            + [", ".join(told) or "–"]
        )
    what = f"{g.metric}{metric.unit(g.metric)}"
    header = ["reference", "n", g.counted, what, "reached by"]
    note = f"reached: the first count of {g.counted} at which an arm's mean is as high"
    return Table(f"{g.question}: references", header, rows, note)


def pair_table(g: Group) -> Table:
    """Every pair of arms that is tested."""
    rows = _pair_rows(g, g.pairs)
    header = ["difference in AULC", "seeds", "mean", "p", "p (Holm)", "verdict"]
    note = "two-sided paired t-test over common seeds; Holm's correction over all pairs shown"
    if not g.compares_all:
        note += f"; of {len(g.arms)} arms only pairs with {BASELINE}"
    return Table(f"{g.question}: pairs", header, rows, note)


def _pair_rows(g: Group, pairs: Iterable[Pair]) -> list[list[str]]:
    return [
        [
            f"{pair.first} - {pair.second}",
            str(pair.test.difference.n),
            metric.cell(pair.test.difference, g.metric),
            metric.p_value(pair.test.p),
            metric.p_value(pair.holm),
            pair.verdict,
        ]
        for pair in pairs
    ]


def tuned_tables(g: Group) -> Iterable[Table]:
    """What the networks that were fine-tuned at the end come to, and every pair of them."""
    what = f"{g.metric}{metric.unit(g.metric)}"
    title = f"{g.question}: fine-tuned at the end, {what}"
    yield Table(title, fine_tuned.header(g), fine_tuned.rows(g), fine_tuned.note(g))
    header = ["difference when fine-tuned", "seeds", "mean", "p", "p (Holm)", "verdict"]
    note = "two-sided paired t-test over common seeds; Holm's correction over all pairs shown"
    rows = _pair_rows(g, fine_tuned.pairs(g))
    yield Table(f"{g.question}: pairs when fine-tuned", header, rows, note)


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
