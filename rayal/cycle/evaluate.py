"""Evaluation on the test split: counts per shard, added in order, so all workers agree exactly.

The test split is read once per cycle, and nothing in a run depends on what it says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.cycle.score import shard_rows
from rayal.data.pool import Shard
from rayal.data.store import Store
from rayal.errors import OUT, DataError, quoted
from rayal.experiment.experiment import Experiment
from rayal.models.device import sent
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.signals.batch import forward
from rayal.storage.folder import FileLocation, Json
from rayal.training.augment import normalise

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class EvaluateJob:
    """Which weights are evaluated on which store."""

    experiment: Experiment
    store: str
    weights: FileLocation

    def shards(self) -> list[Shard]:
        return test_shards(self.experiment, self.store)


def test_shards(x: Experiment, url: str) -> list[Shard]:
    """The pieces of work that an evaluation on the store at `url` is divided into."""
    store = Store(url)
    return store.test.shards(shard_rows(x.compute, store.card))


class Evaluation:
    """Counts the shards of the test split, with the network of a job opened once per worker."""

    def __init__(self, job: EvaluateJob, device: str) -> None:
        self.job, self.device, self.store = job, torch.device(device), Store(job.store)
        x = job.experiment
        network = TrainedModel.read(job.weights, x.card_for(self.store.card)).network()
        self.network = placed(network, device, x.scheme.precision).eval()

    def count(self, shard: Shard) -> Counts:
        """The evaluator's counts of a shard.

        Raises DataError for an image that cannot be decoded: leaving it out would change the test.
        """
        x, store = self.job.experiment, self.store
        decoded = store.test.decode(store.test.read(shard))
        labels = store.labels("test", decoded.ids)
        if decoded.bad:
            unit, reason = next(iter(decoded.bad.items()))
            raise DataError(
                f"test image {quoted(unit)} cannot be decoded: {reason}; mend it, or remove it and"
                f" use another {OUT}"
            )
        evaluator = x.task.evaluator(len(store.card.classes))
        for start in range(0, len(decoded.ids), x.compute.score_batch):
            rows = slice(start, start + x.compute.score_batch)
            images = sent(torch.from_numpy(decoded.images[rows]), self.device)
            images = normalise(images, store.card.image)
            truth = x.task.targets({unit: labels[unit] for unit in decoded.ids[rows]}, store.card)
            logits = forward(self.network, images, x.scheme.precision).logits.float()
            evaluator.update(logits, sent(truth, self.device))
        return evaluator.state()


def evaluate(job: EvaluateJob, shards: Sequence[Shard], device: str) -> list[Counts]:
    """The evaluator's counts of each shard of the test split, see `Evaluation`."""
    evaluation = Evaluation(job, device)
    return [evaluation.count(shard) for shard in shards]


def metrics(job: EvaluateJob, counts: Sequence[Counts]) -> Json:
    """The metrics of the whole test split from the counts of its shards, in their order."""
    evaluator = job.experiment.task.evaluator(len(Store(job.store).card.classes))
    total: Counts = np.sum(counts, axis=0)
    return evaluator.compute(total)
