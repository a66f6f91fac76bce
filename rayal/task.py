"""The contract of a task: the loss per unit, and how predictions are judged.

N images, C classes; * is nothing for classification, H W for segmentation.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rayal.parts import Component


class Evaluator(ABC):
    """Collects what the metrics of one split need, batch by batch.

    The state is a flat array that adds up: `compute(sum of the workers' states)` is the result of
    one evaluator that saw every batch.
    """

    @abstractmethod
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in one batch: logits N C *, labels N *, on any device."""

    @abstractmethod
    def state(self) -> NDArray[np.float64]:
        """What was collected so far."""

    @abstractmethod
    def compute(self, state: NDArray[np.float64]) -> dict[str, Any]:
        """Metrics by name: a number, or a list with one per class, None where undefined."""


class Task(Component):
    """What is predicted: it decides the loss and the metrics."""

    headline: ClassVar[str]
    """The metric that curves and tables show first."""

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """One loss per image, (N,); averaging them is the scheme's business."""

    @abstractmethod
    def per_unit(self, values: Tensor) -> Tensor:
        """One number per unit, (N,), from one per prediction: (N,) or (N, H, W)."""

    @abstractmethod
    def evaluator(self, num_classes: int) -> Evaluator:
        """A fresh evaluator."""
