"""What a run will do and what it will cost, before anything starts."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rayal.cycle.offer import Offer
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.experiment.keep import Keep
from rayal.report.amounts import duration, size
from rayal.report.shown import as_html, text
from rayal.storage.folder import Json
from rayal.workflows.checks import Resources, check, check_strategies, shortages, warnings
from rayal.workflows.plan.cycles import Cycle, Prices, plan_cycles
from rayal.workflows.plan.probe import Probe, measure
from rayal.workflows.plan.sizes import disk, files, memory, network_of, scans_labeled
from rayal.workflows.plan.tariff import FREE, Tariff

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
    """What a training worker holds -> bytes."""
    warnings: tuple[str, ...]
    training: str
    """How each model is trained, in words: what a file says in another place than is thought."""
    files: int
    """What the run folder holds at the end under `keep`, about."""
    budget: float
    """What is spent on labels, in its unit."""
    unit: str
    tariff: Tariff
    keep: Keep
    """Which large files of past cycles are left."""

    @property
    def device_hours(self) -> float | None:
        """Hours of one device (a GPU, or the cores of this machine), however many share the work;
        None where nothing was timed."""
        return None if self.seconds is None else sum(self.seconds) / 3600

    @property
    def price(self) -> float | None:
        """In the tariff's currency; None where a price is missing that it would need."""
        return self.tariff.price(self.device_hours, self.budget)

    def to_dict(self) -> Json:
        """As JSON."""
        cycles = [cycle._asdict() for cycle in self.cycles]
        known = {"device_hours": self.device_hours, "price": self.price}
        return asdict(self) | {
            "cycles": cycles,
            "tariff": self.tariff._asdict(),
            **known,
            "keep": dict(self.keep),
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
        if self.seconds and self.probe:
            yield f"time    {duration(sum(self.seconds))} on this machine ({self.probe.device})"
        for title, sizes in (("disk", self.disk), ("memory", self.memory)):
            parts = ", ".join(f"{what} {size(count)}" for what, count in sizes.items())
            yield f"{title:7} {size(sum(sizes.values()))}: {parts}"
        yield f"files   about {self.files:,}"
        yield from kept_lines(self.keep)
        yield from self.tariff.lines(self.device_hours, self.budget, self.unit)
        for warning in self.warnings:
            yield f"warning: {warning}"


def make(
    x: Experiment,
    store: Store,
    *,
    probe: bool = True,
    timed: Probe | None = None,
    tariff: Tariff = FREE,
) -> Plan:
    """The plan of an experiment; with `probe`, times a few batches of it on this machine, unless
    that was `timed` before.

    Raises UsageError like `check`. That this machine lacks what is asked for is only a warning: the
    plan may be for a cluster.
    """
    card = store.card
    check(x, card)
    check_strategies(x, store)
    cycles, network = tuple(plan_cycles(x, card, prices(x, store))), network_of(x, card)
    timed = timed or (measure(x, store) if probe else None)
    return Plan(
        cycles=cycles,
        seconds=tuple(_seconds(x, cycle, timed) for cycle in cycles) if timed else None,
        probe=timed,
        disk=disk(x, card, cycles, network),
        memory=memory(x, card, cycles, network),
        warnings=(
            *warnings(x, card),
            *shortages(x.compute, Resources.here()),
            *_told_fits(x, cycles, timed),
        ),
        training=_training(x),
        files=files(x, store, cycles),
        budget=x.budget.amounts.total,
        unit=x.budget.unit,
        tariff=tariff,
        keep=x.keep,
    )


def kept_lines(keep: Keep) -> Iterator[str]:
    """`keep    weights last, shards last`, unless all files stay."""
    if {*dict(keep).values()} != {"all"}:
        yield "keep    " + ", ".join(f"{kind} {choice}" for kind, choice in keep)


def _training(x: Experiment) -> str:
    """`supervised, 40 epochs, lr 0.02 (multistep), batches of 32`"""
    scheme, unit = x.scheme, "steps" if x.scheme.steps else "epochs"
    return (
        f"{scheme.part_name()}, {scheme.length} {unit}, lr {scheme.lr:g} ({scheme.schedule}),"
        f" batches of {scheme.batch_size}"
    )


def prices(x: Experiment, store: Store) -> Prices:
    """Of some images of the pool."""
    ids = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    some = [ids[i] for i in np.linspace(0, len(ids) - 1, min(len(ids), PRICED)).astype(int)]
    offer = Offer(x, store, bought=())
    cost, units = float(offer.costs(some).sum()), list(x.strategy.units(some, offer.regions))
    image, unit = (max(1.0, cost / max(1, count)) for count in (len(some), len(units)))
    return Prices(image, unit, parts=x.strategy.divides_images)


def _seconds(x: Experiment, cycle: Cycle, probe: Probe) -> float:
    """How long a cycle takes on this machine."""
    train = x.ensemble * cycle.steps * probe.step(min(cycle.labels, x.scheme.batch_size))
    seen = cycle.scored + (cycle.labels if cycle.scored and scans_labeled(x) else 0)
    score = seen * probe.score[min(cycle.cycle, 1)]
    work = train + cycle.evaluated * probe.evaluate + score
    work += sum(seconds for _, _, seconds in _fits(x, cycle, probe))
    if x.compute.engine == "local":
        return work
    work += TRAIN_SECONDS + (SCORE_SECONDS if cycle.scored else 0)
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
