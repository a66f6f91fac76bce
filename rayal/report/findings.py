"""The tables of what runs say together: verdicts, labels to reach, who beats whom, ranks."""

import math
from collections.abc import Sequence

from rayal.errors import counted
from rayal.report import metric
from rayal.report.arms import Arm
from rayal.report.groups import BASELINE, Group
from rayal.report.ranks import LEVEL
from rayal.report.reach import Reach, Reached, saved
from rayal.report.standings import RANKED, SEEDS, Standings
from rayal.report.table import Table
from rayal.report.verdicts import verdicts

MATRIX = 8
"""Arms side by side in a matrix at most; CSV and JSON have all."""
NONE = "–"


def verdict_table(g: Group) -> Table:
    """Every arm against its baseline; no rows where nothing can be said of any."""
    found = verdicts(g)
    known = any(each.kind != "unknown" for each in found)
    rows = [[each.arm, each.sentence] for each in found] if known else []
    note = (
        f"against {BASELINE} with the same scheme and settings: paired t-test of areas over seeds,"
        " with Holm's correction for all pairs; a smaller difference than one that cannot be seen"
        " would be missed more often than once in five times"
    )
    return Table(f"{g.question}: verdict", ["strategy", "verdict"], rows, note, prose=True)


def reach_table(g: Group) -> Table:
    """Labels to reach of every arm, and what they save; no rows where there is no height."""
    rows = [row for arm in g.arms if (row := _reach_row(g, arm))]
    header = ["strategy", "to reach", "seeds", g.counted, "of the mean curve", "saved"]
    which = f"where {BASELINE} ends" if g.target is None else "as asked"
    note = (
        f"height: {which}; the first time, on straight lines between measured points, never beyond"
        " them; mean ± half of the 95 % t-interval where all seeds reach it; saved: of the mean"
        f" curves, against {BASELINE}"
    )
    return Table(f"{g.question}: {g.counted} to reach", header, rows, note)


def _reach_row(g: Group, arm: Arm) -> list[str]:
    height, baseline = g.height(arm), g.baseline(arm)
    if height is None or not arm.complete:
        return []
    found = g.reach(arm, height)
    share = None
    if baseline is not None and baseline is not arm:
        share = saved(found, g.reach(baseline, height))
    shown = NONE if share is None else f"{share:.0%}".replace("%", " %")
    cells = [f"{found.n} of {len(found.seeds)}", _labels(found), _count(found.mean_curve), shown]
    return [arm.label, metric.height(height, g.metric), *cells]


def _labels(found: Reach) -> str:
    if (labels := found.labels) is None:
        return NONE
    if any(each is not None and each.at_most for each in found.seeds.values()):
        return f"at most {labels.mean:,.0f}"
    half = "" if labels.half is None else f" ± {labels.half:,.0f}"
    return f"{labels.mean:,.0f}{half}"


def _count(found: Reached | None) -> str:
    if found is None:
        return "not reached"
    return f"{'at most ' if found.at_most else ''}{found.labels:,.0f}"


def standing_table(s: Standings) -> Table:
    """Arms by their mean rank, with how often they beat and are beaten; none below RANKED arms."""
    header = ["strategy", "mean rank", "beats", "is beaten", "not separated from"]
    title = f"{s.title}: ranks"
    if len(s.arms) < RANKED or not s.compared:
        return Table(title, header, [], "")
    wins, losses = s.wins, s.losses
    rows = [
        [
            s.arms[arm],
            NONE if s.ranking is None else f"{s.ranking.means[arm]:.2f}",
            _share(wins[arm]),
            _share(losses[arm]),
            ", ".join(_near(s, arm)) or NONE,
        ]
        for arm in s.order
    ]
    return Table(title, header, rows, _ranking_note(s))


def _near(s: Standings, arm: int) -> list[str]:
    """Those that the critical difference does not separate it from, the best first."""
    together = [] if s.ranking is None else s.ranking.together
    near = dict.fromkeys(each for group in together if arm in group for each in group)
    return [s.arms[each] for each in near if each != arm]


def _ranking_note(s: Standings) -> str:
    beaten = (
        "beats, is beaten: mean over the others of the share of label counts at which a paired"
        f" t-test at {LEVEL:.0%}".replace("%", " %")
        + " says so, without correction (Ash et al., 2020)"
    )
    if s.settings > 1:
        beaten += f", added over {s.settings} settings"
    if s.ranking is None:
        return beaten
    r = s.ranking
    blocks = counted(r.blocks, s.blocks.removesuffix("s"))
    what = f"ranks of areas over {blocks}, 1 is the best; critical difference {r.critical:.2f}"
    friedman = f"Friedman's p {metric.p_value(r.p)}"
    if r.p >= LEVEL:
        friedman += ", so that nothing is separated"
    scope = "; blocks are seeds: it speaks of this dataset alone" if s.blocks == SEEDS else ""
    return f"{what} (Nemenyi, 5 %), {friedman}{scope}; {beaten}"


def penalty_table(s: Standings) -> Table:
    """The pairwise penalty matrix; none below RANKED arms or above MATRIX."""
    header = ["beats", *s.arms]
    title = f"{s.title}: penalties"
    if not RANKED <= len(s.arms) <= MATRIX or not s.compared:
        return Table(title, header, [], "")
    rows = [
        [name, *map(_share, row)] for name, row in zip(s.arms, s.penalties.tolist(), strict=True)
    ]
    rows.append(["mean loss", *map(_share, s.losses)])
    where = f"{counted(len(s.counts), 'label count')} after the first"
    what = (
        f"share of {where}" if s.settings == 1 else f"share of label counts, summed over {s.title},"
    )
    note = f"{what} at which the row beats the column: paired t-test over seeds at 5 %"
    return Table(title, header, rows, note)


def rank_table(s: Standings, counts: Sequence[int]) -> Table:
    """Mean ranks at some label counts; no rows without a ranking."""
    header = ["strategy", *map(str, counts)]
    rows = [
        [name, *(f"{s.by_count[at][arm]:.2f}" for at in counts)]
        for arm, name in enumerate(s.arms if s.by_count else ())
    ]
    note = "mean over seeds of the rank among all arms at that number of labels, 1 is the best"
    return Table(f"{s.title}: mean rank by labels", header, rows, note)


def _share(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NONE
