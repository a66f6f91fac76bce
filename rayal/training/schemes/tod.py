"""TOD's training: the task's loss, plus consistency with a moving average of the model.

Source: Huang et al., "Semi-Supervised Active Learning with Temporal Output Discrepancy" (ICCV
2021), Sec. 4, Eq. 7; official code siyuhuang/TOD, 883494b.

Differences: the defaults are the paper's, from whose text the official code parts in six places.
All of them at once (with `lr`, `epochs` and so on as in the paper, which are the defaults too):

    scheme:
      name: tod
      weight: 0.02            # CIFAR-10; CIFAR-100 0.05, SVHN 0.005, Caltech-101 0.1
      heads: 2
      use_labeled: true
      reduction: mean
      cycle0_unlabeled: fixed
      teacher: {ramp: true, start: random, batch_norm: own}
      augment: {flip: true, crop: 4}

Of a dense task, on which the paper is silent and for which there is no code, f is the map of logits
on the logit grid. The squared distance of each position (`reduction` says whether the sum or the
mean over classes) is averaged over positions and images, so that `weight` means the same for maps
of any size. Where unlabeled images stick out of their window or canvas their filling is pulled
too: nothing tells it apart. The labeled ones' is pulled with `use_labeled`.

What is left of a difference: the official code draws the unlabeled images of a step with no memory
of the steps before; here each is seen once before any is seen again.
"""

from typing import Literal

from torch import nn

from rayal.data.tasks.base import Task
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.training.base import Unlabeled
from rayal.training.learner import Learner
from rayal.training.schemes._consistency import Consistency, ConsistencyLearner


class Tod(Consistency):
    """Task loss + weight * mean over unlabeled x of |f(x; w) - f(x; w~)|^2, on logits.

    w~ is a moving average of the weights w and gets no gradient. Costs a step three forwards and
    two backwards in place of one and one. Evaluation and scoring use w.
    """

    teacher: EmaTeacherSpec = EmaTeacherSpec()
    """How the moving average w~ follows the model's weights w."""
    cycle0_unlabeled: Literal["random", "fixed"] = "random"
    """Unlabeled images of the first cycle: drawn at `random`, or (official) `fixed`, the same in
    every step."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.teacher, *super().companions())

    def unlabeled(self, cycle: int) -> Unlabeled:
        fixed = cycle == 0 and self.cycle0_unlabeled == "fixed"
        return Unlabeled(self.unlabeled_batch_size, fixed=fixed)

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        teacher = companions.of(EmaTeacherSpec)
        return ConsistencyLearner(self, model, task, companions, teacher)
