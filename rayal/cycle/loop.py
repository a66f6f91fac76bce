"""The active-learning cycle: train, evaluate, score, select, label, until the budget is spent, or
a rule says that it is enough."""

from itertools import count

from rayal.cycle.engine import Engine
from rayal.cycle.fine_tune import FineTuning
from rayal.cycle.first_units import first_units
from rayal.cycle.steps import Steps
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.runs.events import Observer
from rayal.runs.ledger import Ledger, PoolState


def run(
    x: Experiment,
    store: Store,
    ledger: Ledger,
    engine: Engine,
    observer: Observer,
    tuning: FineTuning | None = None,
) -> PoolState:
    """Runs an experiment to its end, or continues it: a stage in the ledger is not run again, one
    that is missing there is, and what had followed it is then checked to follow from it still.
    `tuning` is what comes after the last cycle, if anything.

    Returns the pool when the budget is spent, no candidate is left or a rule of `stop` says so.
    Raises LabelsPending where the oracle waits for people; what the stages raise ends the run, and
    the same call continues it.
    """
    steps = Steps(x, store, ledger, engine, observer)
    steps.begin(lambda: first_units(x, store))
    pool = _cycles(x, steps)
    if tuning is not None:
        steps.fine_tune(pool, tuning)
    steps.keeper.end()
    return pool


def _cycles(x: Experiment, steps: Steps) -> PoolState:
    """All of them; returns the pool after the last."""
    for cycle in count():
        pool = steps.ledger.state(cycle)
        steps.learn(pool)
        if x.budget.is_spent(pool.cycle, pool.spent) or steps.stops(pool):
            return pool
        chosen = steps.choose(pool, x.budget.left(pool.cycle, pool.spent))
        if not chosen.ids and (chosen.sold_out or x.budget.is_last(pool.cycle)):
            return pool
        steps.buy(pool, chosen)
    raise AssertionError("a run ends with its budget")
