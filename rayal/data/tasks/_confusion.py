"""The confusion matrix of a split and its summed log-likelihood, whatever a prediction is of.

P predictions, C classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.tasks.base import Evaluator
from rayal.errors import DataError

UNLABELED = -100
"""In place of a class, where there is none: no number that a class has."""


class ConfusionMatrix(Evaluator):
    """State: the confusion matrix (C C, true class in rows), then the summed NLL.

    What a batch adds stays on its device until the state is asked for: a number would be waited
    for. Logits that are not finite are told of there, by a DataError.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._cells = num_classes**2
        self._sum: Tensor | None = None
        self._finite: Tensor | None = None

    def add(self, logits: Tensor, labels: Tensor, nll: Tensor) -> None:
        """Counts predictions: logits P C, and true classes P, of which `UNLABELED` counts for none;
        `nll` is the sum of what the others are worth, a scalar."""
        classes = self._num_classes
        cells = labels * classes + logits.argmax(dim=1)
        cells = torch.where(labels == UNLABELED, self._cells, cells)
        counts = logits.new_zeros(self._cells + 1, dtype=torch.float64)
        counts.scatter_add_(0, cells, torch.ones_like(cells, dtype=torch.float64))
        counts[-1] = nll  # in place of those that count for none
        self._sum = counts if self._sum is None else self._sum + counts

    def watch(self, logits: Tensor) -> None:
        """Makes `state` raise where one of these is not finite."""
        finite = logits.isfinite().all()
        self._finite = finite if self._finite is None else self._finite & finite

    def state(self) -> NDArray[np.float64]:
        if self._sum is None:
            return np.zeros(self._cells + 1)
        watched = self._sum.new_ones(()) if self._finite is None else self._finite.double()
        told = torch.cat([self._sum, watched[None]]).cpu().numpy()  # waits once
        if not told[-1]:
            raise DataError(
                "the network's outputs are not finite: its training diverged; lower scheme.lr"
            )
        return np.array(told[:-1])

    def confusion(self, state: NDArray[np.float64]) -> NDArray[np.int64]:
        # counts in float64 are exact below 2 ** 53
        return state[:-1].reshape(self._num_classes, self._num_classes).astype(np.int64)
