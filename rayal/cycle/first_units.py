"""The units that are labeled before the first training, where no labels are there yet."""

from collections import Counter
from collections.abc import Mapping

from rayal.cycle.candidates import left_out
from rayal.cycle.offer import Offer
from rayal.data.store import Store
from rayal.errors import OUT, DataError, UsageError, quoted
from rayal.experiment.experiment import Experiment
from rayal.randomness import shuffled


def first_units(x: Experiment, store: Store, budget: float | None = None) -> list[str]:
    """The units labeled before the first training: a random choice of the seed alone, the same
    for every strategy. What is `left_out` is none of them. `budget` is what they may cost;
    None: budget.initial.

    Where the budget is `balanced`, classes take turns. Raises UsageError where the oracle cannot
    know them, or where the budget does not buy a single unit.
    """
    out = left_out(x, store)
    ids = [unit for unit in store.pool.ids() if unit not in out]
    units = shuffled(ids, x.seed, "initial")
    if x.budget.balanced:
        classes = x.oracle.known_classes(store)
        if unknown := next((unit for unit in units if unit not in classes), None):
            raise DataError(
                f"oracle {x.oracle.part_name()!r} knows no class of {unknown!r:.80}; known_classes"
                " has one for every unit of the pool"
            )
        units = _in_turns(units, classes)
    budget = x.budget.amounts.initial if budget is None else budget
    count, _ = Offer(x, store, ()).affordable(units, budget)
    if units and not count:
        raise UsageError(
            f"budget.initial: {budget} {x.budget.unit} do not buy the first image,"
            f" {quoted(units[0])}; set it higher, and use another {OUT}"
        )
    return units[:count]


def _in_turns(units: list[str], classes: Mapping[str, int]) -> list[str]:
    """The first unit of every class, then the second, and so on; each round in the given order.

    A class that has no more is passed over.
    """
    before, rounds = Counter[int](), dict[str, int]()
    for unit in units:
        rounds[unit] = before[classes[unit]]
        before[classes[unit]] += 1
    return sorted(units, key=rounds.__getitem__)
