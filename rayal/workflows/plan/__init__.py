"""What a run will do and what it will cost, before anything starts."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from rayal.cycle.candidates import left_out
from rayal.cycle.fine_tune import FineTuning
from rayal.cycle.offer import Offer
from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import counted
from rayal.experiment.experiment import Experiment
from rayal.experiment.explore import share
from rayal.experiment.keep import Keep
from rayal.labeling.budget import CostUnit
from rayal.models.network import feature_width
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.amounts import duration, size
from rayal.report.shown import as_html, text
from rayal.storage.folder import Json
from rayal.workflows import fine_tune
from rayal.workflows.checks import check, check_guards, check_units
from rayal.workflows.plan.cycles import Cycle, Prices, plan_cycles
from rayal.workflows.plan.final_training import FILES, TunePlan, plan_tuning
from rayal.workflows.plan.probe import Probe, measure
from rayal.workflows.plan.sizes import (
    WHILE_TRAINING,
    disk,
    files,
    memory,
    network_of,
    selecting,
    sized,
)
from rayal.workflows.plan.tariff import FREE, Tariff
from rayal.workflows.resources import Resources, shortages
from rayal.workflows.warnings import warnings

if TYPE_CHECKING:
    from rich.console import Group

PRICED = 32  # images whose cost is asked for, where units differ in cost
CONNECT_SECONDS, TRAIN_SECONDS, SCORE_SECONDS = 6.0, 10.0, 4.0
"""Start-up on Ray: of Ray itself, of a training's workers, of a pass's actors (2 cores, 2.60)."""


@dataclass(frozen=True)
class Plan:
    """The cycles of a run, and what they need."""

    cycles: tuple[Cycle, ...]
    seconds: tuple[float, ...] | None
    """Of each cycle on this machine, start-up included; None where nothing was timed."""
    probe: Probe | None
    disk: dict[str, int]
    """What the run folder holds at the end under `keep` -> bytes, before compression."""
    memory: dict[str, int]
    """What a training worker, and the process of the run, hold -> bytes; torch is not counted."""
    warnings: tuple[str, ...]
    training: str
    """How each model is trained, in words: what a file says in another place than is thought."""
    files: int
    """What the run folder holds at the end under `keep`, about."""
    budget: float
    """What is spent on labels, in its unit."""
    unit: CostUnit
    tariff: Tariff
    keep: Keep
    """Which large files of past cycles are left."""
    guards: tuple[str, ...] = ()
    """What guards do, and what it takes, in words."""
    explore: str = ""
    """What is drawn at random, in words."""
    first: str = ""
    """What a strategy chooses before the first training, and from how many, in words."""
    fine_tune: TunePlan | None = None
    """The training after the last cycle."""
    tuned: str = ""
    """How that network is trained, in words."""

    @property
    def total_seconds(self) -> float | None:
        """Of all cycles, and of what comes after them; None where nothing was timed."""
        if self.seconds is None:
            return None
        end = None if self.fine_tune is None else self.fine_tune.seconds
        return sum(self.seconds) + (end or 0.0)

    ends: tuple[str, ...] = ()
    """Rules that may end the run before its last cycle, in words."""

    @property
    def device_hours(self) -> float | None:
        """Hours of one device (a GPU, or the cores of this machine), however many share the work;
        None where nothing was timed."""
        return None if self.total_seconds is None else self.total_seconds / 3600

    @property
    def price(self) -> float | None:
        """In the tariff's currency; None where a price is missing that it would need."""
        return self.tariff.price(self.device_hours, self.budget, self.unit)

    def to_dict(self) -> Json:
        """As JSON."""
        cycles = [cycle._asdict() for cycle in self.cycles]
        known = {"device_hours": self.device_hours, "price": self.price}
        return asdict(self) | {
            "cycles": cycles,
            "tariff": self.tariff._asdict(),
            **known,
            "keep": dict(self.keep),
            "fine_tune": None if self.fine_tune is None else self.fine_tune._asdict(),
        }

    def to_rich(self) -> "Group":
        """As a table of the cycles, the totals below it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(*Cycle._fields, *(["time"] if self.seconds else []), box=None)
        for column in table.columns:
            column.justify = "right"
        for i, cycle in enumerate(self.cycles):
            time = [duration(self.seconds[i])] if self.seconds else []
            table.add_row(*(f"{number:,}" for number in cycle), *time)
        return Group(table, Text("\n".join(["", *self._totals()])))

    def __str__(self) -> str:
        return text(self.to_rich())

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def _totals(self) -> Iterator[str]:
        yield f"train   {self.training}"
        if self.fine_tune is not None:
            yield from self.fine_tune.lines(self.tuned)
        if self.total_seconds and self.probe:
            yield f"time    {duration(self.total_seconds)} on this machine ({self.probe.device})"
        if self.unit == "seconds":
            yield f"people  {duration(self.budget)} of annotation"
        for title, sizes in (("disk", self.disk), ("memory", self.memory)):
            parts = ", ".join(f"{what} {size(count)}" for what, count in sizes.items())
            yield f"{title:7} {size(sum(sizes.values()))}: {parts}"
        yield f"files   about {self.files:,}"
        yield from kept_lines(self.keep)
        yield from [f"first   {self.first}"] if self.first else []
        yield from (f"guards  {line}" for line in self.guards)
        yield from [f"explore {self.explore}"] if self.explore else []
        yield from ends_lines(self.ends)
        yield from self.tariff.lines(self.device_hours, self.budget, self.unit)
        for warning in self.warnings:
            yield f"warning: {warning}"


class Tuning(NamedTuple):
    """What comes after the last cycle."""

    work: FineTuning
    timed: Probe | None


def make(
    x: Experiment,
    store: Store,
    *,
    probe: bool = True,
    timed: Probe | None = None,
    tuning: Tuning | None = None,
    tariff: Tariff = FREE,
    plugins: Plugins = NO_PLUGINS,
    units: int | None = None,
) -> Plan:
    """The plan of an experiment; with `probe`, times a few batches of it on this machine, unless
    that was `timed` before. `tuning`: what comes after its last cycle, where that is known.
    `units`: for a pool of so many units as those that are there.

    Raises UsageError like `check`. That this machine lacks what is asked for is only a warning: the
    plan may be for a cluster.
    """
    card = sized(store.card, units)
    check(x, card)
    first = check_units(x, store)
    check_guards(x, store)
    out = _left_out(x, store) * card.pool // store.card.pool
    left = card.model_copy(update={"pool": card.pool - out})
    cycles = tuple(plan_cycles(x, left, prices(x, store), first))
    network = network_of(x, card)
    end = tuning or tuned(x, store, probe=probe, plugins=plugins)
    timed = timed or (measure(x, store) if probe else None)
    sizes = disk(x, card, cycles, network)
    after = None
    if end is not None:
        start = 0.0 if x.compute.engine == "local" else TRAIN_SECONDS
        after = plan_tuning(end.work, cycles[-1], end.timed, start)
        sizes["fine-tuned network"] = after.disk
        sizes[WHILE_TRAINING] = max(sizes[WHILE_TRAINING], after.checkpoints)
    return Plan(
        cycles=cycles,
        seconds=tuple(_seconds(x, cycle, left, timed) for cycle in cycles) if timed else None,
        probe=timed,
        disk=sizes,
        memory=memory(x, card, cycles, network) | selecting(x, card, cycles, network),
        warnings=(
            *warnings(x, card, store.url),
            *shortages(x.compute, Resources.here()),
            *_told_fits(x, cycles, timed),
        ),
        training=x.scheme.told(),
        files=files(x, store, card, cycles) + (0 if after is None else FILES),
        budget=x.budget.amounts.total,
        unit=x.budget.unit,
        tariff=tariff,
        keep=x.keep,
        guards=tuple(_guards(x, store, network)),
        explore=_explore(x, cycles),
        first=_first(x, left, cycles),
        fine_tune=after,
        tuned="" if end is None else end.work.experiment.scheme.told(),
        ends=tuple(x.stop.described(x.headline)),
    )


def tuned(
    x: Experiment, store: Store, *, probe: bool, plugins: Plugins = NO_PLUGINS
) -> Tuning | None:
    """The training after the last cycle, timed with `probe`; raises as `fine_tune.opened`."""
    work = fine_tune.opened(x, store, plugins)
    if work is None:
        return None
    return Tuning(work, measure(work.experiment, work.store) if probe else None)


def _left_out(x: Experiment, store: Store) -> int:
    """How many images guards keep from being bought."""
    return len(left_out(x, store) - store.card.bad.keys()) if x.guards.leaves_out else 0


def _guards(x: Experiment, store: Store, network: nn.Module) -> Iterator[str]:
    """What guards do to a run, and what they cost beside it."""
    guards = x.guards
    if guards.leaves_out:
        yield f"{counted(_left_out(x, store), 'image is', 'images are')} never bought"
    if guards.walks:
        limits = {"min_distance": guards.min_distance, "per_class": guards.per_class}
        told = " and ".join(f"{name} {n:g}" for name, n in limits.items() if n is not None)
        yield (
            f"{told} may buy less in a cycle than this table has; one that buys nothing ends the"
            " run"
        )
    if x.keeps_features():
        numbers = feature_width(network)
        yield (
            f"the pass keeps features, {counted(numbers, 'number')} of each candidate, and goes"
            " through labeled images too"
        )


def _explore(x: Experiment, cycles: Sequence[Cycle]) -> str:
    """How much of purchases is drawn at random."""
    drawn = [share(x.explore, each.bought) for each in cycles]
    if not any(drawn):
        return ""
    first = f"{drawn[0]} of {counted(cycles[0].bought, 'unit')}"
    return (
        f"{first} of a cycle drawn at random, {sum(drawn):,} in all, to estimate {x.task.headline}"
    )


def _first(x: Experiment, card: Card, cycles: tuple[Cycle, ...]) -> str:
    """What is looked at before the first training, if anything."""
    if not x.chooses_first:
        return ""
    seen = counted(_looked_at(x, card), "candidate")
    return f"{x.first.part_name()} chooses {cycles[0].labels:,} of {seen}, before any training"


def _looked_at(x: Experiment, card: Card) -> int:
    """Candidates of the pass by which a strategy chooses the first units."""
    return min(x.candidates or card.pool, card.pool) if x.chooses_first else 0


def kept_lines(keep: Keep) -> Iterator[str]:
    """`keep    weights last, shards last`, unless all files stay."""
    if {*dict(keep).values()} != {"all"}:
        yield "keep    " + ", ".join(f"{kind} {choice}" for kind, choice in keep)


def ends_lines(ends: tuple[str, ...]) -> Iterator[str]:
    """`ends    maybe earlier, by target: accuracy 0.95`"""
    if ends:
        yield f"ends    maybe earlier, by {'; by '.join(ends)}"


def prices(x: Experiment, store: Store) -> Prices:
    """Of some images of the pool."""
    ids = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    some = [ids[i] for i in np.linspace(0, len(ids) - 1, min(len(ids), PRICED)).astype(int)]
    offer = Offer(x, store, bought=())
    cost, units = float(offer.costs(some).sum()), list(x.strategy.units(some, offer.regions))
    least = 0.0 if x.oracle.estimates() else 1.0  # a click is one at least
    image, unit = (max(least, cost / max(1, count)) for count in (len(some), len(units)))
    return Prices(image, unit, parts=x.strategy.divides_images)


def _seconds(x: Experiment, cycle: Cycle, card: Card, probe: Probe) -> float:
    """How long a cycle takes on this machine, and with the first one what comes before it."""
    train = x.ensemble * cycle.steps * probe.step(min(cycle.labels, x.scheme.batch_size))
    seen = cycle.scored + (cycle.labels if cycle.scored and x.scans_labeled() else 0)
    score = seen * probe.score[min(cycle.cycle, 1)]
    work = train + cycle.evaluated * probe.evaluate + score
    work += probe.selected(cycle.scored) if cycle.scored else 0.0
    work += sum(seconds for _, _, seconds in _fits(x, cycle, probe))
    before = cycle.cycle == 0 and x.chooses_first
    work += _looked_at(x, card) * probe.first if before else 0.0
    if x.compute.engine == "local":
        return work
    work += TRAIN_SECONDS + (SCORE_SECONDS if cycle.scored else 0) + SCORE_SECONDS * before
    return work + (CONNECT_SECONDS if cycle.cycle == 0 else 0)


def _fits(x: Experiment, cycle: Cycle, probe: Probe) -> Iterator[tuple[str, int, float]]:
    """Name, steps and seconds of what is fitted beside a cycle's model."""
    for spec in x.fits() if cycle.scored else ():
        steps = spec.steps(cycle.labels, cycle.scored)
        yield spec.name, steps, steps * probe.fits.get(spec.name, 0.0)


def _told_fits(x: Experiment, cycles: tuple[Cycle, ...], probe: Probe | None) -> Iterator[str]:
    """What fits cost, which is often more than all else together."""
    for spec in x.fits():
        steps = [spec.steps(cycle.labels, cycle.scored) for cycle in cycles if cycle.scored]
        if not steps:
            continue
        each = sorted({steps[0], steps[-1]})
        told = (
            f"{spec.name} is fitted in every cycle, in {' to '.join(f'{n:,}' for n in each)} steps"
        )
        if probe is not None and spec.name in probe.fits:
            told += f": {duration(sum(steps) * probe.fits[spec.name])} of the run on this machine"
        yield told
