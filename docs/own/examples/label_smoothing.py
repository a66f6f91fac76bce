"""Supervised training on smoothed labels (Szegedy et al., CVPR 2016)."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rayal import Batch, Learner, Outputs, TrainingScheme
from rayal.data.tasks.base import Task
from rayal.models.companions.base import Companions


class LabelSmoothing(TrainingScheme):
    """Cross-entropy against (1 - smoothing) of the label and smoothing / C of every class."""

    tasks = frozenset({"classification"})
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target that is spread over all classes."""

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return SmoothingLearner(self, model, task, companions)


class SmoothingLearner(Learner):
    def __init__(
        self, scheme: LabelSmoothing, model: nn.Module, task: Task, companions: Companions
    ) -> None:
        super().__init__(scheme, model, task, companions)
        self.smoothing = scheme.smoothing

    def per_unit_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return cross_entropy(  # B C -> B
            outputs.logits, batch.labels, reduction="none", label_smoothing=self.smoothing
        )
