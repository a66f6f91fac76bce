"""What makes a run impossible on its data and machine, all at once, before anything starts."""

import logging
from collections.abc import Iterator
from functools import partial

from rayal.cycle.candidates import left_out
from rayal.cycle.first_labels import first_labels
from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import UsageError, some
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import REQUIRED
from rayal.training.feed import batch_ends
from rayal.workflows.resources import Resources, shortages
from rayal.workflows.untrainable import refusal, untrainable

logger = logging.getLogger(__name__)


def check(
    x: Experiment, card: Card, resources: Resources | None = None, *, asked: bool = False
) -> None:
    """Raises UsageError with everything that makes the run impossible on this data, and on these
    resources where they are known. `asked` says that somebody asks for units."""
    problems = list(asking(x) if asked else without_asking(x))
    problems += _impossible(x, card)
    problems += _unmeasured(x, card)
    if resources is not None:
        problems += shortages(x.compute, resources)
    if problems:
        raise UsageError.of(problems, where=f"experiment {x.name!r}")


def without_asking(x: Experiment) -> Iterator[str]:
    """What makes a run impossible where nobody asks for units, as with `ActiveLearner`."""
    if x.budget.is_open:
        yield REQUIRED
    if x.oracle.asked:
        yield (
            f"oracle: {x.oracle.part_name()!r} has no answers but those given to an ActiveLearner;"
            " use rayal.ActiveLearner(x), or another oracle"
        )


def asking(x: Experiment) -> Iterator[str]:
    """What makes no sense where somebody asks for units, and ends when they like."""
    if x.stop.rules:
        yield (
            f"stop: {some(x.stop.rules)} cannot end an ActiveLearner, which is asked for units;"
            " leave stop out, and see rayal.forecast"
        )
    if x.chooses_first:
        yield (
            f"first: {x.first.part_name()!r} looks at the pool in a pass of its own, and an"
            " ActiveLearner asks for its first units without one; leave first out, or tell labels"
            " of units that rayal.select chose"
        )


def _unmeasured(x: Experiment, card: Card) -> Iterator[str]:
    """Rules that look at what nothing measures: without test images only what is bought at random
    says something of a model."""
    if x.stop.rules and not card.tested and not x.draws_at_random:
        yield (
            f"stop.{x.stop.rules[0]}: there are no test images, and labels that a strategy chose"
            " measure no model; give the dataset some, choose strategy random without limits in"
            " guards, or leave stop out"
        )


def check_comparable(x: Experiment) -> None:
    """Raises UsageError for an arm of a sweep that nothing measures alike with the others."""
    if not x.dataset.tested:
        raise UsageError(
            f"dataset: {x.dataset.part_name()!r} has no test images, and what strategies chose"
            " themselves cannot compare them; give it some (dataset.test), or start each as a run"
        )


def check_units(x: Experiment, store: Store) -> int | None:
    """Raises what is wrong for the units of this pool: with labels that exist already, or for a
    strategy, such as an absent file. Returns how many such labels there are, if they are wanted."""
    first = first_labels(x, store) if x.labeled else None
    good = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    for strategy in (*x.scored().values(), x.first):
        strategy.check(good)
    if first is None:
        return None
    known = {label.value for label in first.values()}
    if not x.task.dense and (
        lacks := [n for i, n in enumerate(store.card.classes) if i not in known]
    ):
        logger.warning("labeled: %s has no image of %s", x.labeled, some(lacks))
    return len(first)


def check_guards(x: Experiment, store: Store) -> None:
    """Raises UsageError where guards cannot tell what to leave out, or leave less than is to be
    bought."""
    if not x.guards.leaves_out:
        return
    left = len(store.pool) - len(left_out(x, store))
    x.budget.check(left, again=x.buys_again(), which=" that guards leave")


def _impossible(x: Experiment, card: Card) -> Iterator[str]:
    yield from refusal(partial(x.budget.check, card.pool, again=x.buys_again()))
    if x.candidates is not None and x.candidates > card.pool:
        yield (
            f"candidates: {x.candidates} is more than the {card.pool} images of the pool; use null,"
            " which scores all of them"
        )
    if len(card.bad) > x.max_bad:
        yield (
            f"max_bad: {x.max_bad} is less than the {len(card.bad)} images that are undecodable;"
            " raise it, or mend them"
        )
    size = x.scheme.batch_size
    counts = not x.budget.is_open and x.budget.unit == "samples" and not x.labeled
    first = x.budget.amounts.initial if counts else size
    yield from refusal(partial(batch_ends, first, size, x.compute.train_workers))
    yield from refusal(partial(x.oracle.check, card))
    yield from untrainable(x, card)
