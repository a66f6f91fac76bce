"""The points of a run's learning curve that say something of the pool: what forecasts, and rules
when to stop, are made from.

Where there are test images, each model was measured on them. Without, labels that were bought after
a model had been trained are new to it; where they were drawn at random, they are a random sample of
what had no label, set aside before they were looked at: all of them where strategy `random` did so,
else those of `explore`. Those that a strategy chose are none.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rayal.labeling.budget import CostUnit
from rayal.runs.results import Evaluated


class Measured(NamedTuple):
    """One model."""

    at: float
    """What was spent on its labels; where every unit costs 1, how many it was trained on."""
    value: float
    """The headline metric."""
    images: int | None
    """How many it was measured on; None where an older rayal did not say."""


def measured(
    evaluated: Sequence[Evaluated], headline: str, tested: bool, unit: CostUnit
) -> list[Measured]:
    """Of the cycles so far, from the first on, those with a value. Without test images the headline
    of a cycle is of the model before it."""
    if tested:
        points = [
            Measured(_at(each, unit), _value(each, headline), each.images) for each in evaluated
        ]
    else:
        points = [
            Measured(_at(model, unit), _value(after, headline), _units(model, after))
            for model, after in pairwise(evaluated)
        ]
    return [point for point in points if math.isfinite(point.value)]


def _units(model: Evaluated, after: Evaluated) -> int:
    """How many labels bought after a model it was measured on."""
    return after.labels - model.labels if after.explored is None else after.explored


def _at(evaluated: Evaluated, unit: CostUnit) -> float:
    return evaluated.labels if unit == "samples" else evaluated.cost


def _value(evaluated: Evaluated, headline: str) -> float:
    value = evaluated.metrics.get(headline)
    return math.nan if value is None else float(value)
