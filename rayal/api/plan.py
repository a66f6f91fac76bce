"""What an experiment, a sweep or a pass for features will do and cost, before it starts."""

from collections.abc import Iterable
from typing import overload

from rayal.api.given import check_experiment
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.workflows import plan as plans
from rayal.workflows.features.settings import FeaturePass
from rayal.workflows.plan.features import FeaturesPlan, make_features
from rayal.workflows.plan.run_plan import Plan
from rayal.workflows.plan.sweep import SweepPlan, make_sweep
from rayal.workflows.plan.tariff import Tariff


@overload
def plan(
    x: FeaturePass,
    *,
    units: float | None = ...,
    probe: bool = ...,
    device_hour_price: float | None = ...,
    label_price: float | None = ...,
    plugins: Iterable[str] = ...,
) -> FeaturesPlan: ...


@overload  # the more special one is tried first
def plan(  # type: ignore[overload-overlap]
    x: SweptExperiment,
    *,
    units: float | None = ...,
    probe: bool = ...,
    device_hour_price: float | None = ...,
    label_price: float | None = ...,
    plugins: Iterable[str] = ...,
) -> SweepPlan: ...


@overload
def plan(
    x: Experiment,
    *,
    units: float | None = ...,
    probe: bool = ...,
    device_hour_price: float | None = ...,
    label_price: float | None = ...,
    plugins: Iterable[str] = ...,
) -> Plan: ...


def plan(
    x: Experiment | FeaturePass,
    *,
    units: float | None = None,
    probe: bool = True,
    device_hour_price: float | None = None,
    label_price: float | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Plan | SweepPlan | FeaturesPlan:
    """The cycles of a run, the arms of a sweep, or a pass of `rayal features`, with what they need
    of time, disk and memory.

    With `probe` a few batches are trained and scored to time them on this machine, which takes
    seconds; without it times are None. Prices are in any one currency: of one device (a GPU, or a
    machine without) for an hour, and of one label, or click where the budget counts clicks, or
    hour of annotation where it counts seconds. The result prints as a table, and has all numbers in
    `to_dict()`. `units`, such as 1e8: for a pool of so many units, of which those of the dataset
    are a sample: what is timed is timed on these. `plugins` are packages of yours that arms of a
    sweep may name; the parts of an experiment are there already.

    >>> x = rayal.load("configs/digits/cod.yaml", budget={"total": 150})
    >>> planned = rayal.plan(x, probe=False, label_price=0.1)
    >>> [cycle.labels for cycle in planned.cycles], planned.price
    ([50, 100, 150], 15.0)

    Raises what the run would raise before it starts: UsageError with all problems, DataError.
    """
    if not isinstance(x, FeaturePass):
        check_experiment(x, "plan")
    pool = None if units is None else _whole(units)
    named = Plugins(plugins)
    for name, price in {"device_hour_price": device_hour_price, "label_price": label_price}.items():
        if price is not None and not price >= 0:
            raise UsageError(f"{name}: {price} is no price; use 0 or more, or None")
    tariff = Tariff(device_hour_price, label_price)
    if isinstance(x, SweptExperiment):
        return make_sweep(x, named, probe=probe, tariff=tariff, units=pool)
    if isinstance(x, FeaturePass):
        return make_features(x, units=pool, probe=probe, tariff=tariff, plugins=named)
    return plans.make(x, x.dataset.open(), probe=probe, tariff=tariff, plugins=named, units=pool)


def _whole(units: float) -> int:
    if not 1 <= units < float("inf") or units != int(units):
        raise UsageError(f"units: {units:g} is no size of a pool; give a whole number, 1 or more")
    return int(units)
