"""ADS, agreement and discrepancy: two heads part on unlabeled images, and features bring them
together again.

Source: Fu et al., "Agreement-Discrepancy-Selection: Active Learning with Progressive Distribution
Alignment" (AAAI 2021); official code fumengying19/AAAI21-ADS, 315969d. The heads, and how the
model's own last layer goes with them, are in `head_pair.py`.

Of n unlabeled images each has an entropy E, the mean of both heads'. Its share is
w_a = (1 - s(E - tau)) / n in the first phase and w_d = s(E - tau) / n in the second, without
gradient; s is the sigmoid. L is the mean over the classes of |p1 - p2|. Before every epoch but the
first, whose labeled pass all begins with, all that is unlabeled is seen twice:

1. *agreement*: the backbone alone minimises the sum of w_a L: what the heads are sure of.
2. *discrepancy*: the heads alone minimise CE of labeled images + the sum of w_d (1 - L).

Then the labeled pass: all minimise CE. In every phase batch norm normalises by the batch, labeled
and unlabeled images apart, and its running statistics follow, also where the backbone's weights
stand still; only the weights of those that learn change, neither by weight decay nor momentum.

Differences, from paper and code (`utils/train_ADS.py`):
- The code begins with one labeled pass more, and then does as many rounds as there are epochs. Here
  the first epoch is that pass: one round less, and length and schedule are as in other schemes.
- Phases are no steps: milestones and `steps` count labeled passes alone, as in the code. One step
  of each of the three on one unlabeled batch would need no phases, but pass the unlabeled images
  as often as the labeled ones are few, 8 in place of 79 batches at 1,000 labels.
- The code divides w by the size of the batch and then takes the mean over the batch again, which
  makes 1/128 of either term (`weight`). Weight decay then is most of what the phases do.
- The code makes a new optimizer for every batch of a phase: no momentum, and the learning rate of
  the first epoch throughout (`optimizer_of_phases`). The paper does not say.
- E is in nats; the code's logarithm has base 2 (`entropy`). tau is the paper's for both.
- The last of the phase's batches is full, with the first images of the next pass; the code's is
  what is left. There the order is that of the subset in every pass.
- The code's second phase sees one pass of labeled batches again and again, augmented once; here
  they go on turning, each pass in an order and with an augmentation of its own.
- In the code nobody learns from the unlabeled images of the second phase's first batch, as a
  consequence of where it turns gradients off.
- The code trains on the images that are scored afterwards; so does this where
  `unlabeled_subset` is as many as `candidates`.

The code's settings, with its defaults and crop 4 and flip as augmentation:

    scheme:
      name: ads
      heads: {prototypes: 3}
      weight: 0.0078125
      entropy: bits
      optimizer_of_phases: fresh
    strategy: {name: ads, heads: {prototypes: 3}}
    candidates: 10000
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from rayal.data.tasks.base import Task, TaskName
from rayal.models import parallel
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.models.companions.head_pair import HeadPairSpec
from rayal.models.network import computing
from rayal.training.base import Batch, TrainingScheme, Unlabeled
from rayal.training.learner import Learner, fused_on

AGREEMENT, DISCREPANCY = "agreement", "discrepancy"
PHASES = AGREEMENT, DISCREPANCY
NATS = {"nats": 1.0, "bits": math.log(2)}


class Ads(TrainingScheme):
    """Two heads' cross-entropy, and phases in which unlabeled images part them or bring them near.

    Features pull the heads together where these are sure; where they are not, the heads part.

    Supervised training of two heads where the pool is all labeled.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification"})

    heads: HeadPairSpec = HeadPairSpec()
    """What both heads are; `ads` the strategy asks them, with the same options."""
    weight: NonNegativeFloat = 1.0
    """Weight of what heads say of unlabeled images in either phase; official: 1/128."""
    threshold: float = Field(default=0.1, ge=0)
    """Entropy at which both phases weigh an image the same, tau."""
    entropy: Literal["nats", "bits"] = "nats"
    """The unit of E, from which tau is taken; official: bits."""
    optimizer_of_phases: Literal["shared", "fresh"] = "shared"
    """What updates in the phases: the optimizer of the labeled pass, `shared` with its momentum and
    schedule; or (official) a `fresh` SGD for every batch, which has no momentum, at `lr`."""
    unlabeled_batch_size: int = Field(default=128, ge=2)
    """Unlabeled images of one update, on all workers together."""
    unlabeled_subset: PositiveInt | None = 10_000
    """How many unlabeled images the phases see, drawn anew in every cycle: the `candidates` of the
    cycle where these are as many. Null: the whole pool."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.heads,)

    def unlabeled(self, cycle: int) -> Unlabeled:
        return Unlabeled(self.unlabeled_batch_size, limit=self.unlabeled_subset, phases=PHASES)

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return AdsLearner(self, model, task, companions)


class AdsLearner(Learner):
    """The labeled pass with both heads, and a step for each phase.

    The phases do not go through `network`, whose gradients are averaged for all weights at once:
    here those of the weights that learn are, by themselves.
    """

    def __init__(self, scheme: Ads, model: nn.Module, task: Task, companions: Companions) -> None:
        super().__init__(scheme, model, task, companions)
        self.ads = scheme
        self.pair = companions.of(HeadPairSpec).train()
        self.shared_pair = parallel.averaging(self.pair)
        assert isinstance(model.classifier, nn.Module), "the heads are made for one"
        self.last = model.classifier
        last, heads = list(self.last.parameters()), list(self.pair.parameters())
        known = set(last)
        self.learning: dict[str, list[nn.Parameter]] = {
            AGREEMENT: [weight for weight in model.parameters() if weight not in known],
            DISCREPANCY: [*heads, *last] if self.pair.uses_last_layer else heads,
        }
        """Whose weights each phase changes."""
        fresh = torch.optim.SGD(
            [*model.parameters(), *heads],
            lr=scheme.lr,
            weight_decay=scheme.weight_decay,
            fused=fused_on(model),
        )
        self.phase_optimizer = fresh if scheme.optimizer_of_phases == "fresh" else self.optimizer

    def step(self, batch: Batch) -> dict[str, Tensor]:
        if batch.phase is None:
            return super().step(batch)
        self._noted = {}
        self.set_lr(batch)
        with computing(batch.images.device, self.scheme.precision):
            loss = self.agreement(batch) if batch.phase == AGREEMENT else self.discrepancy(batch)
        self.update(loss, self.learning[batch.phase])
        parallel.share_buffers(self.model)
        for companion in self.companions:
            companion.after_step(self.model)
        return {"loss": loss.detach(), **self._noted}

    def agreement(self, batch: Batch) -> Tensor:
        """The sum of w_a L, a scalar."""
        apart, (share, _) = self._apart(batch)
        return self.ads.weight * (share * apart).sum()

    def discrepancy(self, batch: Batch) -> Tensor:
        """CE of both heads on the labeled images, and the sum of w_d (1 - L); a scalar."""
        labeled = self.pair(self.model(batch.images))
        supervised = self.pair.losses(labeled, batch.labels).mean() * batch.weight
        apart, (_, share) = self._apart(batch)
        return supervised + self.ads.weight * (share * (1 - apart)).sum()

    def _apart(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """How far heads are apart on the unlabeled images, L (N,), and the shares w_a and w_d."""
        assert batch.unlabeled is not None, "a phase is a pass over unlabeled images"
        logits = self.pair(self.model(batch.unlabeled))
        apart = self.pair.disagreement(logits)
        entropies = self.pair.entropy(logits.detach()) / NATS[self.ads.entropy]
        self.note(disagreement=apart.mean(), entropy=entropies.mean())
        return apart, shares(entropies, self.ads.threshold)

    def update(self, loss: Tensor, weights: list[nn.Parameter]) -> None:
        """One step of these weights, and of no other."""
        wanted = [weight for weight in weights if weight.requires_grad]
        found = torch.autograd.grad(loss, wanted, allow_unused=True)
        moved = [(w, g) for w, g in zip(wanted, found, strict=True) if g is not None]
        self.optimizer.zero_grad()  # none: the optimizer passes over what has no gradient
        gradients = parallel.averaged([gradient for _, gradient in moved])
        for (weight, _), gradient in zip(moved, gradients, strict=True):
            weight.grad = gradient
        self.phase_optimizer.step()

    def per_unit_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        logits = self.shared_pair(outputs)
        self.note(heads_accuracy=self._heads_accuracy(logits, batch.labels))
        losses = self.pair.losses(logits, batch.labels)
        if self.pair.uses_last_layer:
            return losses
        beside = self.last(outputs.features.detach())
        return losses + self.task.loss(beside.float(), batch.labels)

    def _heads_accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean of both heads', a scalar."""
        return torch.stack([self.task.accuracy(each, labels) for each in logits]).mean()


def shares(entropies: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """w_a and w_d of images with these entropies, both (N,): together 1/N for every image."""
    unsure = (entropies - threshold).sigmoid() / len(entropies)
    return 1 / len(entropies) - unsure, unsure
