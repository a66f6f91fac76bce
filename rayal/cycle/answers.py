"""What an oracle answers, checked and counted before it is written down. C classes."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from rayal.data.card import Card
from rayal.data.tasks.base import Task
from rayal.errors import DataError, counted, quoted
from rayal.labeling.oracles.base import Label

TOGETHER = 1024
"""Classes that are looked at together; of masks one is."""


def check_answers(
    answers: Mapping[str, Label], ids: Sequence[str] | None, settled: Collection[str] = ()
) -> None:
    """An answer that was not asked for would cost and never train; a missing one, never end. `ids`
    is None where people may leave units out, and answer late those they had left out before; of
    `settled` units nobody wants another answer, and a ledger that has one cannot be read."""
    if not isinstance(answers, Mapping):
        raise DataError(
            f"the oracle answered with {type(answers).__name__}; answer() returns a dictionary, id"
            " -> Label(value, cost)"
        )
    wrong = [] if ids is None else sorted(answers.keys() ^ set(ids), key=str)
    if wrong:
        raise DataError(
            f"the oracle answered for {counted(len(answers), 'unit')}, {len(ids or ())} were asked;"
            f" {quoted(wrong[0])} is among {len(wrong)} that are missing or too many"
        )
    if twice := [unit for unit in answers if unit in settled]:
        raise DataError(
            f"the oracle answered for {quoted(twice[0])}, which was bought before and not asked for"
            " again"
        )
    for unit, label in answers.items():
        if not isinstance(label, Label):
            raise DataError(
                f"the oracle answered {quoted(unit)} with {quoted(label)}; an answer is a"
                " Label(value, cost)"
            )
        cost = label.cost
        number = isinstance(cost, int | float | np.number) and not isinstance(cost, bool)
        if not (number and 0 <= cost < math.inf):
            raise DataError(
                f"the oracle asks {quoted(cost)} for {quoted(unit)}; a cost is a finite number, at"
                " least 0"
            )


def class_counts(answers: Mapping[str, Label], task: Task, card: Card) -> tuple[int, ...]:
    """How many units of each class there are among the answers, C, or pixels where they are masks;
    empty of a task whose labels are no classes.

    Raises DataError for a label that is not of this task, with its unit.
    """
    classes = len(card.classes)
    labels = [(unit, label.value) for unit, label in answers.items() if label.value is not None]
    total, known, size = np.zeros(classes, np.int64), True, 1 if task.dense else TOGETHER
    for start in range(0, len(labels), size):
        values = task.targets(dict(labels[start : start + size]), card).numpy().ravel()
        known &= values.dtype.kind in "iu"
        if known:  # beyond the last class are pixels that have none
            total += np.bincount(values[values < classes], minlength=classes)
    return tuple(total.tolist()) if known else ()
