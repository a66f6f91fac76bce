"""What guards did in each cycle of the runs of an arm: balance, distances, what was passed over."""

from collections.abc import Sequence
from statistics import mean

from rayal.runs.record import Record
from rayal.runs.results import Chosen

HEADER = [
    *("cycle", "n", "chosen", "passed over", "largest class"),
    *("to labeled: 0%", "50%", "to chosen: 0%", "50%"),
]
NOTE = (
    "mean over seeds; largest class: share of the chosen that are predicted to be of one class;"
    " to labeled, to chosen: quantiles of the distance to the nearest"
)
NOTHING = "–"
SHOWN = "0%", "50%"
"""Quantiles that the table has; `done.json` of each select stage has more."""


def read(record: Record) -> dict[int, Chosen]:
    """Cycle -> what it chose, where guards have looked at it."""
    found = {row["cycle"]: record.result(row["cycle"], Chosen) for row in record.cycles()}
    return {
        cycle: chosen
        for cycle, chosen in found.items()
        if chosen is not None and (chosen.passed_over or chosen.predicted or chosen.distances)
    }


def rows(runs: Sequence[dict[int, Chosen]]) -> list[list[str]]:
    """A row per cycle that some of these runs have, of `read`; cells of HEADER."""
    cycles = sorted({cycle for run in runs for cycle in run})
    return [_row(cycle, [run[cycle] for run in runs if cycle in run]) for cycle in cycles]


def _row(cycle: int, seeds: Sequence[Chosen]) -> list[str]:
    causes = dict.fromkeys(cause for each in seeds for cause in each.passed_over)
    over = [(cause, mean(each.passed_over.get(cause, 0) for each in seeds)) for cause in causes]
    shares = [
        100 * max(each.predicted.values()) / sum(each.predicted.values())
        for each in seeds
        if each.predicted
    ]
    return [
        str(cycle),
        str(len(seeds)),
        f"{mean(len(each.ids) for each in seeds):g}",
        ", ".join(f"{number:g} {cause}" for cause, number in over) or NOTHING,
        f"{mean(shares):.0f} %" if shares else NOTHING,
        *(_quantile(seeds, of, name) for of in ("labeled", "chosen") for name in SHOWN),
    ]


def _quantile(seeds: Sequence[Chosen], of: str, name: str) -> str:
    values = [each.distances[of][name] for each in seeds if of in each.distances]
    return f"{mean(values):.4g}" if values else NOTHING
