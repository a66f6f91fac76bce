"""What a run will do and what it will cost, before anything starts."""

from typing import NamedTuple

import numpy as np

from rayal.cycle.fine_tune import FineTuning
from rayal.cycle.offer import Offer
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.workflows import fine_tune
from rayal.workflows.checks import check, check_guards, check_units
from rayal.workflows.plan import in_words
from rayal.workflows.plan.cycles import Prices, plan_cycles
from rayal.workflows.plan.final_training import FILES, plan_tuning
from rayal.workflows.plan.probe import Probe, measure
from rayal.workflows.plan.run_plan import Plan
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
from rayal.workflows.plan.times import cycle_seconds, final_start_seconds, told_fits
from rayal.workflows.resources import Resources, shortages
from rayal.workflows.warnings import warnings

PRICED = 32  # images whose cost is asked for, where units differ in cost


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
    out = in_words.never_bought(x, store) * card.pool // store.card.pool
    left = card.model_copy(update={"pool": card.pool - out})
    cycles = tuple(plan_cycles(x, left, prices(x, store), first))
    network = network_of(x, card)
    end = tuning or tuned(x, store, probe=probe, plugins=plugins)
    timed = timed or (measure(x, store) if probe else None)
    sizes = disk(x, card, cycles, network)
    after = None
    if end is not None:
        after = plan_tuning(end.work, cycles[-1], end.timed, final_start_seconds(x))
        sizes["fine-tuned network"] = after.disk
        sizes[WHILE_TRAINING] = max(sizes[WHILE_TRAINING], after.checkpoints)
    return Plan(
        cycles=cycles,
        seconds=tuple(cycle_seconds(x, cycle, left, timed) for cycle in cycles) if timed else None,
        probe=timed,
        disk=sizes,
        memory=memory(x, card, cycles, network) | selecting(x, card, cycles, network),
        warnings=(
            *warnings(x, card, store.url),
            *shortages(x.compute, Resources.here()),
        ),
        training=x.scheme.told(),
        files=files(x, store, card, cycles) + (0 if after is None else FILES),
        budget=x.budget.amounts.total,
        unit=x.budget.unit,
        tariff=tariff,
        keep=x.keep,
        fits=tuple(told_fits(x, cycles, timed)),
        chooses=in_words.chooses(x, cycles),
        guards=tuple(in_words.guards(x, store, network)),
        explore=in_words.explore(x, cycles),
        first=in_words.first(x, left, cycles, timed),
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


def prices(x: Experiment, store: Store) -> Prices:
    """Of some images of the pool."""
    ids = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    some = [ids[i] for i in np.linspace(0, len(ids) - 1, min(len(ids), PRICED)).astype(int)]
    offer = Offer(x, store, bought=())
    cost, units = float(offer.costs(some).sum()), list(x.strategy.units(some, offer.regions))
    least = 0.0 if x.oracle.estimates() else 1.0  # a click is one at least
    image, unit = (max(least, cost / max(1, count)) for count in (len(some), len(units)))
    return Prices(image, unit, parts=x.strategy.divides_images)
