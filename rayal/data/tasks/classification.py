"""One class per image."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.card import Card
from rayal.data.masks import LabelValue
from rayal.data.tasks._confusion import ConfusionMatrix
from rayal.data.tasks.base import Evaluator, Task
from rayal.errors import DataError, UsageError, quoted


class Classification(Task):
    """Cross entropy; accuracy, accuracy per class and mean negative log-likelihood (nats)."""

    headline: ClassVar[str] = "accuracy"
    calibrated: ClassVar[bool] = True
    headline_is_share: ClassVar[bool] = True

    def targets(self, labels: Mapping[str, LabelValue], card: Card) -> Tensor:
        for unit, label in labels.items():
            if not isinstance(label, int | np.integer) or not 0 <= label < len(card.classes):
                raise DataError(
                    f"{quoted(unit)} is labeled {quoted(label)}, which is no class index"
                    f" 0..{len(card.classes) - 1}; set task: segmentation for masks"
                )
        return torch.tensor(list(labels.values()), dtype=torch.int64)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")

    def accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(dim=1) == labels).float().mean()

    def per_unit(self, values: Tensor, valid: Tensor | None) -> Tensor:
        if values.ndim != 1:
            shape = tuple(values.shape)
            raise UsageError(
                f"task 'classification' has one value per image, got shape {shape}; give a tensor"
                " of one dimension"
                + (": maps need a segmentation task" if values.ndim == 3 else "")
            )
        return values

    def evaluator(self, num_classes: int) -> Evaluator:
        return Confusion(num_classes)


class Confusion(ConfusionMatrix):
    """Of images."""

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.watch(logits)
        logits = logits.detach().double()
        self.add(logits, labels, F.cross_entropy(logits, labels, reduction="sum"))

    def compute(self, state: NDArray[np.float64]) -> dict[str, Any]:
        confusion = self.confusion(state)
        images = confusion.sum()
        if not images:
            raise DataError("no image was evaluated: the test split is empty")
        per_class = zip(confusion.diagonal(), confusion.sum(axis=1), strict=True)
        return {
            "accuracy": float(confusion.trace() / images),
            "nll": float(state[-1] / images),
            "per_class_accuracy": [float(right / n) if n else None for right, n in per_class],
        }
