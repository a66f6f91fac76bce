"""UDA, unsupervised data augmentation: what the model says of an image, it says of a changed one.

Source: Xie et al., "Unsupervised Data Augmentation for Consistency Training" (NeurIPS 2020), Sec. 2
and 3; official code google-research/uda, image/, 1862464 (its policies 6aabffa and 960684e). It is
the semi-supervised training on CIFAR of Mittal et al., "Parting with Illusions about Deep Active
Learning" (2019), which has no code. The other code compared with is kekmodel/UDA-pytorch.

Every unlabeled image is seen twice in a step: as labeled images are, the *original*, and changed by
`strong`. Divergences of those whose original the model is not sure of are 0; they stay in the mean.
Labeled, original and strong images are one batch to batch norm. Weight decay is on all weights.

Scoring and evaluation use the last weights, or with `average` their moving average: all strategies
see this model alone. What a strategy trains beside the model (a loss prediction, class statistics)
has seen the features of the weights, not those of the average.

Differences:
- The code makes 100 strong copies of each image beforehand; here each view is new in every step.
- A strong view is cropped and flipped first, then changed by its policy and cut out; in the code
  last.
- The original's crop and flip are those of `augment`, the scheme's for labeled images.
- The code begins with 20,000 steps in which the rate grows, then a cosine; its numbers for CIFAR-10
  on a GPU are those of the block below.
- The code counts weight decay in the loss, half the sum of squares; in SGD's gradient that is the
  same. Its running statistics move by a tenth of each step's, which is torch's default.
- Codes differ in what is masked (`mask`), and in the average (`average`).

Defaults are the official code's for CIFAR-10, but for the average and for labeled images, which are
left out of the unlabeled ones unless asked for. All of it, 500,000 steps:

    scheme:
      name: uda
      steps: 500000
      batch_size: 64
      lr: 0.03
      nesterov: true
      schedule: cosine_7_16
      labeled_too: true
      average: {alpha: 0.9999, ramp: false}
      augment: {flip: true, crop: 4, padding: reflect}

Parting has `threshold: 0.6`, `temperature: 0.5`, `unlabeled_batch_size: 320` and AutoAugment, and
50,000 steps a cycle: configs/papers/parting/cifar10_uda.yaml.
"""

import math
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor, nn

from rayal.data.tasks.base import Task, TaskName
from rayal.models.base import Outputs
from rayal.models.companions.average import AverageSpec
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.training.augment import Augment
from rayal.training.base import Batch, TrainingScheme, Unlabeled
from rayal.training.learner import Learner

Annealing = Literal["linear", "exp", "log"]
SCALE = 5  # of the exponential schedules


class Uda(TrainingScheme):
    """Task loss + weight * mean over unlabeled x of [max p(x) > threshold] KL(p_T(x) || p(x')).

    p are the model's probabilities, p_T those of its logits over a temperature, without gradient;
    x' is the strong view. Supervised training where there are no unlabeled images.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification"})

    weight: NonNegativeFloat = 1.0
    """Weight of the divergence, lambda; the task's loss has 1."""
    unlabeled_batch_size: int = Field(default=448, ge=2)
    """Unlabeled images of one step, on all workers together, each of them in two views."""
    threshold: float = Field(default=0.8, ge=0, le=1)
    """How probable the original's class has to be for its divergence to count, beta; 1: none does.
    """
    temperature: float = Field(default=0.4, gt=0)
    """What the original's logits are divided by, tau: below 1 its probabilities are sharper."""
    mask: Literal["plain", "tempered"] = "plain"
    """Which probabilities `threshold` is compared with: the `plain` ones, which have to be above
    it (official), or the `tempered` ones, at it or above (kekmodel)."""
    strong: Augment = Augment(flip=True, crop=4, padding="reflect", policy="uda", cutout=16)
    """How the second view is made; its window has to be that of `augment`."""
    labeled_too: bool = False
    """Whether the labeled images are among the unlabeled ones (official: true)."""
    batch_norm: Literal["joint", "separate"] = "joint"
    """Whether labeled, original and strong images are one batch to batch norm (official) or three.
    """
    annealing: Annealing | None = None
    """How the probability grows, from 1 / C to 1, above which a labeled image's class is known and
    the image left out of its step (training signal annealing); null (official on CIFAR): none is.
    """
    average: AverageSpec | None = None
    """The moving average that is evaluated and scored with (official: {alpha: 0.9999, ramp:
    false}); null: the last weights are."""

    @model_validator(mode="after")
    def _views_of_one_size(self) -> Self:
        if self.strong.window != self.augment.window:
            raise ValueError(
                f"strong.window {self.strong.window} and augment.window {self.augment.window} give"
                " images of two sizes; give both the same"
            )
        return self

    def companions(self) -> tuple[CompanionSpec, ...]:
        return () if self.average is None else (self.average,)

    def unlabeled(self, cycle: int) -> Unlabeled:
        return Unlabeled(
            self.unlabeled_batch_size, strong=self.strong, labeled_too=self.labeled_too
        )

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return UdaLearner(self, model, task, companions)


class UdaLearner(Learner):
    """Task loss on the labeled images + weight * divergence of the strong views."""

    def __init__(self, scheme: Uda, model: nn.Module, task: Task, companions: Companions) -> None:
        super().__init__(scheme, model, task, companions)
        self.uda = scheme

    def loss(self, batch: Batch) -> Tensor:
        if batch.unlabeled is None or batch.strong is None:
            return super().loss(batch)
        if self.uda.batch_norm == "joint":
            views = self._together(batch.images, batch.unlabeled, batch.strong)
        else:
            views = self._apart(batch.images, batch.unlabeled, batch.strong)
        labeled, original, strong = views
        loss = self.supervised_loss(labeled, batch)
        logits = original.logits.float(), strong.logits.float()
        return loss + self.uda.weight * self.divergence(*logits, batch.weight)

    def _together(self, *images: Tensor) -> Iterator[Outputs]:
        """What the network says of each, in one forward."""
        logits, features, layers = self.network(torch.cat(images))
        for start, end in pairwise(accumulate(map(len, images), initial=0)):
            own = slice(start, end)
            yield Outputs(logits[own], features[own], tuple(layer[own] for layer in layers))

    def _apart(self, labeled: Tensor, original: Tensor, strong: Tensor) -> Iterator[Outputs]:
        """The same in a forward for each; that of the target needs no gradient."""
        yield self.network(labeled)
        with torch.no_grad():
            target = self.network(original)
        yield target
        yield self.network(strong)

    def divergence(self, original: Tensor, strong: Tensor, weight: float = 1.0) -> Tensor:
        """The mean over logits (Bu C, Bu C) of KL(p_T || p') in nats, a scalar, with gradient to
        `strong` alone; 0 where the original is not sure. Notes it, and how many are `confident`.

        It is divided by `weight`, which is `Batch.weight`: parts are equal on all workers, and
        steps and epochs multiply by the share of the labeled images.
        """
        x = self.uda
        target = (original.detach() / x.temperature).log_softmax(dim=1)
        if x.mask == "tempered":
            sure = target.exp().amax(dim=1) >= x.threshold
        else:
            sure = original.detach().softmax(dim=1).amax(dim=1) > x.threshold
        each = (target.exp() * (target - strong.log_softmax(dim=1))).sum(dim=1)  # Bu
        divergence = (each * sure).mean() / weight
        self.note(divergence=divergence, confident=sure.float().mean() / weight)
        return divergence

    def unit_weights(self, outputs: Outputs, batch: Batch) -> Tensor | None:
        """1 for images whose class is not yet as probable as annealing lets it be, else 0."""
        weights = super().unit_weights(outputs, batch)
        if self.uda.annealing is None:
            return weights
        probs = outputs.logits.detach().softmax(dim=1)
        known = probs.gather(1, batch.labels[:, None])[:, 0]
        kept = (known <= most_known(self.uda.annealing, batch.progress, probs.shape[1])).float()
        self.note(kept=kept.mean())
        return kept if weights is None else kept * weights


def most_known(annealing: Annealing, progress: float, classes: int) -> float:
    """The probability of its class, eta, up to which a labeled image is learned from, when this
    share of the training is done: from 1 / C to 1 (of `log` and `exp` nearly)."""
    share = {
        "linear": progress,
        "exp": math.exp(SCALE * (progress - 1)),
        "log": 1 - math.exp(-SCALE * progress),
    }[annealing]
    return share * (1 - 1 / classes) + 1 / classes
