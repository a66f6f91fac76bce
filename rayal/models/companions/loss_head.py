"""A head that learns to predict which images the model is worse at, from the maps of its blocks.

Source: Yoo & Kweon, "Learning Loss for Active Learning" (CVPR 2019), Sec. 3, Eq. 2 and 3; as the
ranker of TA-VAAL, Kim et al., "Task-Aware Variational Adversarial Active Learning" (CVPR 2021).
Reference: the authors released no code; what others start from is the re-implementation
Mephisto405/Learning-Loss-for-Active-Learning, 3c11ff7 ("the code"); siyuhuang/TOD, 883494b, and
cubeyoung/TA-VAAL, 1161071, have taken it over.

B images of all workers' batches together, N of any set, C_l channels of block l.

Differences, each between paper and codes:
- The paper detaches the maps after 120 of 200 epochs, the code when `epoch > 120`, counted from 0:
  after 121 (`detach_after`).
- The code pools windows of 32, 16, 8 and 4 positions, which are the whole maps of a ResNet on
  32 px images; of larger maps it sees the top left corner (`corner`), and at twice their size it
  fails. Here all positions are seen.
- The code has an optimizer for the head, with the numbers of the model's; here the head is a group
  of the model's, which for SGD and Adam is the same. In TOD its learning rate never falls, for the
  step of its scheduler is commented out (`follows_schedule`).
- The paper leaves equal losses open; in the code they count as l_i < l_j. So they do here.
- The code fails for a batch of odd size. Here the image in its middle has no pair in that step.
- The code trains in one process. Here the pairs are those of the whole batch too, on however many
  workers, which tell each other losses and predictions in every step.

Of networks that have not four blocks (WRN-28-2 has three, VGG-16 five) all are read; neither paper
nor code says what to do there.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import softplus

from rayal.data.pixels import pooled
from rayal.errors import UsageError
from rayal.models import parallel
from rayal.models.base import Outputs
from rayal.models.companions.base import CompanionSpec, LearningCompanion


class LossHead(LearningCompanion):
    """Of every block's map the mean of each channel, a linear layer of its own and ReLU; then one
    linear layer on all of them together.

    For CIFAR's ResNet-18, 64 to 512 channels and width 128, 123,905 weights. It computes in float32
    whatever the model does: bfloat16 knows few numbers, and many images would tie.
    """

    def __init__(self, channels: Sequence[int], spec: "LossHeadSpec") -> None:
        """`channels` are the C_l."""
        super().__init__()
        self.spec, self.follows_schedule = spec, spec.follows_schedule
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, spec.width), nn.ReLU()) for inputs in channels
        )
        self.classifier = nn.Linear(len(channels) * spec.width, 1)

    def predict(self, layers: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """N, without unit: the higher, the larger the loss that is expected.

        `layers` are `Outputs.layers`, N C_l H_l W_l; `valid` N H W says which pixels are of an
        image, where some are filling. Gradients reach both weights and maps.
        """
        with torch.autocast(layers[0].device.type, enabled=False):
            read = [
                block(pooled(maps.float(), valid, self._corner(stage)))
                for stage, (block, maps) in enumerate(zip(self.blocks, layers, strict=True))
            ]
            predicted: Tensor = self.classifier(torch.cat(read, dim=1))[:, 0]
        return predicted

    def _corner(self, stage: int) -> int | None:
        return max(1, self.spec.corner >> stage) if self.spec.corner else None

    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        """`weight` times the mean of `pair_losses` over the whole batch, the same on all workers.

        A batch of one image has no pair: 0. Of maps, `per_unit_loss` is the image's; a window
        without any labeled pixel counts as one of loss 0.
        """
        detached = progress >= self.spec.detach_after
        layers = [maps.detach() if detached else maps for maps in outputs.layers]
        predicted = parallel.rows_with_gradient(self.predict(layers))
        (losses,) = parallel.rows(per_unit_loss.float())
        each = pair_losses(predicted, losses, self.spec.objective, self.spec.margin)
        return self.spec.weight * each.sum() / max(1, len(each))


Objective = Literal["hinge", "logistic"]


def pair_losses(
    predicted: Tensor, losses: Tensor, objective: Objective, margin: float = 1.0
) -> Tensor:
    """One per pair, (B // 2,), at least 0: i = 0, 1, ... is paired with j = B - 1 - i.

    With d = predicted_i - predicted_j and s = 1 where losses_i > losses_j, else -1, `hinge` is
    max(0, margin - s d), and `logistic` log(1 + e^(-s d)): the cross entropy of sigmoid(d).
    """
    half = len(predicted) // 2
    apart = predicted[:half] - predicted.flip(0)[:half]
    sign = torch.where(losses[:half] > losses.flip(0)[:half], 1.0, -1.0)
    return (margin - sign * apart).relu() if objective == "hinge" else softplus(-sign * apart)


class LossHeadSpec(CompanionSpec):
    """How the head is made, and what it learns from."""

    name: ClassVar[str] = "loss_head"
    dimensions: ClassVar[frozenset[int]] = frozenset({2, 3})

    objective: Objective = "hinge"
    """The loss of a pair, whose order is to be right: `hinge` (LL4AL), 0 from a distance of
    `margin` on; `logistic` (TA-VAAL), the cross entropy of the sigmoid of their distance."""
    margin: PositiveFloat = 1.0
    """From which distance on `hinge` asks no more of two predictions."""
    weight: PositiveFloat = 1.0
    """Factor of this loss beside the scheme's."""
    width: PositiveInt = 128
    """Outputs of the linear layer of each block."""
    detach_after: float = Field(default=0.6, ge=0, le=1)
    """Share of the training after which this loss changes the model no more, the head alone. 0.6:
    120 epochs of 200, the paper; 0.605: the code's 121; 1: never; 0: from the start, so that the
    model learns as without the head, and observers may ask for it."""
    follows_schedule: bool = True
    """Whether the head's learning rate falls with the model's (official); false: it stays at
    `scheme.lr` (TOD's repository)."""
    corner: PositiveInt | None = None
    """Rows and columns of the first block's map that are seen, half of them of the second's, and so
    on: its top left corner. Null: all of it; 32 is official, the same for images of 32 px."""

    @model_validator(mode="after")
    def _margin_is_of_use(self) -> Self:
        if self.objective != "hinge" and self.margin != 1:
            raise ValueError(
                f"margin {self.margin:g} is of no use with objective: {self.objective}; leave it"
                " out, or use hinge"
            )
        return self

    @property
    def changes_training(self) -> bool:
        return self.detach_after > 0

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> LossHead:
        """Raises UsageError for a network that shows no maps of its blocks."""
        channels = model.layer_channels
        assert isinstance(channels, Sequence)
        if not channels:
            raise UsageError(
                "its network shows no maps of its blocks (`layers` is empty), from which a loss"
                " head predicts; use one that does, such as resnet18"
            )
        return LossHead(channels, self)
