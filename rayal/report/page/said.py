"""What test images say of the model of a cycle, as the run keeps it. C classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.runs.confusion import read_confusion
from rayal.runs.record import Record
from rayal.runs.results import Calibration, Evaluated

CYCLES = 3
"""That are looked at closely, at most: the first, the last, and one between them."""


class Said(NamedTuple):
    """Of one model."""

    cycle: int
    labels: int
    images: int
    """Of the test split that it is of."""
    confusion: NDArray[np.int64]  # C C, the true class in rows
    calibration: Calibration | None


def kept(record: Record, classes: int) -> list[Said]:
    """Of every cycle of which it is kept; nothing where an older rayal evaluated. Raises
    StorageError where a file is damaged."""
    found = []
    for cycle in range(record.begun()):
        evaluated = record.result(cycle, Evaluated)
        counts = read_confusion(record, cycle, classes)
        if evaluated is not None and counts is not None:
            images = evaluated.images or 0
            found.append(Said(cycle, evaluated.labels, images, counts, evaluated.calibration))
    return found


def keeps(record: Record) -> bool:
    """Whether its evaluations keep what they said; so do all that there are not yet."""
    evaluated = (record.result(cycle, Evaluated) for cycle in range(record.begun()))
    return all(each.confusion is not None for each in evaluated if each and _has_classes(each))


def _has_classes(evaluated: Evaluated) -> bool:
    return any(name.startswith("per_class_") for name in evaluated.metrics)
