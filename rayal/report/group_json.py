"""A group of runs as JSON, unrounded."""

from collections.abc import Iterable
from typing import Any

from rayal.report import fine_tuned, overlaps
from rayal.report import rows as plain
from rayal.report.groups import Group, Pair
from rayal.report.standings import of_group
from rayal.report.statistics import Interval


def group_json(g: Group) -> dict[str, Any]:
    """All numbers of a group: curves, areas, tests, verdicts."""
    arms = []
    for arm in g.arms:
        area, by_seed = g.area(arm), g.areas(arm)
        arms.append(
            {
                "strategy": arm.strategy,
                "scheme": arm.scheme,
                "settings": arm.settings,
                "seeds": [run.seed for run in arm.runs],
                "partial": [run.seed for run in arm.runs if not run.complete],
                "curve": [{"labels": at, **_fields(arm.at(at))} for at in arm.labels],
                "aulc": _fields(area) | {"by_seed": by_seed},
                "agreement": [[*pair, share] for pair, share in arm.agreement().items()],
                "fine_tuned": fine_tuned.to_json(fine_tuned.of_arm(arm)),
            }
        )
    return {
        "name": g.name,
        "dataset": g.dataset,
        "metric": g.metric,
        "aulc_labels": g.shared,
        "arms": arms,
        "pairs": _pairs_json(g.pairs),
        "fine_tuned_pairs": _pairs_json(fine_tuned.pairs(g)),
        "fine_tuned_order": fine_tuned.order(g),
        "references": [
            {"name": each.name, "labels": each.labels, **_fields(each.point)}
            for each in g.references
        ],
        "overlaps": overlaps.to_json(g),
        "verdicts": plain.verdicts([g]),
        "standings": plain.standing(of_group(g)),
    }


def _pairs_json(pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    return [
        {
            "first": pair.first,
            "second": pair.second,
            **_fields(pair.test.difference),
            "p": pair.test.p,
            "p_holm": pair.holm,
            "verdict": pair.verdict,
        }
        for pair in pairs
    ]


def _fields(point: Interval | None) -> dict[str, Any]:
    return point._asdict() if point else {"mean": None, "half": None, "n": 0}
