"""What a sweep will do and what it will cost: its arms, and all trials together."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayal.errors import counted
from rayal.experiment.experiment import Experiment
from rayal.experiment.identity import identifying
from rayal.experiment.sweep.control import CONTROL
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Trial
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.amounts import duration, size
from rayal.report.places import printable
from rayal.report.shown import as_html, text
from rayal.storage.folder import Folder, Json
from rayal.workflows.plan import Tuning, make, tuned
from rayal.workflows.plan.lines import ends_lines, kept_lines, spent
from rayal.workflows.plan.probe import Probe, measure
from rayal.workflows.plan.run_plan import Plan
from rayal.workflows.plan.sizes import WHILE_TRAINING
from rayal.workflows.plan.tariff import FREE, Tariff
from rayal.workflows.plan.times import common_start_seconds
from rayal.workflows.sweep.folder import SweepFolder, labels_of, tuned_alike

if TYPE_CHECKING:
    from rich.console import Group


NAMED = 3  # arms of a line that is not of all


@dataclass(frozen=True)
class SweepPlan:
    """The arms of a sweep, each with the plan of one trial."""

    arms: tuple[tuple[str, Plan], ...]
    seeds: int
    trials: int
    """Arms with all seeds; where an algorithm proposes arms, draws with all seeds."""
    at_once: int
    """Trials that this machine has room for."""
    saved_seconds: float
    """Of first trainings that several trials have in common, and of cluster and workers that all
    have."""
    tariff: Tariff
    control: int = 0
    """How many of the arms the space does not name: random selection, see `sweep.control`."""

    @property
    def seconds(self) -> float | None:
        """Of all trials, one after another; None where nothing was timed."""
        totals = (plan.total_seconds for _, plan in self.arms)
        each = [seconds for seconds in totals if seconds is not None]
        if len(each) < len(self.arms):
            return None
        return sum(each) / len(each) * self.trials - self.saved_seconds

    @property
    def device_hours(self) -> float | None:
        """Hours of one device for all trials."""
        return None if self.seconds is None else self.seconds / 3600

    @property
    def disk(self) -> float:
        """Bytes of all run folders at the end."""
        return self._of_all([_kept(plan) for _, plan in self.arms])

    @property
    def files(self) -> int:
        """In all run folders."""
        return round(self._of_all([plan.files for _, plan in self.arms]))

    @property
    def labels(self) -> float:
        """What all trials spend, as if each bought its own."""
        return self._of_all([plan.budget for _, plan in self.arms])

    def _of_all(self, amounts: list[int] | list[float]) -> float:
        return sum(amounts) / len(amounts) * self.trials

    def to_dict(self) -> Json:
        """As JSON."""
        return {
            "arms": [{"arm": arm, **plan.to_dict()} for arm, plan in self.arms],
            "control": self.control,
            "seeds": self.seeds,
            "trials": self.trials,
            "trials_at_once": self.at_once,
            "seconds": self.seconds,
            "device_hours": self.device_hours,
            "disk": self.disk,
            "files": self.files,
            "price": self.tariff.price(self.device_hours, self.labels, self.arms[0][1].unit),
        }

    def to_rich(self) -> "Group":
        """As a table of the arms, the totals below it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        timed = self.seconds is not None
        table = Table("arm", "trains", "cycles", *(["time"] if timed else []), "disk", box=None)
        for column in table.columns[2:]:
            column.justify = "right"
        for arm, plan in self.arms:
            time = [duration(plan.total_seconds or 0.0)] if timed else []
            cells = (str(len(plan.cycles)), *time, size(_kept(plan)))
            table.add_row(Text(printable(arm)), Text(plan.training), *cells)
        return Group(table, Text("\n".join(["", *self._totals()])))

    def __str__(self) -> str:
        return text(self.to_rich())

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def _totals(self) -> Iterator[str]:
        if (end := self.arms[0][1].fine_tune) is not None:
            yield from end.lines(self.arms[0][1].tuned)
        yield f"trials  {self.trials:,}, each of {self.seeds} seeds for every arm"
        bought = dict.fromkeys(spent(plan.budget, plan.unit) for _, plan in self.arms)
        yield f"buys    {' or '.join(bought)} in each trial"
        if self.control:
            more = counted(self.control * self.seeds, "trial")
            yield f"control {CONTROL}, {more} of these; sweep.control: null leaves it out"
        if self.seconds is not None:
            here = duration(self.seconds / self.at_once)
            at_once = "one trial" if self.at_once == 1 else f"{self.at_once} trials"
            yield f"time    {here} on this machine, {at_once} at a time"
        yield f"disk    {size(self.disk)}"
        yield f"files   about {self.files:,}"
        _, plan = self.arms[0]
        yield from kept_lines(plan.keep)
        yield from ends_lines(plan.ends)
        yield from self.tariff.lines(self.device_hours, self.labels, plan.unit)
        for line, arms in self._said(lambda plan: plan.fits):
            yield f"fit     {line}{arms}"
        for warning, arms in self._said(lambda plan: plan.warnings):
            yield f"warning: {warning}{arms}"

    def _said(self, by: Callable[[Plan], Sequence[str]]) -> Iterator[tuple[str, str]]:
        """What plans say, each line once, and of which arms, unless it is all."""
        of: dict[str, list[str]] = {}
        for arm, plan in self.arms:
            for line in dict.fromkeys(by(plan)):
                of.setdefault(line, []).append(printable(arm))
        for line, arms in of.items():
            named = "; ".join(arms[:NAMED]) + f" and {len(arms) - NAMED} more" * (len(arms) > NAMED)
            yield line, "" if len(arms) == len(self.arms) else f" ({named})"


def make_sweep(
    x: SweptExperiment,
    plugins: Plugins = NO_PLUGINS,
    *,
    probe: bool = True,
    tariff: Tariff = FREE,
    units: int | None = None,
) -> SweepPlan:
    """The plan of a sweep, for a pool of so many `units` as those that are there; with `probe`,
    times a few batches of each kind of arm on this machine: arms of one kind differ in numbers
    only. Raises as the sweep would at its start."""
    first = arms_of(x, plugins)
    timings: dict[str, Probe] = {}
    ends: dict[str, Tuning | None] = {}
    plans: list[Plan] = []
    for trial in first:
        store = trial.experiment.dataset.open()
        if probe and (kind := _kind(trial.experiment)) not in timings:
            timings[kind] = measure(trial.experiment, store)
        timed = timings.get(_kind(trial.experiment))
        if (end := tuned_alike(trial.experiment)) not in ends:
            ends[end] = tuned(trial.experiment, store, probe=probe, plugins=plugins)
        plan = make(
            *(trial.experiment, store),
            probe=False,
            timed=timed,
            tuning=ends[end],
            tariff=tariff,
            units=units,
        )
        plans.append(plan)
    seeds = len(x.sweep.seeds)
    draws = x.sweep.samples if x.sweep.search == "optuna" else len(first)
    named = list(labels_of(first).values())
    shared = _saved(first, plans) * seeds if x.sweep.share_first_cycle else 0.0
    saved = shared if draws == len(first) else 0.0
    saved += common_start_seconds(x) * (draws * seeds - 1)
    return SweepPlan(
        arms=tuple(zip(named, plans, strict=True)),
        seeds=seeds,
        trials=draws * seeds,
        at_once=_at_once(x),
        saved_seconds=saved,
        tariff=tariff,
        control=len(_planned(x, plugins).control),
    )


def arms_of(x: SweptExperiment, plugins: Plugins) -> list[Trial]:
    """The first trial of every arm that can be known before, checked."""
    return _planned(x, plugins).checked_arms()


def _planned(x: SweptExperiment, plugins: Plugins) -> SweepFolder:
    return SweepFolder(x, Folder("memory://a-sweep-that-is-planned"), plugins)


def _kind(x: Experiment) -> str:
    """What decides how long a batch takes, but for small numbers."""
    strategies = sorted(each.part_name() for each in (*x.scored().values(), x.first))
    fields: list[Any] = [x.model.model_dump(mode="json"), x.scheme.part_name(), strategies]
    return json.dumps([*fields, x.scheme.batch_size, x.ensemble, x.dataset.part_name()])


def _saved(first: list[Trial], plans: list[Plan]) -> float:
    """Seconds of one seed's first trainings that are taken from another trial."""
    seen: set[str] = set()
    saved = 0.0
    for trial, plan in zip(first, plans, strict=True):
        x, timed = trial.experiment, plan.probe
        meant = identifying(x.model_dump(mode="json"))
        same = json.dumps(
            {key: meant.get(key) for key in ("dataset", "model", "task", "scheme", "first")},
            sort_keys=True,
        ) + json.dumps([type(spec).__qualname__ for spec in x.companions()])
        if same in seen and timed is not None:
            cycle = plan.cycles[0]
            saved += x.ensemble * cycle.steps * timed.step(min(cycle.labels, x.scheme.batch_size))
        seen.add(same)
    return saved


def _at_once(x: SweptExperiment) -> int:
    """Trials that run side by side here."""
    room = int((os.cpu_count() or 1) // x.sweep.cpus) if x.compute.engine == "local" else 1
    return max(1, min(room, x.sweep.concurrent or room))


def _kept(plan: Plan) -> int:
    """Bytes that stay when a run is over."""
    return sum(count for what, count in plan.disk.items() if what != WHILE_TRAINING)
