"""The discriminator of s4GAN: is this mask, on this image, a person's or the network's?

Source: Mittal et al., "Semi-Supervised Semantic Segmentation with High- and Low-Level Consistency"
(TPAMI 2021), Sec. 3.1; official code sud0301/semisup-semseg, 5425eda, which it follows in layers
and initialisation.

N masks on their images, C classes, c channels of the images, H W pixels, D features.

Differences from the code:
- An image is brought to [0, 1] by its own extremes, over all its channels and pixels. The code
  takes the extremes of the batch, and for images with true masks those of another batch. So an
  image would look another way in other company, and a score depend on the batch.
- The last maps are averaged over whatever positions there are. The code divides by a fixed window,
  for crops of 321 x 321 or 256 x 512 pixels alone; whole images would not fit.
- Images may have other than three channels.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.models.companions.base import Companion, CompanionSpec
from rayal.models.companions.opponent import Opponent

LEAST = 16
"""Pixels of a side, which four convolutions halve."""


class Judged(NamedTuple):
    """What the discriminator says, in float32."""

    logits: Tensor  # N: the higher, the more it takes the mask for a person's; see `probability`
    features: Tensor  # N D: the input of its last layer

    @property
    def probability(self) -> Tensor:
        """N, in [0, 1], that the mask is a person's."""
        return self.logits.sigmoid()


class Discriminator(Opponent, Companion):
    """Four convolutions of stride 2 on mask and image together, their mean, one linear layer.

    The model's own step leaves nothing in its weights: a scheme that plays against it has to train
    it, see `Opponent`.
    """

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        """`inputs` is C + c."""
        super().__init__()
        channels = [inputs, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(
            *(_block(channels[i], channels[i + 1], dropout if i < 3 else 0.0) for i in range(4))
        )
        self.classifier = nn.Linear(channels[-1], 1)
        self.requires_grad_(False)

    def forward(self, masks: Tensor, images: Tensor) -> Judged:
        """`masks` N C H W, each pixel's probabilities; `images` N c H W, however normalised.

        Raises UsageError for less than 16 pixels of height or width.
        """
        if reason := too_small(*images.shape[2:]):
            raise UsageError(f"{reason}; use larger images, or a larger scheme.augment.window")
        maps = self.blocks(torch.cat([masks, unit_range(images)], dim=1))
        features = maps.mean(dim=(2, 3))
        return Judged(self.classifier(features)[:, 0].float(), features.float())


class DiscriminatorSpec(CompanionSpec):
    """It learns only from a scheme that plays against it (`s4gan`)."""

    name: ClassVar[str] = "discriminator"

    width: PositiveInt = 64
    """Channels of the first convolution; the others have 2, 4 and 8 times as many. 2.8 million
    weights at 64, 180,000 at 16."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Probability of dropping a channel after each of the first three convolutions, in training."""

    @property
    def filled_by_scheme(self) -> bool:
        return True

    def accepts(self, height: int, width: int) -> str | None:
        return too_small(height, width)

    def build(
        self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]
    ) -> Discriminator:
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        return Discriminator(classes + first.in_channels, self.width, self.dropout)


def too_small(height: int, width: int) -> str | None:
    """None, or why it cannot judge images of this size."""
    if min(height, width) < LEAST:
        return f"the discriminator sees {height}x{width} pixels, it needs {LEAST}x{LEAST}"
    return None


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Masks N H W as probabilities N C H W, float32: 1 at the label.

    All 0 where there is none (`masks.IGNORE`), as in the official code: what no prediction says.
    """
    return (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).float()


def unit_range(images: Tensor) -> Tensor:
    """Each of N c H W from its least value to its largest as 0 to 1; an even image is 0."""
    low, high = (values[:, None, None, None] for values in images.flatten(1).aminmax(dim=1))
    return (images - low) / (high - low).clamp(min=1e-12)


def _block(inputs: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Dropout2d(dropout),
    )
