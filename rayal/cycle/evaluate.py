"""Evaluation: counts per piece, added in order, so all workers agree exactly.

The test split is read once per cycle, and nothing in a run depends on what it says. Where there is
none, labels of people are looked at in its place: those that a model was trained on, and those that
were bought after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.cycle.score import shard_rows
from rayal.data.card import MeanStd
from rayal.data.masks import LabelValue
from rayal.data.pool import Decoded, Shard
from rayal.data.store import Store
from rayal.errors import OUT, DataError, quoted
from rayal.experiment.experiment import Experiment
from rayal.models.device import sent
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.signals.batch import forward
from rayal.storage.folder import Json
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise

Counts = NDArray[np.float64]
Piece = Shard | tuple[str, ...]
"""A shard of the test split, or images of the pool."""


@dataclass(frozen=True)
class EvaluateJob:
    """Which weights are evaluated on which images of which store."""

    experiment: Experiment
    store: str
    weights: FileLocation
    labels: Mapping[str, LabelValue] | None = None
    """Images of the pool, in its order, with labels that people gave; None: the test split."""
    statistics: MeanStd | None = None
    """As of the training."""

    def shards(self) -> Sequence[Piece]:
        """The pieces of work."""
        if self.labels is None:
            return test_shards(self.experiment, self.store)
        rows, units = shard_rows(self.experiment.compute, Store(self.store).card), [*self.labels]
        return [tuple(units[start : start + rows]) for start in range(0, len(units), rows)]


def test_shards(x: Experiment, url: str) -> list[Shard]:
    """The pieces of work that an evaluation on the store at `url` is divided into."""
    store = Store(url)
    return store.test.shards(shard_rows(x.compute, store.card))


class Evaluation:
    """Counts the pieces of a job, with its network opened once per worker."""

    def __init__(self, job: EvaluateJob, device: str) -> None:
        self.job, self.device = job, torch.device(device)
        self.store = Store(job.store, job.statistics)
        x = job.experiment
        network = TrainedModel.read(job.weights, x.card_for(self.store.card)).network()
        self.network = placed(network, device, x.scheme.precision).eval()

    def count(self, piece: Piece) -> Counts:
        """The evaluator's counts of a piece.

        Raises DataError for a test image that cannot be decoded: leaving it out would change the
        test.
        """
        x, store = self.job.experiment, self.store
        decoded, labels = self._read(piece)
        evaluator = x.task.evaluator(len(store.card.classes))
        for start in range(0, len(decoded.ids), x.compute.score_batch):
            rows = slice(start, start + x.compute.score_batch)
            images = sent(torch.from_numpy(decoded.images[rows]), self.device)
            images = normalise(images, store.card.image)
            truth = x.task.targets({unit: labels[unit] for unit in decoded.ids[rows]}, store.card)
            logits = forward(self.network, images, x.scheme.precision).logits.float()
            evaluator.update(logits, sent(truth, self.device))
        return evaluator.state()

    def _read(self, piece: Piece) -> tuple[Decoded, Mapping[str, LabelValue]]:
        store = self.store
        if not isinstance(piece, Shard):
            assert self.job.labels is not None
            return store.pool.decode(store.pool.take(piece)), self.job.labels
        decoded = store.test.decode(store.test.read(piece))
        if decoded.bad:
            unit, reason = next(iter(decoded.bad.items()))
            raise DataError(
                f"test image {quoted(unit)} cannot be decoded: {reason}; mend it, or remove it and"
                f" use another {OUT}"
            )
        return decoded, store.labels("test", decoded.ids)


def evaluate(job: EvaluateJob, shards: Sequence[Piece], device: str) -> list[Counts]:
    """The evaluator's counts of each piece, see `Evaluation`."""
    evaluation = Evaluation(job, device)
    return [evaluation.count(shard) for shard in shards]


def metrics(job: EvaluateJob, counts: Sequence[Counts]) -> Json:
    """The metrics of all images of a job from the counts of its pieces, in their order; none where
    people have labeled nothing in any of them, such as masks that are void."""
    evaluator = job.experiment.task.evaluator(len(Store(job.store).card.classes))
    total: Counts = np.sum(counts, axis=0)
    if job.labels is not None and not np.any(total):
        return {}
    return evaluator.compute(total)
