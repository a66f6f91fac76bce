"""Ask and tell: the stages of a run as far as labels were told, driven by who asks for more."""

from itertools import count

from rayal.cycle.first_units import first_units
from rayal.cycle.steps import Steps
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, counted
from rayal.experiment.experiment import Experiment
from rayal.labeling.request import Request
from rayal.runs.ledger import INITIAL, Ledger, PoolState
from rayal.runs.results import Labeled
from rayal.training.feed import batch_ends


def request(ledger: Ledger) -> Request:
    """The request that is open: what is asked for now or, where nothing is, what will be next."""
    if not ledger.finished(0, INITIAL):
        return Request(ledger.stage(0, INITIAL))
    return Request(ledger.stage(ledger.state().cycle, Labeled.stage))


def begin(x: Experiment, store: Store, first: Request, units: int) -> None:
    """Asks for the first units: those that were told before anybody asked, else so many at random.
    Where too many of those asked for had no label, for so many more, in the same random order.

    Raises UsageError for a set that is too small to train on.
    """
    if first.asked is not None:
        if not first.waiting and not is_enough(x, first.labeled):
            asked = frozenset(first.asked)
            order = first_units(x, store, len(asked) + units)
            first.ask_more([unit for unit in order if unit not in asked][:units])
    elif first.told:
        if not is_enough(x, first.labeled):
            raise UsageError(
                f"the labels told before the first ask(), {first.labeled}, are too few to train on;"
                " tell more of them first"
            )
        first.ask(list(first.told))
    else:
        chosen = first_units(x, store, units)
        if not is_enough(x, len(chosen)):
            raise UsageError(
                f"a first set of {counted(len(chosen), 'image')} is too small to train on;"
                " ask for more"
            )
        first.ask(chosen)


def is_enough(x: Experiment, labels: int) -> bool:
    """Whether so many labels can be trained on."""
    try:
        batch_ends(labels, x.scheme.batch_size, x.compute.train_workers)
    except DataError:
        return False
    return True


def learn(steps: Steps) -> PoolState:
    """Trains on all labels told so far, and evaluates; what is done already is only checked.

    Raises LabelsPending while some of the units asked for are not told.
    """
    ledger = steps.ledger
    steps.begin(lambda: Request(ledger.stage(0, INITIAL)).asked or ())
    for cycle in count():
        pool = ledger.state(cycle)
        steps.learn(pool)
        asked = Request(ledger.stage(cycle, Labeled.stage)).asked
        if asked is None:
            return pool
        steps.buy(pool, steps.choose(pool, len(asked)))
    raise AssertionError("a cycle of which nothing was asked is the last one")


def ask(steps: Steps, units: int) -> None:
    """As `learn`; then scores what is left of the pool, selects so many units and asks for them.

    They are bought, which observers are told, when all of them are told.
    """
    pool = learn(steps)
    chosen = steps.choose(pool, units)
    if chosen.ids:
        Request(steps.ledger.stage(pool.cycle, Labeled.stage)).ask(chosen.ids)
