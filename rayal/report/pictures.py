"""Pictures of what a run chose: read from its folder, its weights and its dataset."""

import logging
from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from rayal.data.store import Store
from rayal.errors import UsageError, quoted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.report import gallery, nearest, per_class
from rayal.report.images import first_images, store_of, unseen_of
from rayal.report.overlays import draw, small_png
from rayal.report.picked import rows, shots
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Trained

logger = logging.getLogger(__name__)

FOLDER = "analysis"
"""Of a run folder, where pictures lie; `rayal sync` sends what is in it."""


def files(record: Record, count: int) -> Iterator[tuple[str, bytes]]:
    """The results per class, then `cycle-000.png` and so on: the first `count` images that each
    cycle has chosen: with masks, or with one class each; and where guards.min_distance is set
    `cycle-000-nearest.png`, the nearest pairs. Where a cycle's weights were pruned these
    are without its predictions, and of masks there is no picture, which is said, as it is of
    vectors.

    Raises DataError where the dataset is not the run's.
    """
    yield from per_class.files([record]).items()
    x = config.resolved(record.experiment(), record.plugins)
    store, there = store_of(record, x), record.cycles()
    if (unseen := unseen_of(store)) is not None:
        logger.warning("%s: no pictures of %s", record.folder.url, unseen)
        return
    without = [row for row in there if record.pruned(row["cycle"], Trained.stage)]
    if without:
        lack = "no pictures" if x.task.dense else "no predictions in the pictures"
        said = "%s: %s of %d of %d cycles, whose weights were pruned (keep.weights)"
        logger.warning(said, record.folder.url, lack, len(without), len(there))
    for row in there:
        near = nearest.picture(record, store, row["cycle"], count, f"{_title(x, row)}: nearest")
        if near is not None:
            yield f"cycle-{row['cycle']:03d}-nearest.png", small_png(near)
        if x.task.dense and row in without:
            continue
        if figure := _figure(record, x, store, row, count):
            yield f"cycle-{row['cycle']:03d}.png", small_png(figure)


def of_cycle(record: Record, cycle: int, count: int) -> Figure:
    """The picture of the first `count` images that a cycle has chosen, as `files` draws it.

    Raises UsageError where it has chosen none, or vectors, PrunedError where it shows masks and the
    weights were pruned, DataError where the dataset is not the run's.
    """
    x = config.resolved(record.experiment(), record.plugins)
    rows = {row["cycle"]: row for row in record.cycles()}
    store = store_of(record, x)
    if (unseen := unseen_of(store)) is not None:
        raise UsageError(f"{record.folder.url} chose {unseen}, of which there are no pictures")
    figure = _figure(record, x, store, rows[cycle], count) if cycle in rows else None
    if figure is None:
        chose = [c for c in rows if (done := record.result(c, Chosen)) is not None and done.ids]
        known = f"give one of cycles {chose[0]} to {chose[-1]}" if chose else "none has so far"
        raise UsageError(f"{record.folder.url}: cycle {quoted(cycle)} has chosen nothing; {known}")
    return figure


def _figure(
    record: Record, x: Experiment, store: Store, row: dict[str, Any], count: int
) -> Figure | None:
    """The picture of a cycle; None where it has chosen nothing."""
    cycle, title = row["cycle"], _title(x, row)
    if not (first := first_images(record, store, cycle, count)):
        return None
    if not x.task.dense:
        return gallery.draw(shots(record, x, store, cycle, first), title)
    found = rows(record, x, store, cycle, first)
    return draw(found, store.card.classes, title, reference_of(x))


def reference_of(x: Experiment) -> str:
    """What the heading of `Row.reference` says."""
    return "True mask" if x.oracle.simulated else "Answer"


def _title(x: Experiment, row: dict[str, Any]) -> str:
    clicks = x.budget.unit != "samples"
    paid = f"{row['cost']:.10g} {x.budget.unit}" if clicks else f"{row['labels']} labels"
    return f"{x.name}: chosen by {x.strategy.part_name()} in cycle {row['cycle']}, after {paid}"
