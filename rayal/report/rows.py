"""What groups of runs say, as rows of plain values: their arms, their curves, their pairs.

A value that is not known, such as a mean where a seed is missing, is None.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import stdev
from typing import TYPE_CHECKING

from rayal.report import fine_tuned
from rayal.report.arms import Arm
from rayal.report.groups import Group
from rayal.report.standings import Standings
from rayal.report.statistics import interval
from rayal.report.verdicts import Verdict
from rayal.report.verdicts import verdicts as of_arms
from rayal.storage import csv_file
from rayal.storage.folder import Json

if TYPE_CHECKING:
    from rayal.report.tables import Summary

ARM = ["name", "dataset", "metric", "arm", "strategy", "scheme", "settings"]
SPREAD = ["sd", "half_interval"]
ARMS = [
    *ARM,
    "n",
    "complete",
    "labels",
    "mean",
    "sd",
    "half_interval",
    "aulc",
    "aulc_sd",
    "aulc_half_interval",
    "fine_tuned",
    "fine_tuned_sd",
    "fine_tuned_half_interval",
]
POINTS = [*ARM, "labels", "n", "mean", "sd", "half_interval"]
PAIRS = [
    "name",
    "dataset",
    "first",
    "second",
    "n",
    "mean",
    "half_interval",
    "p",
    "p_holm",
    "verdict",
]
REFERENCES = [
    *("name", "dataset", "metric", "reference", "labels", "n"),
    *("mean", "sd", "half_interval", "arm", "reached_at"),
]
VERDICTS = [
    *("name", "dataset", "metric", "arm", "baseline", "kind", "seeds"),
    *("difference", "half_interval", "p_holm", "smallest_difference"),
    *("height", "reached_by", "of", "labels", "labels_half_interval"),
    *("labels_of_mean_curve", "at_most", "saved", "verdict"),
]
PENALTIES = ["title", "winner", "loser", "share", "settings", "counts"]
RANKS = ["title", "arm", "labels", "rank", "blocks"]
"""The keys of each kind of row, in their order."""


def arms(groups: Iterable[Group]) -> list[Json]:
    """A row per arm: n seeds, how many of them are complete, the metric at its last label count,
    the area under the curve of the complete ones, and what networks reached that were fine-tuned at
    the end; all with the standard deviation over seeds and half of the 95 % t-interval."""
    return [_arm(group, arm) for group in groups for arm in group.arms]


def points(groups: Iterable[Group]) -> list[Json]:
    """A row per arm and label count; the mean is None unless every seed has the point."""
    return [
        {
            **_named(group, arm),
            "labels": at,
            "n": len(arm.values(at)),
            **_spread(arm.values(at), len(arm.runs)),
        }
        for group in groups
        for arm in group.arms
        for at in arm.labels
    ]


def pairs(groups: Iterable[Group]) -> list[Json]:
    """A row per pair of arms that is tested: the difference in area, first less second, over common
    seeds; p of the paired t-test, and that with Holm's correction."""
    return [
        {
            "name": group.name,
            "dataset": group.dataset,
            "first": pair.first,
            "second": pair.second,
            "n": pair.test.difference.n,
            "mean": pair.test.difference.mean,
            "half_interval": pair.test.difference.half,
            "p": pair.test.p,
            "p_holm": pair.holm,
            "verdict": pair.verdict,
        }
        for group in groups
        for pair in group.pairs
    ]


def references(groups: Iterable[Group]) -> list[Json]:
    """A row per reference and arm of its group: the reference's own labels and metric, and the
    first label count at which the arm's mean is as high, None where it is at none."""
    return [
        {
            "name": group.name,
            "dataset": group.dataset,
            "metric": group.metric,
            "reference": each.name,
            "labels": each.labels,
            "n": len(each.arm.runs),
            **_spread(each.arm.values(each.labels), len(each.arm.runs)),
            "arm": arm.label,
            "reached_at": each.reached_by(arm),
        }
        for group in groups
        for each in group.references
        for arm in group.arms
    ]


def verdicts(groups: Iterable[Group]) -> list[Json]:
    """A row per arm that is no baseline, against its baseline: the difference in area with half of
    its interval, p with Holm's correction, the smallest difference that so many seeds could have
    shown; the height that labels are counted up to, how many of the complete seeds reach it, their
    mean where all do, the labels of the mean curve (`at_most`: it begins as high), and the share
    saved against the baseline; the verdict in words."""
    return [_verdict(group, each) for group in groups for each in of_arms(group)]


def _verdict(group: Group, v: Verdict) -> Json:
    reach, difference = v.reach, v.difference
    labels = reach and reach.labels
    mean_curve = reach and reach.mean_curve
    return {
        "name": group.name,
        "dataset": group.dataset,
        "metric": group.metric,
        "arm": v.arm,
        "baseline": v.baseline,
        "kind": v.kind,
        "seeds": v.seeds,
        "difference": difference and difference.mean,
        "half_interval": difference and difference.half,
        "p_holm": v.holm,
        "smallest_difference": v.smallest,
        "height": reach and reach.height,
        "reached_by": reach and reach.n,
        "of": reach and len(reach.seeds),
        "labels": labels and labels.mean,
        "labels_half_interval": labels and labels.half,
        "labels_of_mean_curve": mean_curve and mean_curve.labels,
        "at_most": mean_curve and mean_curve.at_most,
        "saved": v.saved,
        "verdict": v.sentence,
    }


def penalties(standings: Iterable[Standings]) -> list[Json]:
    """A row per two arms that were compared, winner first: the share of label counts at which it
    beats the loser, summed over so many settings; the counts, where it is one setting."""
    return [
        {
            "title": s.title,
            "winner": winner,
            "loser": loser,
            "share": float(s.penalties[i, j]),
            "settings": s.settings,
            "counts": len(s.counts) or None,
        }
        for s in standings
        for i, winner in enumerate(s.arms)
        for j, loser in enumerate(s.arms)
        if math.isfinite(s.penalties[i, j])
    ]


def ranks(standings: Iterable[Standings]) -> list[Json]:
    """A row per arm and label count, and one of its area, where `labels` is None: the mean rank
    over so many blocks, 1 the best."""
    found = []
    for s in standings:
        if s.ranking is None:
            continue
        of_areas: tuple[int | None, Sequence[float]] = (None, s.ranking.means)
        for at, means in (of_areas, *s.by_count.items()):
            for arm, rank in zip(s.arms, means, strict=True):
                row = (s.title, arm, at, rank, s.ranking.blocks)
                found.append(dict(zip(RANKS, row, strict=True)))
    return found


def standing(s: Standings) -> Json:
    """All of one as JSON: A A and A lists in the order of `arms`, None for what is not known."""
    r = s.ranking
    return {
        "title": s.title,
        "arms": list(s.arms),
        "penalties": [_known(row) for row in s.penalties.tolist()],
        "losses": _known(s.losses.tolist()),
        "settings": s.settings,
        "counts": list(s.counts),
        "blocks": s.blocks,
        "ranking": r and {**r._asdict(), "together": r.together},
        "ranks": [{"labels": at, "ranks": list(means)} for at, means in s.by_count.items()],
    }


def files(summary: "Summary") -> dict[str, bytes]:
    """`verdicts.csv`, `penalties.csv` and `ranks.csv`, of which there are rows."""
    found = {
        "verdicts": (VERDICTS, verdicts(summary.groups)),
        "penalties": (PENALTIES, penalties(summary.standings)),
        "ranks": (RANKS, ranks(summary.standings)),
    }
    return {
        f"{name}.csv": csv_file.dump(keys, [[row[key] for key in keys] for row in made]).encode()
        for name, (keys, made) in found.items()
        if made
    }


def _known(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _named(group: Group, arm: Arm) -> Json:
    of_group = (group.name, group.dataset, group.metric)
    named = (*of_group, arm.label, arm.strategy, arm.scheme, arm.settings)
    return dict(zip(ARM, named, strict=True))


def _arm(group: Group, arm: Arm) -> Json:
    last = arm.labels[-1] if arm.labels else None
    reached = _spread([] if last is None else arm.values(last), len(arm.runs))
    areas = list(group.areas(arm).values())
    area = _spread(areas, len(areas))
    networks = tuned.values.values() if (tuned := fine_tuned.of_arm(arm)) is not None else ()
    ended = _spread([*networks], len(networks))
    return {
        **_named(group, arm),
        "n": len(arm.runs),
        "complete": len(arm.complete),
        "labels": last,
        **reached,
        "aulc": area["mean"],
        **{f"aulc_{key}": area[key] for key in SPREAD},
        "fine_tuned": ended["mean"],
        **{f"fine_tuned_{key}": ended[key] for key in SPREAD},
    }


def _spread(values: Sequence[float], of: int) -> Json:
    """Mean, deviation and half interval of `of` values; None where some are missing, or, of one,
    of what a single value does not tell."""
    if not values or len(values) < of:
        return dict.fromkeys(["mean", *SPREAD])
    point = interval(values)
    deviation = stdev(values) if len(values) > 1 else None
    return {"mean": point.mean, "sd": deviation, "half_interval": point.half}
