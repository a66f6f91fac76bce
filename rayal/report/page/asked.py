"""What the models of a run say when they are asked again: where a run of an older rayal kept no
confusion and no calibration.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.cycle.calibration import calibrated
from rayal.report.images import network_of
from rayal.report.page.originals import Original
from rayal.report.page.picks import spread
from rayal.report.page.said import CYCLES, Said
from rayal.runs.record import Record
from rayal.runs.results import Evaluated, Trained
from rayal.signals.networks import forward
from rayal.training.augment import normalise

IMAGES = 2_000
"""Of the test split, at most, at even distances."""


def asked(record: Record, original: Original) -> list[Said]:
    """Of some cycles whose weights are there; nothing of masks, and without test images."""
    if original.x.task.dense or len(original.store.test) < 2:
        return []
    there = [
        (cycle, evaluated)
        for cycle in range(record.begun())
        if (evaluated := record.result(cycle, Evaluated)) is not None
        and not record.pruned(cycle, Trained.stage)
    ]
    return [_said(record, original, *there[at]) for at in spread(len(there), CYCLES)]


def _said(record: Record, original: Original, cycle: int, evaluated: Evaluated) -> Said:
    x, store = original.x, original.store
    network, classes = network_of(record, x, store, cycle), len(store.card.classes)
    device = next(network.parameters()).device
    ids = store.test.ids()
    chosen = [ids[at] for at in spread(len(ids), IMAGES)]
    labels, found, known = store.labels("test", chosen), list[NDArray[np.float64]](), list[int]()
    for rows in store.test.chunks(chosen, x.compute.score_batch):
        decoded = store.test.decode(rows)
        images = normalise(torch.from_numpy(decoded.images).to(device), store.card.image)
        logits = forward(network, images, x.scheme.precision).logits
        found.append(logits.double().cpu().numpy())
        known += [label for unit in decoded.ids if isinstance(label := labels[unit], int)]
    said, truth = np.concatenate(found), np.array(known)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, said.argmax(axis=1)), 1)
    return Said(cycle, evaluated.labels, len(truth), counts, calibrated(said, truth))
