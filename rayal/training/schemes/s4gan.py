"""s4GAN: a discriminator tells true masks from predicted ones, and the network learns to pass.

Source: Mittal et al., "Semi-Supervised Semantic Segmentation with High- and Low-Level Consistency"
(TPAMI 2021), its branch s4GAN alone; official code sud0301/semisup-semseg,
5425eda. It is the semi-supervised training on VOC of "Parting with Illusions about Deep Active
Learning" (2019), which has no code.

The segmentation network G is the model, the discriminator D a companion (`discriminator.py`). D
never sees a gradient of G's step, nor G one of D's; both learn from the same predictions, made
before either moved. In training D drops channels, also where it judges for G, as in the code.

Differences:
- The code shows D the true masks of a third batch; here it sees those of the labeled batch itself.
- The extremes that bring images to [0, 1], see `discriminator.py`.
- The code interpolates logits with aligned corners, here they are as everywhere in rayal.
- The batch norm of the code's network keeps its scales and shifts, while its running statistics
  move: an option of `deeplab_v2`, not of this scheme.
- On several workers the means of features and the choice of pseudo-labels are those of the whole
  batch; the code knows one process.

Unlabeled pixels of true masks are all 0 to D, as in the code, which no prediction ever is. Where
they are many (approximated masks, bought polygons, windows that stick out of their images) D knows
a true mask by its holes, and rarely lets a prediction pass `threshold`; watch `passed` in
`epochs.jsonl`. Where predicted images stick out of the window their filling is predicted too.

The protocol of Parting on VOC, with its defaults (official: 40000 steps, no flip and no scale):

    scheme:
      name: s4gan
      steps: 10000             # Cityscapes: threshold 0.7
      batch_size: 8
      lr: 2.5e-4
      last_layer_lr: 10
      schedule: poly
      augment: {window: [321, 321], scale: [0.5, 1.5], flip: true}
    strategy: d_score
"""

from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import Adam

from rayal.data.pixels import upsampled
from rayal.data.tasks.base import Task, TaskName
from rayal.models import parallel
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.models.companions.discriminator import DiscriminatorSpec, Judged, one_hot
from rayal.models.network import computing
from rayal.training.base import POLY_POWER, Batch, TrainingScheme, Unlabeled
from rayal.training.learner import Learner, fused_on


class S4gan(TrainingScheme):
    """Task loss + feature matching + self-training on the predictions that D takes for true masks.

    L = L_task + w_fm mean_d |mean D_feat(y) - mean D_feat(p)|_d + w_st CE(p, argmax p), with masks
    y of the labeled and predictions p of the unlabeled images; the last over all pixels of the
    images with D(p) > threshold, from the second step on, and 0 where there is none.
    L_D = (BCE(D(y), 1) + BCE(D(p), 0)) / 2. Supervised where the pool is all labeled.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})

    feature_matching: NonNegativeFloat = 0.1
    """Weight of feature matching; the task's loss has 1."""
    self_training: NonNegativeFloat = 1.0
    """Weight of self-training."""
    threshold: float = Field(default=0.6, ge=0, le=1)
    """What D has to say of a prediction, strictly more, before it is a label: 0.6 on VOC, 0.7 on
    Cityscapes; 1: no self-training."""
    unlabeled_batch_size: int = Field(default=8, ge=2)
    """Unlabeled images of one step, on all workers together."""
    discriminator: DiscriminatorSpec = DiscriminatorSpec()
    """The discriminator D's size. Where cycles start warm it goes on learning, with a fresh
    optimizer."""
    discriminator_lr: float = Field(default=1e-4, gt=0)
    """Learning rate of D's Adam (betas 0.9 and 0.99) at the first step, times (1 - t)^0.9, whatever
    `schedule` says of the model's."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.discriminator,)

    def unlabeled(self, cycle: int) -> Unlabeled:
        return Unlabeled(self.unlabeled_batch_size)

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return S4ganLearner(self, model, task, companions)


class Shown(NamedTuple):
    """What D learns from in a step: B labeled images, then Bu unlabeled ones, of this worker."""

    masks: Tensor  # B + Bu C H W: true ones, one-hot, then predicted probabilities
    images: Tensor  # B + Bu channels H W


class S4ganLearner(Learner):
    """The model's step, then the discriminator's."""

    def __init__(self, scheme: S4gan, model: nn.Module, task: Task, companions: Companions) -> None:
        super().__init__(scheme, model, task, companions)
        self.s4gan = scheme
        discriminator = companions.of(DiscriminatorSpec)
        self.discriminator = discriminator.train()
        """What judges for the model: no worker waits for another there."""
        with discriminator.learning():
            self.judge = parallel.averaging(discriminator)
        self.discriminator_optimizer = Adam(
            discriminator.parameters(),
            lr=scheme.discriminator_lr,
            betas=(0.9, 0.99),
            fused=fused_on(discriminator),
        )
        self._shown: Shown | None = None

    def step(self, batch: Batch) -> dict[str, Tensor]:
        values = super().step(batch)
        if self._shown is not None:
            values |= self.teach(self._shown, batch)
            self._shown = None
        return values

    def loss(self, batch: Batch) -> Tensor:
        loss = self.supervised_loss(self.network(batch.images), batch)
        if batch.unlabeled is None:
            return loss
        # a forward of its own: batch norm never mixes labeled and unlabeled images
        logits = self.network(batch.unlabeled).logits.float()
        logits = upsampled(logits, batch.unlabeled.shape[2:])
        true, predicted = one_hot(batch.labels, logits.shape[1]), logits.softmax(dim=1)
        with torch.no_grad():
            of_true = self.discriminator(true, batch.images)
        of_predicted = self.discriminator(predicted, batch.unlabeled)
        self._shown = Shown(
            torch.cat([true, predicted.detach()]), torch.cat([batch.images, batch.unlabeled])
        )
        matching = feature_distance(of_true, of_predicted, batch.weight)
        training = self._self_training(logits, of_predicted, batch)
        self.note(feature_matching=matching, self_training=training)
        x = self.s4gan
        # equal parts on all workers: undoes `step`'s weight
        return loss + (x.feature_matching * matching + x.self_training * training) / batch.weight

    def _self_training(self, logits: Tensor, judged: Judged, batch: Batch) -> Tensor:
        """Mean cross-entropy of the predictions that pass, of all workers, with their own classes;
        notes which share of them passes."""
        passing = (judged.probability.detach() > self.s4gan.threshold).float()  # Bu
        if batch.step == 0:
            passing = torch.zeros_like(passing)
        losses = cross_entropy(logits, logits.detach().argmax(dim=1), reduction="none")
        share = parallel.mean(passing.mean())
        self.note(passed=share)
        # of no image at all it is 0, without gradient
        mean = (losses.mean(dim=(1, 2)) * passing).mean() / torch.where(share > 0, share, 1.0)
        return parallel.mean(mean)

    def teach(self, shown: Shown, batch: Batch) -> dict[str, Tensor]:
        """One update of the discriminator; returns its loss and how often it is right."""
        optimizer, count = self.discriminator_optimizer, len(batch.images)
        for group in optimizer.param_groups:
            group["lr"] = self.s4gan.discriminator_lr * (1 - batch.progress) ** POLY_POWER
        with self.discriminator.learning():
            with computing(batch.images.device, self.scheme.precision):
                logits = self.judge(*shown).logits
            of_true = cross_entropy_to(logits[:count], 1.0)
            of_predicted = cross_entropy_to(logits[count:], 0.0)
            optimizer.zero_grad()
            torch.autograd.backward((of_true * batch.weight + of_predicted) / 2)
            optimizer.step()
        right = ((logits[:count] > 0).float().mean() + (logits[count:] <= 0).float().mean()) / 2
        return {
            "discriminator_loss": ((of_true + of_predicted) / 2).detach(),
            "discriminator_accuracy": right,
        }

    def state_dict(self) -> dict[str, Any]:
        own = {"discriminator_optimizer": self.discriminator_optimizer.state_dict()}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])


def feature_distance(true: Judged, predicted: Judged, weight: float = 1.0) -> Tensor:
    """Mean over D features of the distance between their means over both sets, of all workers.

    A scalar, with gradient to the predicted ones. `weight` is `Batch.weight`, of the true ones.
    """
    means = (true.features.mean(dim=0).detach() * weight, predicted.features.mean(dim=0))
    one, other = (parallel.mean(mean) for mean in means)  # D
    return (one - other).abs().mean()


def cross_entropy_to(logits: Tensor, truth: float) -> Tensor:
    """Mean binary cross-entropy of logits N with one truth for all."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
