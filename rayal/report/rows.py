"""What groups of runs say, as rows of plain values: their arms, their curves, their pairs.

A value that is not known, such as a mean where a seed is missing, is None.
"""

from collections.abc import Iterable, Sequence
from statistics import stdev

from rayal.report.runs import Arm, Group
from rayal.report.statistics import interval
from rayal.storage.folder import Json

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
"""The keys of each kind of row, in their order."""


def arms(groups: Iterable[Group]) -> list[Json]:
    """A row per arm: n seeds, how many of them are complete, the metric at its last label count,
    and the area under the curve of the complete ones; both with the standard deviation over seeds
    and half of the 95 % t-interval."""
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


def _named(group: Group, arm: Arm) -> Json:
    of_group = (group.name, group.dataset, group.metric)
    named = (*of_group, arm.label, arm.strategy, arm.scheme, arm.settings)
    return dict(zip(ARM, named, strict=True))


def _arm(group: Group, arm: Arm) -> Json:
    last = arm.labels[-1] if arm.labels else None
    reached = _spread([] if last is None else arm.values(last), len(arm.runs))
    areas = list(group.areas(arm).values())
    area = _spread(areas, len(areas))
    return {
        **_named(group, arm),
        "n": len(arm.runs),
        "complete": len(arm.complete),
        "labels": last,
        **reached,
        "aulc": area["mean"],
        **{f"aulc_{key}": area[key] for key in SPREAD},
    }


def _spread(values: Sequence[float], of: int) -> Json:
    """Mean, deviation and half interval of `of` values; None where some are missing, or, of one,
    of what a single value does not tell."""
    if not values or len(values) < of:
        return dict.fromkeys(["mean", *SPREAD])
    point = interval(values)
    deviation = stdev(values) if len(values) > 1 else None
    return {"mean": point.mean, "sd": deviation, "half_interval": point.half}
