"""What an experiment or a sweep will do and cost, before it starts."""

from collections.abc import Iterable
from typing import overload

from rayal.api.given import check_experiment
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.workflows import plan as plans
from rayal.workflows.plan import Plan
from rayal.workflows.plan.sweep import SweepPlan, make_sweep
from rayal.workflows.plan.tariff import Tariff


@overload  # the more special one is tried first
def plan(  # type: ignore[overload-overlap]
    x: SweptExperiment,
    *,
    probe: bool = ...,
    device_hour_price: float | None = ...,
    label_price: float | None = ...,
    plugins: Iterable[str] = ...,
) -> SweepPlan: ...


@overload
def plan(
    x: Experiment,
    *,
    probe: bool = ...,
    device_hour_price: float | None = ...,
    label_price: float | None = ...,
    plugins: Iterable[str] = ...,
) -> Plan: ...


def plan(
    x: Experiment,
    *,
    probe: bool = True,
    device_hour_price: float | None = None,
    label_price: float | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Plan | SweepPlan:
    """The cycles of a run, or the arms of a sweep, with what they need of time, disk and memory.

    With `probe` a few batches are trained and scored to time them on this machine, which takes
    seconds; without it times are None. Prices are in any one currency: of one device (a GPU, or a
    machine without) for an hour, and of one label, or click where the budget counts clicks. The
    result prints as a table, and has all numbers in `to_dict()`. `plugins` are packages of yours
    that arms of a sweep may name; the parts of an experiment are there already.

    >>> x = rayal.load("configs/digits/cod.yaml", budget={"total": 150})
    >>> planned = rayal.plan(x, probe=False, label_price=0.1)
    >>> [cycle.labels for cycle in planned.cycles], planned.price
    ([50, 100, 150], 15.0)

    Raises what the run would raise before it starts: UsageError with all problems, DataError.
    """
    check_experiment(x, "plan")
    named = Plugins(plugins)
    for name, price in {"device_hour_price": device_hour_price, "label_price": label_price}.items():
        if price is not None and not price >= 0:
            raise UsageError(f"{name}: {price} is no price; use 0 or more, or None")
    tariff = Tariff(device_hour_price, label_price)
    if isinstance(x, SweptExperiment):
        return make_sweep(x, named, probe=probe, tariff=tariff)
    return plans.make(x, x.dataset.open(), probe=probe, tariff=tariff)
