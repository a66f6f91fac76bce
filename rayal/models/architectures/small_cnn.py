"""A small convolutional network for images of 8 to 32 px; fast on a CPU."""

from pydantic import Field
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.network import Network, global_pool


class SmallCnn(Model):
    """Four blocks of 3x3 convolution, batch norm and ReLU; all but the first halve the image.

    240,000 weights at the default width: it learns the 8 px digits in seconds on one core.
    """

    width: int = Field(default=32, ge=1)
    """Channels of the first block; the others have 2, 4 and 4 times as many."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a pooled feature before the last linear layer (for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        channels = [self.width, 2 * self.width, 4 * self.width, 4 * self.width]
        inputs = [image.channels, *channels]
        return Network(
            blocks=[_block(inputs[i], channels[i], halve=i > 0) for i in range(len(channels))],
            layer_channels=channels,
            head=global_pool(),
            classifier=nn.Linear(channels[-1], num_classes),
            dropout=self.dropout,
        )

    def accepts(self, image: ImageSpec) -> str | None:
        if min(image.height, image.width) < 8:
            return f"images of {image.height}x{image.width} px are too small; it needs 8x8"
        return None


def _block(inputs: int, outputs: int, *, halve: bool) -> nn.Module:
    return nn.Sequential(
        nn.MaxPool2d(2) if halve else nn.Identity(),
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
