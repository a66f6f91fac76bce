"""The contract of a task: the loss per unit, and how predictions are judged.

N images, C classes; * is nothing for classification, H W for segmentation. A dense network predicts
on a coarser grid h w, its logit grid.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.card import Card
from rayal.data.masks import LabelValue
from rayal.parts import Component, find, names

TaskName = Literal["classification", "segmentation"]

NEW, FIT, EXPLORED = "new_", "fit_", "explored_"
"""How figures are called that need no test images: of the labels bought last, by the model before
them; of the labels that the model was trained on; and, of those bought last, of the ones alone that
`explore` drew at random."""


def headline_of(metric: str, tested: bool, explores: bool = False) -> str:
    """What curves and tables show first of a task's headline `metric`: that of the test images, or,
    where there are none, of the labels bought last; of those drawn at random, where some are."""
    return metric if tested else f"{EXPLORED if explores else NEW}{metric}"


def is_tested(headline: str) -> bool:
    """Whether such a headline is of test images."""
    return not headline.startswith((NEW, EXPLORED))


def metric_of(headline: str) -> str:
    """The task's metric behind what `headline_of` says."""
    return headline.removeprefix(NEW).removeprefix(EXPLORED)


def untested_note(headline: str) -> str:
    """What the headline of a run without test images is, for people."""
    metric = metric_of(headline)
    if headline.startswith(EXPLORED):
        return (
            f"no test set. {headline}: {metric} on the labels bought last that were drawn at random"
            " (explore), of the model that was trained before them: an estimate for all that had no"
            f" label then; it does not compare strategies. {FIT}{metric}: {metric} on the labels"
            " that the model itself was trained on"
        )
    return (
        f"no test set. {NEW}{metric}: {metric} on the labels bought last, of the model that was"
        " trained before them; a strategy chose these, so it measures neither the pool nor"
        f" strategies. {FIT}{metric}: {metric} on the labels that the model itself was trained on"
    )


class Evaluator(ABC):
    """Collects what the metrics of one split need, batch by batch.

    The state is a flat array that adds up: `compute(sum of the workers' states)` is the result of
    one evaluator that saw every batch.
    """

    @abstractmethod
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in one batch: logits N C or N C h w and their labels N *, on the same device, which
        is not waited for."""

    @abstractmethod
    def state(self) -> NDArray[np.float64]:
        """What was collected so far. Raises DataError where logits were not finite."""

    @abstractmethod
    def compute(self, state: NDArray[np.float64]) -> dict[str, Any]:
        """Metrics by name: a number, or a list with one per class, None where undefined."""

    def confusion(self, state: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """How many predictions of a true class (row) said which class (column), (C, C); None where
        the task has no such thing."""
        return None


class Task(Component):
    """What is predicted: it decides the loss and the metrics."""

    headline: ClassVar[str]
    """The metric that curves and tables show first."""
    headline_is_share: ClassVar[bool] = False
    """Whether that is the share of images that are predicted right."""
    dense: ClassVar[bool] = False
    """Whether there is a prediction for every pixel; labels are masks then."""
    calibrated: ClassVar[bool] = False
    """Whether the softmax of an image's logits, (C,), is to be its probability of each class."""

    @abstractmethod
    def targets(self, labels: Mapping[str, LabelValue], card: Card) -> Tensor:
        """What `loss` compares with, N * in the order of `labels` (id -> label), on the CPU.

        Raises DataError for a label that is not of this task, with its id.
        """

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """One loss per image, (N,), of logits N C or N C h w, whatever else is in its batch;
        averaging them, by `weights`, is the scheme's business."""

    def weights(self, labels: Tensor) -> Tensor | None:
        """How much each image counts in the mean loss of a batch, (N,) float32, at least 0; None:
        all alike. A batch of nothing but 0 has loss 0."""
        return None

    @abstractmethod
    def accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Share of right predictions in a batch, a scalar, to watch a training by."""

    @abstractmethod
    def per_unit(self, values: Tensor, valid: Tensor | None) -> Tensor:
        """One number per unit, (N,), from one per prediction: (N,) or (N, H, W), of which only the
        `valid` ones (N H W) count."""

    @abstractmethod
    def evaluator(self, num_classes: int) -> Evaluator:
        """A fresh evaluator."""


class ForTasks(Component):
    """A part that is of use for some tasks only."""

    kind: ClassVar[str]
    """What `parts.find` calls parts of this contract."""
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification"})
    """Tasks it is defined for."""

    def misplaced(self, task: Task) -> str | None:
        """None, or that it is not for this task, and which parts of its kind are."""
        name = task.part_name()
        if name in self.tasks:
            return None
        fitting = [part for part in names(self.kind) if name in find(self.kind, part).tasks]
        return (
            f"{self.part_name()!r} supports {', '.join(sorted(self.tasks))}, but the task is"
            f" {name!r}; choose one of: {', '.join(fitting)}"
        )
