"""What the cycles of a run will do, in numbers of images, updates and purchases."""

import math
from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

from rayal.data.card import Card
from rayal.experiment.experiment import Experiment
from rayal.experiment.explore import share
from rayal.training.base import TrainingScheme
from rayal.training.feed import batch_ends

ROUNDING = 1e-9  # of a sum of prices


class Cycle(NamedTuple):
    """What one cycle does."""

    cycle: int
    labels: int
    """Images trained on; at most, where a strategy may ask for some again."""
    steps: int
    """Updates of the weights, those in phases too, of each member of an ensemble."""
    evaluated: int
    """Test images; without such, those that have a label, and the new ones among them twice; with
    `explore` those drawn at random once more."""
    scored: int
    """Candidates; 0 in the last cycle, which only trains and evaluates."""
    passes: int
    """Networks that each candidate goes through."""
    bought: int
    """Images, or regions of these, bought for the next cycle."""


def work(x: Experiment, cycles: Iterable[Cycle]) -> list[int]:
    """Of each cycle roughly, in images through a network: a step of training counts three times,
    for its way back."""
    return [
        3 * x.ensemble * each.steps * min(each.labels, x.scheme.batch_size)
        + each.evaluated
        + each.scored * each.passes
        for each in cycles
    ]


class Prices(NamedTuple):
    """What is paid on average."""

    image: float = 1.0
    """For the images before the first training."""
    unit: float = 1.0
    """For what the strategy chooses: images too, or regions of these."""
    parts: bool = False
    """Whether what it chooses is a part of an image, the rest of which stays on offer."""


ONE_EACH = Prices()


def plan_cycles(
    x: Experiment, card: Card, prices: Prices = ONE_EACH, there: int | None = None
) -> Iterator[Cycle]:
    """What `loop.run` will do, where the oracle answers everything at these prices; of images of
    which regions are bought, as if each region were of another one. `there`: labels that exist
    already, for nothing."""
    scheme, first = x.scheme, min(card.pool, _bought(x, x.budget.amounts.initial, prices.image))
    labels, spent, worth, new = first, first * prices.image, card.pool * prices.image, 0
    if there is not None:
        labels, spent, worth = there, 0.0, (card.pool - there) * prices.image
        first = there
    again = x.buys_again()
    worth = math.inf if again else worth
    for cycle in count():
        ends = batch_ends(labels, scheme.batch_size, x.compute.train_workers)
        done = x.budget.is_spent(cycle, spent)
        unlabeled = card.pool - (first if prices.parts else labels)
        scored = 0 if done else min(x.candidates or unlabeled, unlabeled)
        left = _bought(x, min(x.budget.due(cycle), worth) - spent, prices.unit)
        whole = again or prices.parts and scored
        bought = 0 if done else left if whole else min(left, scored)
        steps = updates(scheme, cycle, len(ends), unlabeled)
        yield Cycle(
            cycle=cycle,
            labels=labels,
            steps=steps,
            evaluated=(card.test if card.tested else labels + new) + share(x.explore, new),
            scored=scored,
            passes=_passes(x, cycle) if scored else 0,
            bought=bought,
        )
        sold_out = not (scored or again) or spent + prices.unit > worth + ROUNDING
        if done or not bought and (sold_out or x.budget.is_last(cycle)):
            return
        labels, spent = min(card.pool, labels + bought), spent + bought * prices.unit
        new = bought


def updates(scheme: TrainingScheme, cycle: int, batches: int, unlabeled: int) -> int:
    """Of the weights in one training of a cycle, whose epoch has so many batches."""
    steps, seen = scheme.steps or scheme.length * batches, scheme.unlabeled(cycle)
    if seen is not None and unlabeled:
        steps += seen.extra_updates(unlabeled, -(-steps // batches))
    return steps


def _bought(x: Experiment, budget: float, price: float) -> int:
    """How many units of this price the budget is for."""
    units = budget / price
    return max(0, math.ceil(units - ROUNDING) if x.budget.overshoot else int(units + ROUNDING))


def _passes(x: Experiment, cycle: int) -> int:
    """Networks that a candidate goes through. Where the whole pool is scored, the last cycle's
    predictions are kept and need no second pass."""
    strategies = x.scored().values()
    requires = {each for strategy in strategies for each in strategy.requires()}
    references = {strategy.reference(cycle) for strategy in strategies} - {None}
    if x.candidates is None:
        references.discard("previous")
    members = x.ensemble - 1 if "ensemble" in requires else 0
    keeps = x.keeps_probs(cycle) or x.keeps_features() or x.keeps_predicted()
    return ("forward" in requires or keeps) + len(references) + members
