"""What a sweep found: a row per trial, and its arms from best to worst."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rayal.report import labels, metric
from rayal.report.arms import Arm
from rayal.report.groups import Group
from rayal.report.runs import Run
from rayal.report.statistics import Interval, aulc, holm, interval, paired_test
from rayal.runs.record import Record
from rayal.storage import csv_file
from rayal.storage.folder import MISSING

PARTS = ("strategy", "scheme")
ABSENT = labels.text(MISSING)
"""Where an arm has no such setting."""


class Ranked(NamedTuple):
    """An arm and what its complete trials reached."""

    arm: Arm
    reached: Interval
    trial: Run
    """Its best one."""


def ranking(group: Group, objective: str) -> list[Ranked]:
    """Arms with a complete trial, the best mean first."""
    found = []
    for arm in group.arms:
        if values := reached(group, arm, objective):
            best = max(values, key=lambda seed: values[seed])
            (trial,) = (run for run in arm.runs if run.seed == best)
            found.append(Ranked(arm, interval(list(values.values())), trial))
    return sorted(found, key=lambda each: (-each.reached.mean, each.arm.label))


def leading(group: Group, objective: str) -> str | None:
    """Who is ahead, and how surely: `best` only where it is separated from every other arm."""
    ranked = ranking(group, objective)
    if not ranked:
        return None
    first, others = ranked[0], len(ranked) - 1
    value = metric.said(first.reached, group.metric)
    if first.reached.half is None:
        return f"highest value  {first.arm.label}: {value} of one seed, so without an interval"
    said = f"{first.arm.label}: {value} (95 % interval over {first.reached.n} seeds)"
    if not others:
        return f"only arm  {said}"
    if close := others - _separated(group, ranked, objective):
        return f"highest mean  {said}; not separated from {close} of {others} others"
    return f"best arm  {said}; separated from all others"


def _separated(group: Group, ranked: Sequence[Ranked], objective: str) -> int:
    """From how many others the first arm is separated at an error rate of 5 % for all of them."""
    of_first = reached(group, ranked[0].arm, objective)
    found = []
    for other in ranked[1:]:
        of_other = reached(group, other.arm, objective)
        began = ranked[0].arm.initial, other.arm.initial
        seeds = [s for s in of_first if s in of_other and began[0][s] == began[1][s]]
        p = (
            paired_test([of_first[s] for s in seeds], [of_other[s] for s in seeds]).p
            if seeds
            else 1
        )
        found.append(1.0 if p is None else p)
    return sum(p < 0.05 for p in holm(found))


def reached(group: Group, arm: Arm, objective: str) -> dict[int, float]:
    """The objective of each complete trial of an arm by seed: `aulc`, or the `final` metric."""
    if objective == "aulc":
        return group.areas(arm)
    return {run.seed: run.points[max(run.measured)] for run in arm.complete if run.measured}


def objective_so_far(points: Mapping[int, float], objective: str) -> float:
    """Of one trial, from its label counts and metrics: the area under the curve, or the last one.

    The area of a single point is its height. Values that are not finite are left out; NaN where
    there is no other.
    """
    labels = sorted(at for at, value in points.items() if math.isfinite(value))
    if not labels:
        return math.nan
    values = [points[at] for at in labels]
    return values[-1] if objective == "final" or len(labels) < 2 else aulc(labels, values)


def to_csv(records: Sequence[Record], objective: str) -> str:
    """The trials as CSV."""
    return csv_file.dump(*trials(records, objective))


def trials(records: Sequence[Record], objective: str) -> tuple[list[str], list[list[Any]]]:
    """Columns, and a row per trial: folder, strategy, scheme, what is varied, seed, state, labels,
    metric, objective, seconds of all stages; "" for what is not known yet."""
    read = [(record, Run.read(record)) for record in records]
    varied_keys = keys([run for _, run in read])
    header = ["folder", *varied_keys, "seed", "complete"]
    header += ["labels", "metric", "value", objective, "seconds"]
    rows = list[list[Any]]()
    for record, run in read:
        points = {at: run.points[at] for at in run.measured}
        last = max(points, default=None)
        rows.append(
            [
                run.url,
                *(setting(run, key) for key in varied_keys),
                run.seed,
                run.complete,
                "" if last is None else last,
                run.metric,
                "" if last is None else points[last],
                "" if last is None else objective_so_far(points, objective),
                round(_seconds(record), 1),
            ]
        )
    return header, rows


def keys(runs: Sequence[Run]) -> list[str]:
    """What tells trials apart: strategy and scheme, and the settings that differ where both are the
    same; those that only one strategy has come with its name."""
    parts = [key for key in PARTS if len({getattr(run, key) for run in runs}) > 1]
    alike: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        alike[run.strategy, run.scheme].append(run)
    differ = [labels.varied([run.settings for run in members]) for members in alike.values()]
    return [*parts, *dict.fromkeys(key for each in differ for key in each)]


def setting(run: Run, key: str) -> str:
    """The value of one of the `keys`, in words."""
    return labels.text(getattr(run, key) if key in PARTS else run.settings.get(key, MISSING))


def _seconds(record: Record) -> float:
    """Of all finished stages."""
    rows = record.cycles()
    return sum(row[key] or 0.0 for row in rows for key in row if key.endswith("_seconds"))
