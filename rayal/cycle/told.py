"""What people are told of units that were chosen past guards: columns, quantiles, pairs, lines.

The same of a run and of `rayal select`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rayal.cycle.guarded import Distances, Nearest
from rayal.errors import counted

QUANTILES = {"0%": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "100%": 1.0}
PAIRS = 5
"""Pairs that a terminal shows."""
CLASSES = 10
"""Classes that a line shows."""
TO_LABELED, TO_CHOSEN = "to_labeled", "to_chosen"
"""Columns of the distance to the nearest labeled unit, and to the nearest chosen before."""


class Pair(NamedTuple):
    """Two units and the distance between their features."""

    unit: str
    """Chosen, or passed over."""
    to: str
    """Labeled, or chosen before."""
    distance: float
    of: str
    """What `to` is: `labeled` or `chosen`."""


def columns(distances: Distances | None) -> dict[str, list[Any]]:
    """Of each unit that was chosen its nearest ones; no columns where nobody asked."""
    if distances is None:
        return {}
    labeled, chosen = distances.labeled, distances.chosen
    return {
        TO_LABELED: labeled.distances,
        "nearest_labeled": labeled.ids,
        TO_CHOSEN: chosen.distances,
        "nearest_chosen": chosen.ids,
    }


def quantiles(distances: Distances | None) -> dict[str, dict[str, float]]:
    """Of the distances to `labeled` and `chosen`, each where there is one."""
    if distances is None:
        return {}
    each = {"labeled": distances.labeled, "chosen": distances.chosen}
    known = {of: [d for d in near.distances if d is not None] for of, near in each.items()}
    return {
        of: {name: float(np.quantile(values, share)) for name, share in QUANTILES.items()}
        for of, values in known.items()
        if values
    }


def balance(predicted: Sequence[str] | None) -> dict[str, int]:
    """Predicted class -> units, the most frequent first, of equals in their order."""
    return dict(Counter(predicted or ()).most_common())


def over(passed_over: Mapping[str, int]) -> str:
    """`12 too near, 3 class full`"""
    return ", ".join(f"{number} {cause}" for cause, number in passed_over.items() if number)


def listed(predicted: Mapping[str, int]) -> str:
    """`cat 12, dog 3 and 4 more classes`"""
    first = [f"{name} {number}" for name, number in predicted.items()][:CLASSES]
    more = len(predicted) - len(first)
    rest = f" and {counted(more, 'more class', 'more classes')}" if more else ""
    return ", ".join(first) + rest


def pairs(ids: Sequence[str], distances: Distances) -> list[Pair]:
    """Of each unit that was chosen the nearest of all that were there before it; nearest first."""
    found = []
    for row, unit in enumerate(ids):
        near = [*_pairs(unit, row, distances.labeled, "labeled")]
        near += _pairs(unit, row, distances.chosen, "chosen")
        found += sorted(near, key=lambda pair: pair.distance)[:1]
    return sorted(found, key=lambda pair: pair.distance)


def lines(
    ids: Sequence[str],
    passed_over: Mapping[str, int],
    predicted: Mapping[str, int],
    distances: Distances | None,
) -> Iterator[str]:
    """For a terminal, each with a title of 13 signs."""
    if passed := over(passed_over):
        yield f"passed over  {passed}"
    if predicted:
        yield f"predicted    {listed(predicted)}"
    if distances is None:
        return
    for of, values in quantiles(distances).items():
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        yield f"{f'to {of}':12} {told}"
    for title, some in (
        ("nearest", [(p.unit, p.to, p.distance) for p in pairs(ids, distances)]),
        ("too near", [(n.unit, n.to, n.distance) for n in distances.too_near]),
    ):
        for number, (unit, to, distance) in enumerate(some[:PAIRS]):
            yield f"{'' if number else title:12} {distance:.4g} between {unit} and {to}"


def _pairs(unit: str, row: int, near: Nearest, of: str) -> Iterator[Pair]:
    to, distance = near.ids[row], near.distances[row]
    if to is not None and distance is not None:
        yield Pair(unit, to, distance, of)
