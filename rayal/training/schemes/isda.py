"""ISDA, implicit semantic data augmentation: features vary as their class varies, in closed form.

Source: Wang et al., "Implicit Semantic Data Augmentation for Deep Networks" (NeurIPS 2019; TPAMI
2021), Eq. 7 and Algorithm 1; official code blackfeather-wang/ISDA-for-Deep-Networks, b66a594. It is
the training of DAST-AL (ECCV 2022), official code cheny124800/DASTAL, 175e5bb.

In place of drawing features from N(a, lambda S_y) around the features a of every image, S_y being
the covariance of its class, it minimises what the mean cross-entropy of all of them cannot exceed.
lambda grows from 0, for the first covariances say little. As in the codes, a step takes in its
batch's features before it computes the loss, and its gradient reaches the last layer through the
bound too. Evaluation and scoring use plain logits.

Differences, each between papers and codes:
- The papers let lambda grow with t / T and leave the unit of t open. The codes for CIFAR and of
  DAST-AL count whole epochs, so the first one is plain and the last has lambda_0 (T - 1) / T; the
  one for Cityscapes counts steps.
- Statistics begin afresh in every cycle; DAST-AL's live through all of them (`reset: false`).
- Of a dense task the logits are augmented on the logit grid, by the label nearest to each place, as
  in the code for Cityscapes, and then interpolated to pixels.
- On several workers the statistics are those of the whole batch, see `class_statistics`.

DAST-AL's protocol, with its defaults and crop 4 and flip as augmentation:

    scheme: {name: isda, strength: 1.0, reset: false}   # CIFAR-10; CIFAR-100 5.0
    strategy: {name: epmcm, reset: false}               # `update_while_scoring` as in its code
    candidates: 10000
"""

from typing import Literal

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from rayal.data.pixels import on_grid
from rayal.data.tasks.base import Task
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.models.companions.class_statistics import (
    ClassStatisticsSpec,
    Covariance,
    isda_logits,
    linear_weight,
    quadratic_terms,
)
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner


class Isda(TrainingScheme):
    """Task loss of z_j + lambda/2 (w_j - w_y)^T S_y (w_j - w_y), labeled y: never below the plain.

    Supervised training where `strength` is 0. Defaults are those for CIFAR but for `covariance`.
    """

    strength: NonNegativeFloat = 0.5
    """Largest weight of the augmentation, lambda_0; 0: none. ISDA: 0.5 on CIFAR, 1 to 7.5
    elsewhere. DAST-AL: 1 on CIFAR-10, 5 on CIFAR-100."""
    ramp: Literal["epoch", "step"] = "epoch"
    """When lambda = lambda_0 t / T grows: with every epoch done, or with every step. A training
    whose length is in steps has no other."""
    covariance: Covariance = "diagonal"
    """What S_y holds: a variance per feature (ImageNet, DAST-AL), or the `full` matrix (ISDA on
    CIFAR)."""
    reset: bool = True
    """Forget the statistics at the start of every training; official: false."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (ClassStatisticsSpec(covariance=self.covariance, reset=self.reset),)

    def strength_at(self, step: int, steps: int) -> float:
        """lambda in step `step` of `steps`."""
        if self.ramp == "step":
            return self.strength * step / steps
        return self.strength * (step * self.length // steps) / self.length

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return IsdaLearner(self, model, task, companions)


class IsdaLearner(Learner):
    """Supervised training on augmented logits; the accuracy is that of the plain ones."""

    def __init__(self, scheme: Isda, model: nn.Module, task: Task, companions: Companions) -> None:
        super().__init__(scheme, model, task, companions)
        self.isda = scheme
        self.statistics = companions.of(ClassStatisticsSpec)

    def per_unit_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        quadratic = quadratic_terms(linear_weight(self.model), self.statistics)
        strength = self.isda.strength_at(batch.step, batch.steps)
        labels = batch.labels
        if labels.ndim > 1:
            labels = on_grid(labels, outputs.logits.shape[2:])
        augmented = isda_logits(outputs.logits, labels, quadratic, strength)
        return self.task.loss(augmented, batch.labels)
