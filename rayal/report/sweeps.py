"""What a sweep found: a row per trial, and its arms from best to worst."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rayal.report.runs import Arm, Group, Run, varied
from rayal.report.statistics import Interval, aulc, interval
from rayal.runs.record import Record
from rayal.storage import csv_file

PARTS = ("strategy", "scheme")
ABSENT = "–"
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


def reached(group: Group, arm: Arm, objective: str) -> dict[int, float]:
    """The objective of each complete trial of an arm by seed: `aulc`, or the `final` metric."""
    if objective == "aulc":
        return group.areas(arm)
    return {run.seed: run.points[max(run.measured)] for run in arm.complete if run.measured}


def objective_so_far(points: Mapping[int, float], objective: str) -> float:
    """Of one trial, from its label counts and metrics: the area under the curve, or the last one.

    The area of a single point is its height.
    """
    labels = sorted(points)
    values = [points[at] for at in labels]
    return values[-1] if objective == "final" or len(labels) < 2 else aulc(labels, values)


def to_csv(records: Sequence[Record], objective: str) -> str:
    """A row per trial: folder, strategy, scheme, what is varied, seed, state, labels, metric,
    objective, seconds of all stages."""
    trials = [(record, Run.read(record)) for record in records]
    varied_keys = keys([run for _, run in trials])
    header = ["folder", *varied_keys, "seed", "complete"]
    header += ["labels", "metric", "value", objective, "seconds"]
    rows = list[list[Any]]()
    for record, run in trials:
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
    return csv_file.dump(header, rows)


def keys(runs: Sequence[Run]) -> list[str]:
    """What tells trials apart: strategy and scheme, and the settings that differ where both are the
    same; those that only one strategy has come with its name."""
    parts = [key for key in PARTS if len({getattr(run, key) for run in runs}) > 1]
    alike: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        alike[run.strategy, run.scheme].append(run)
    return [*parts, *dict.fromkeys(key for members in alike.values() for key in varied(members))]


def setting(run: Run, key: str) -> str:
    """The value of one of the `keys`, in words."""
    return getattr(run, key) if key in PARTS else run.settings.get(key, ABSENT)


def _seconds(record: Record) -> float:
    """Of all finished stages."""
    rows = record.cycles()
    return sum(row[key] or 0.0 for row in rows for key in row if key.endswith("_seconds"))
