"""Runs as a comparison sees them: learning curves, and all that tells one from another."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from statistics import mean
from typing import Any, Self

from rayal.experiment import identity
from rayal.labeling.budget import Budget
from rayal.report import guarded
from rayal.report.explored import Estimate, estimates
from rayal.runs.record import Record
from rayal.runs.results import TUNED, Chosen
from rayal.storage.folder import Json
from rayal.storage.yaml_node import leaves

DATA = "data"
"""The setting that is the fingerprint of the prepared data."""


def question(name: str, dataset: str) -> str:
    """What all runs of a group are about; a name that is the dataset's is said once."""
    return name if name == dataset else f"{name} on {dataset}"


@dataclass(frozen=True)
class Run:
    """One run folder, reduced to its learning curve."""

    name: str
    dataset: str
    strategy: str
    scheme: str
    seed: int
    metric: str
    """The task's headline metric, or without test images what `headline_of` says in its place."""
    points: dict[int, float]
    """Labels spent -> metric, NaN where it is missing or not finite. Where units differ in cost it
    is what could be spent: what was spent differs a little from seed to seed."""
    complete: bool
    """Whether its budget is spent: its curve is whole."""
    url: str
    initial: frozenset[str] = frozenset()
    """The units labeled before the first training."""
    settings: dict[str, Any] = field(default_factory=dict)
    """All that tells arms apart, by keys such as `scheme.lr`; values as JSON has them."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What tells runs apart that are of one arm and seed: strategies that were only observed."""
    place: str | None = None
    """Where the data lies, if the experiment says so."""
    agreement: dict[tuple[str, str], float] = field(default_factory=dict)
    """Two strategies of the pass -> the share of their choices that is the same, mean of cycles."""
    counted: str = "labels"
    """What is spent: `labels`, or the budget's unit where units differ in cost."""
    stopped: str = ""
    """Which rule has ended it before its budget was spent, and why."""
    guarded: dict[int, Chosen] = field(default_factory=dict)
    """Cycle -> what it chose, where guards have looked at it."""
    picks: dict[int, frozenset[str]] = field(default_factory=dict)
    """Cycle -> the units that it chose, where it chose some."""
    explored: tuple[Estimate, ...] = ()
    """What was drawn at random says of each model."""
    fine_tuned: dict[int, float] = field(default_factory=dict)
    """Labels spent -> the metric of a whole network trained once on these labels."""

    @cached_property
    def measured(self) -> set[int]:
        """The label counts where there is a value."""
        return {at for at, value in self.points.items() if math.isfinite(value)}

    @classmethod
    def read(cls, record: Record) -> Self:
        """The run in a folder, also while it is still going or after it crashed."""
        record.check_whole()
        x = record.experiment()
        unit = x.get("budget", {}).get("unit", "samples")
        differ = unit != "samples"
        spent = partial(_due, record, Budget(**x["budget"])) if differ else itemgetter("labels")
        values = {spent(row): row.get(record.headline) for row in record.cycles()}
        points = {at: math.nan if y is None else y for at, y in values.items()}
        tuned = ((spent(r), r.get(f"{TUNED}{record.headline}")) for r in record.cycles())
        recorded, decisive = record.identity(), identity.identifying(x)
        return cls(
            name=x["name"],
            dataset=x["dataset"]["name"],
            strategy=x["strategy"]["name"],
            scheme=x["scheme"]["name"],
            seed=x["seed"],
            metric=record.headline,
            points={at: y if math.isfinite(y) else math.nan for at, y in points.items()},
            complete=record.whole,
            url=record.folder.url,
            counted=unit if differ else "labels",
            initial=record.initial(),
            settings=settings(x) | ({DATA: recorded[DATA]} if DATA in recorded else {}),
            beside=dict(leaves({key: decisive.get(key) for key in identity.BESIDE})),
            place=x["dataset"].get("root"),
            agreement=_agreement(record),
            stopped=record.stopped or "",
            guarded=guarded.read(record),
            picks=_picks(record),
            explored=tuple(estimates(record)),
            fine_tuned={at: y for at, y in tuned if y is not None and math.isfinite(y)},
        )


def _due(record: Record, budget: Budget, row: Json) -> int:
    """What a cycle's labels could cost, or did where nothing was left to buy."""
    chosen, before = record.result(row["cycle"], Chosen), row["cycle"] - 1
    if chosen is not None and chosen.sold_out:
        return max(int(row["cost"]), budget.due(before - 1) + 1)  # to the right of the last cycle
    return budget.due(before)


def settings(x: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the arm of an experiment from others, by keys such as `scheme.lr`."""
    return dict(leaves(identity.of_arm(x)))


def _picks(record: Record) -> dict[int, frozenset[str]]:
    chosen = {row["cycle"]: record.result(row["cycle"], Chosen) for row in record.cycles()}
    return {at: frozenset(each.ids) for at, each in chosen.items() if each is not None and each.ids}


def _agreement(record: Record) -> dict[tuple[str, str], float]:
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in record.cycles():
        chosen = record.result(row["cycle"], Chosen)
        for first, others in ({} if chosen is None else chosen.agreement).items():
            for second, share in others.items():
                shares[first, second].append(share)
    return {pair: mean(values) for pair, values in shares.items()}
