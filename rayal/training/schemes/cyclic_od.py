"""The cyclic variant of TOD's training: consistency with the model of the last cycle.

Source: Huang et al., "Semi-Supervised Active Learning with Temporal Output Discrepancy" (ICCV
2021), Fig. 10, the ablation "CyclicOD"; there is no code for it. The paper finds it less stable
than the moving average of `tod`. Maps of logits are compared as there.
"""

from typing import ClassVar

from torch import nn

from rayal.data.tasks.base import Task
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.models.companions.teacher import FrozenTeacherSpec
from rayal.training.base import Unlabeled
from rayal.training.learner import Learner
from rayal.training.schemes._consistency import Consistency, ConsistencyLearner


class CyclicOd(Consistency):
    """Task loss + weight * mean over unlabeled x of |f(x; w) - f(x; w')|^2, on logits.

    w' are the weights that the last cycle ended and this one starts with. The first
    cycle has none and minimises the task's loss alone.
    """

    requires_warm: ClassVar[bool] = True

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (FrozenTeacherSpec(), *super().companions())

    def unlabeled(self, cycle: int) -> Unlabeled | None:
        return Unlabeled(self.unlabeled_batch_size) if cycle > 0 else None

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        if cycle == 0:
            return Learner(self, model, task, companions)
        teacher = companions.of(FrozenTeacherSpec)
        return ConsistencyLearner(self, model, task, companions, teacher)
