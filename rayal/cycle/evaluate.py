"""Evaluation: counts per piece, added in order, so all workers agree exactly; and the logits that
calibration is measured on.

The test split is read once per cycle, and nothing in a run depends on what it says. Where there is
none, labels of people are looked at in its place: those that a model was trained on, and those that
were bought after it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.cycle.calibration import calibrated
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
from rayal.runs.results import Calibration
from rayal.signals.networks import forward
from rayal.storage.folder import Json
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise

Piece = Shard | tuple[str, ...]
"""A shard of the test split, or images of the pool."""
LOGITS = 2_000_000
"""Numbers that calibration is measured on, at most: of 10,000 images with 100 classes all, with
1,000 classes every fifth."""

Sampled = tuple[Tensor, Tensor]
"""Logits N C where they were computed, and true classes N."""


class Counted(NamedTuple):
    """What one piece comes to. N images that calibration is measured on, C classes."""

    state: NDArray[np.float64]
    """Of its evaluator."""
    logits: NDArray[np.float32]  # N C
    truth: NDArray[np.int64]  # N


class Outcome(NamedTuple):
    """What the images of a job say of a model."""

    metrics: Json
    """By name; none where people have labeled nothing in any of them."""
    confusion: NDArray[np.int64] | None = None
    """C C, the true class in rows."""
    calibration: Calibration | None = None


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

    @property
    def calibrates(self) -> bool:
        """Whether calibration is measured: of one class for each test image."""
        return self.experiment.task.calibrated and self.labels is None


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
        card, shards = self.store.card, test_shards(x, job.store) if job.calibrates else []
        self.every = max(1, math.ceil(card.test * len(card.classes) / LOGITS))
        starts = accumulate((shard.rows for shard in shards), initial=0)
        self.starts = dict(zip(shards, starts, strict=False))

    def count(self, piece: Piece) -> Counted:
        """What a piece comes to.

        Raises DataError for a test image that cannot be decoded: leaving it out would change the
        test.
        """
        x, store = self.job.experiment, self.store
        decoded, labels = self._read(piece)
        evaluator, sampled = x.task.evaluator(len(store.card.classes)), list[Sampled]()
        for start in range(0, len(decoded.ids), x.compute.score_batch):
            rows = slice(start, start + x.compute.score_batch)
            images = sent(torch.from_numpy(decoded.images[rows]), self.device)
            images = normalise(images, store.card.image)
            truth = x.task.targets({unit: labels[unit] for unit in decoded.ids[rows]}, store.card)
            logits = forward(self.network, images, x.scheme.precision).logits.float()
            evaluator.update(logits, sent(truth, self.device))
            if self.job.calibrates:
                assert isinstance(piece, Shard)
                own = slice(-(self.starts[piece] + start) % self.every, None, self.every)
                sampled.append((logits[own], truth[own]))
        return Counted(evaluator.state(), *_joined(sampled, len(store.card.classes)))

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


def evaluate(job: EvaluateJob, shards: Sequence[Piece], device: str) -> list[Counted]:
    """What each piece comes to, see `Evaluation`."""
    evaluation = Evaluation(job, device)
    return [evaluation.count(shard) for shard in shards]


def outcome(job: EvaluateJob, pieces: Sequence[Counted]) -> Outcome:
    """What all images of a job say, from its pieces in their order; nothing where people have
    labeled nothing in any of them, such as masks that are void."""
    evaluator = job.experiment.task.evaluator(len(Store(job.store).card.classes))
    total = np.sum([piece.state for piece in pieces], axis=0)
    if job.labels is not None and not np.any(total):
        return Outcome({})
    logits, truth = (np.concatenate(each) for each in zip(*(p[1:] for p in pieces), strict=True))
    return Outcome(
        evaluator.compute(total),
        evaluator.confusion(total),
        calibrated(logits, truth) if len(truth) > 1 else None,
    )


def _joined(
    sampled: Sequence[Sampled], classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """On the CPU, which is waited for once."""
    if not sampled:
        return np.zeros((0, classes), np.float32), np.zeros(0, np.int64)
    logits, truth = (torch.cat(each) for each in zip(*sampled, strict=True))
    return logits.cpu().numpy(), truth.numpy()
