"""What the models of a run say of test images: how sure they are, and what they take for what.

The models are asked for this, so a page has it only where they may be, and the weights are there.
N images, C classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.errors import RayalError
from rayal.report.arms import Arm
from rayal.report.calibration import halves, reliability
from rayal.report.curves import COLOURS
from rayal.report.page.blocks import Block, Cell, Figure, Fold, Section, Table, Text, number
from rayal.report.page.originals import Original, Originals
from rayal.report.page.picks import spread
from rayal.report.page.seen import Seen
from rayal.report.pictures import network_of
from rayal.runs.record import Record
from rayal.runs.results import Evaluated, Trained
from rayal.signals.batch import forward
from rayal.training.augment import normalise

IMAGES = 2_000
"""Of the test split, at most, at even distances."""
CYCLES = 3
"""At most: the first, the last, and one between them."""
ARMS = 4
CLASSES = 40
"""Of which a matrix is drawn, at most."""


class Said(NamedTuple):
    """Of one model."""

    cycle: int
    labels: int
    logits: NDArray[np.float64]  # N C
    truth: NDArray[np.int64]  # N


def section(seen: Seen, originals: Originals) -> Section | None:
    """For some arms, of the run that stands for each: calibration and confusion."""
    if not seen.asks_models:
        return None
    folds, notes = list[Block](), dict[str, None]()
    for arm in [arm for group in seen.groups if group.tested for arm in group.arms][:ARMS]:
        record = seen.one_of(arm)
        original = originals.of(record)
        if isinstance(original, str) or original.x.task.dense or not len(original.store.test):
            continue
        try:
            said = [_said(record, original, cycle) for cycle in _cycles(record)]
        except RayalError as error:
            notes[str(error)] = None
            continue
        if said:
            names = original.store.card.classes
            blocks = [_calibration(arm, said), *_confusions(arm, said, names)]
            title = f"{arm.label}, seed {seen.seed_of(arm)}"
            folds.append(Fold(title, blocks, not folds))
    blocks = [*folds, *(Text(note, "note") for note in notes)]
    return Section("Calibration and confusion", blocks) if folds else None


def _cycles(record: Record) -> list[int]:
    """Some of those whose weights are there."""
    there = [
        cycle
        for cycle in range(record.begun())
        if record.result(cycle, Evaluated) is not None and not record.pruned(cycle, Trained.stage)
    ]
    return [there[at] for at in spread(len(there), CYCLES)]


def _said(record: Record, original: Original, cycle: int) -> Said:
    x, store = original
    network = network_of(record, x, store, cycle)
    device = next(network.parameters()).device
    ids = store.test.ids()
    chosen = [ids[at] for at in spread(len(ids), IMAGES)]
    labels, logits, truth = store.labels("test", chosen), list[NDArray[np.float64]](), list[int]()
    for rows in store.test.chunks(chosen, x.compute.score_batch):
        decoded = store.test.decode(rows)
        images = normalise(torch.from_numpy(decoded.images).to(device), store.card.image)
        found = forward(network, images, x.scheme.precision).logits
        logits.append(found.double().cpu().numpy())
        truth += [label for unit in decoded.ids if isinstance(label := labels[unit], int)]
    evaluated = record.result(cycle, Evaluated)
    assert evaluated is not None, "its cycle was asked for"
    return Said(cycle, evaluated.labels, np.concatenate(logits), np.array(truth))


def _calibration(arm: Arm, said: Sequence[Said]) -> Figure:
    series, rows = [], list[Sequence[Cell]]()
    for place, each in enumerate(said):
        bins, found = reliability(each.logits, each.truth), halves(each.logits, each.truth)
        name = f"cycle {each.cycle}"
        series.append(
            {
                "name": name,
                "size": f"{each.labels:,} labels",
                "colour": COLOURS[place % len(COLOURS)],
                "line": "-",
                "x": [100 * value for value in bins.confidence],
                "y": [100 * value for value in bins.accuracy],
                "shares": [*bins.share],
            }
        )
        values = [(found.ece, ".2f", 100), (found.ece_after, ".2f", 100)]
        rows.append(
            [name, number(each.labels, ",d"), number(len(each.truth), ",d")]
            + [number(value, form, scale) for value, form, scale in values]
            + [number(found.temperature, ".2f")]
        )
    header = [
        "model of",
        "labels",
        "test images",
        "ECE (%)",
        "with a temperature (%)",
        "temperature",
    ]
    title = f"Calibration: {arm.label}"
    return Figure(
        title=title,
        draws="lines",
        says="Reliability diagram: how often a model is right against how sure it is, a line for"
        " each cycle; on the diagonal both are the same; its errors are in the table below",
        data={
            "x": "Confidence (%)",
            "y": "Right (%)",
            "bands": False,
            "diagonal": 100,
            "series": series,
            "heights": [],
        },
        table=Table(
            title,
            header,
            rows,
            "ECE: mean distance of confidence and accuracy in 15 bins; with a temperature that was"
            " fitted on the other half of the images",
        ),
    )


def _confusions(arm: Arm, said: Sequence[Said], names: Sequence[str]) -> list[Block]:
    """A matrix for each of these cycles, the last one open."""
    if len(names) > CLASSES:
        return [Text(f"No confusion matrix of more than {CLASSES} classes.", "note")]
    figures = [(each, _confusion(arm, each, names)) for each in said]
    last = said[-1]
    return [Fold(figure.title, [figure], each is last) for each, figure in reversed(figures)]


def _confusion(arm: Arm, said: Said, names: Sequence[str]) -> Figure:
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (said.truth, said.logits.argmax(axis=1)), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, 100 * counts / np.maximum(totals, 1), np.nan)
    rows: list[Sequence[Cell]] = [
        [name, *(number(int(value), ",d") for value in counts[place])]
        for place, name in enumerate(names)
    ]
    title = f"Confusion in cycle {said.cycle}, {said.labels:,} labels: {arm.label}"
    return Figure(
        title=title,
        draws="heat",
        says="Confusion matrix: the true class of a row is taken for that of a column, in per cent"
        " of the row; the numbers of images are in the table below",
        data={
            "rows": [*names],
            "columns": [*names],
            "x": "taken for",
            "values": [[float(v) if np.isfinite(v) else None for v in row] for row in shares],
            "low": 0,
            "high": 100,
            "digits": 0,
        },
        table=Table(title, ["true class", *names], rows, "test images"),
    )
