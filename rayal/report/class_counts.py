"""How many units of each class a run bought, and how many its pool has, or pixels of its masks: as
the run keeps it. C classes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rayal.runs.ledger import read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Initial, Labeled

Counts = NDArray[np.int64]  # C


def bought_counts(record: Record, classes: int) -> Counts | None:
    """Of all that was bought after the first labels; None of masks that an older rayal bought.

    A unit that was asked for again counts each time.
    """
    total = np.zeros(classes, np.int64)
    for counts in by_cycle(record, classes):
        if counts is None:
            return None
        total += counts
    return total


def by_cycle(record: Record, classes: int) -> Iterator[Counts | None]:
    """Of what each cycle bought; of an older rayal as its answers say, which of masks is None."""
    for cycle in range(record.begun()):
        bought = record.result(cycle, Labeled)
        if bought is None:
            continue
        if bought.class_counts:
            yield np.array(bought.class_counts, np.int64)
        else:
            yield _counted(record, cycle, classes)


def pool_counts(record: Record, classes: int) -> Counts | None:
    """Of the whole pool; None where it may not be known, nobody has looked at its masks, or an
    older rayal began."""
    initial = record.result(0, Initial)
    if initial is None or len(initial.pool_counts) != classes or not any(initial.pool_counts):
        return None
    return np.array(initial.pool_counts, np.int64)


def _counted(record: Record, cycle: int, classes: int) -> Counts | None:
    labels = read_labels(stage_folder(record.folder, cycle, Labeled.stage))
    values = [value for _, value, _ in labels if value is not None]
    if not all(isinstance(value, int) for value in values):
        return None
    return np.bincount(np.array(values, np.int64), minlength=classes)
