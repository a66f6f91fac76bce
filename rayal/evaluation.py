"""Evaluation on the test split: additive counts per shard, so any number of workers agree exactly.

The test split is read once per cycle, and nothing in a run depends on what it says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.augment import normalise
from rayal.dataset import Shard, Store
from rayal.errors import DataError
from rayal.experiment import Experiment
from rayal.model import restore
from rayal.signals import forward
from rayal.storage import FileLocation, Json

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class EvaluateJob:
    """Which weights are evaluated on which store."""

    experiment: Experiment
    store: str
    weights: FileLocation

    def shards(self) -> list[Shard]:
        return Store(self.store).test.shards(self.experiment.compute.shard_rows)


def evaluate(job: EvaluateJob, shards: Sequence[Shard], device: str) -> Counts:
    """The evaluator's counts over some shards of the test split.

    Raises DataError for a test image that cannot be decoded: leaving it out would change the test.
    """
    x, store = job.experiment, Store(job.store)
    num_classes, spec = len(store.card.classes), store.card.image
    network = restore(x.model, num_classes, spec, job.weights.read())
    network.to(device).eval()
    evaluator, labels = x.task.evaluator(num_classes), store.labels("test")
    for shard in shards:
        decoded = store.test.decode(store.test.read(shard))
        if decoded.bad:
            unit, reason = next(iter(decoded.bad.items()))
            raise DataError(f"test image {unit!r} cannot be decoded: {reason}; mend or remove it")
        for start in range(0, len(decoded.ids), x.compute.score_batch):
            rows = slice(start, start + x.compute.score_batch)
            images = normalise(torch.from_numpy(decoded.images[rows]).to(device), spec)
            truth = torch.tensor([labels[unit] for unit in decoded.ids[rows]])
            evaluator.update(forward(network, images).logits.float().cpu(), truth)
    return evaluator.state()


def metrics(job: EvaluateJob, counts: Iterable[Counts]) -> Json:
    """The metrics of the whole test split from the counts of its parts."""
    evaluator = job.experiment.task.evaluator(len(Store(job.store).card.classes))
    total: Counts = np.sum(list(counts), axis=0)
    return evaluator.compute(total)
