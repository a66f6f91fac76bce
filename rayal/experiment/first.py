"""The strategy that chooses the units before the first training, and what it cannot be beside."""

from collections.abc import Iterator

from rayal.data.tasks.base import Task
from rayal.labeling.budget import Budget
from rayal.parts import Contradiction, find, names, needed
from rayal.strategies.base import Strategy

WHERE = ("first",)


def contradictions(
    first: Strategy, task: Task, budget: Budget, labeled: bool, candidates: int | None
) -> Iterator[Contradiction]:
    """Why it cannot choose the first units, and what cannot be beside it; `labeled`: whether labels
    exist already, `candidates`: how many images it looks at, None: the whole pool."""
    name = first.part_name()
    if problem := first.misplaced(task):
        yield Contradiction(WHERE, problem)
        return
    if why := _unable(first):
        yield Contradiction(WHERE, f"{name!r} {why}; use random, or one of: {_able(task)}")
        return
    if first.buys_fewer():
        yield Contradiction(
            WHERE,
            f"{name!r} may buy fewer units than the budget is for, and the first ones are as many"
            " as budget.initial says; set first to random",
        )
        return
    if first.draws_at_random:
        return
    for why in first.contradictions(task, None, 1):
        yield Contradiction(WHERE, f"{name!r} {why}")
    if labeled:
        yield Contradiction(
            WHERE, f"{name!r}, but the first labels are those in labeled; set first to random"
        )
    if budget.balanced:
        yield Contradiction(
            ("budget", "balanced"),
            f"true, but {name!r} chooses the first units, whatever their classes; set it to false,"
            " or first to random",
        )
    if budget.unit == "samples" and candidates is not None and candidates < (budget.initial or 0):
        yield Contradiction(
            ("candidates",),
            f"{candidates} cannot fill budget.initial, {budget.initial}, which {name!r} chooses;"
            " raise it, or lower that",
        )


def _unable(strategy: Strategy) -> str | None:
    """Why it cannot choose before any training; None where it can."""
    beside = sorted(spec.name for spec in (*strategy.companions(), *strategy.fits()))
    if strategy.divides_images:
        return "chooses regions, and a model begins with whole images"
    if beside:
        return f"needs a {beside[0]}, which is made beside a model in training, and none is yet"
    if "training" in strategy.requires():
        return "asks a trained model, and none is there before the first units"
    if strategy.relabels:
        return "asks again for units that have a label, and none has one yet"
    return None


def _able(task: Task) -> str:
    """The strategies of rayal that can choose for this task, without random."""
    kinds = (find(Strategy.kind, name) for name in names(Strategy.kind))
    those: list[Strategy] = [kind() for kind in kinds if not needed(kind)]
    return ", ".join(
        each.part_name()
        for each in those
        if not each.draws_at_random and not each.misplaced(task) and not _unable(each)
    )
