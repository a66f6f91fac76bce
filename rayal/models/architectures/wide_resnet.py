"""Wide residual network (Zagoruyko and Komodakis 2016) for CIFAR-sized images."""

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.network import Network, global_pool


class WideResnet(Model):
    """WRN-depth-widen, WRN-28-2 by default: 1,467,610 parameters with 3 channels and 10 classes.

    `layers` are the outputs of the three stages, before the next batch norm and ReLU.
    Difference from the semi-supervised literature: ReLU, not leaky ReLU.
    """

    depth: int = 28
    """Convolutions along the longest path: 6n + 4 for n blocks per stage."""

    widen: int = Field(default=2, ge=1)
    """The stages have 16, 32 and 64 channels times this."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a pooled feature before the last linear layer (for MC-dropout)."""

    @model_validator(mode="after")
    def _depth_is_possible(self) -> Self:
        if self.depth < 10 or self.depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4 (10, 16, 22, 28, ...), got {self.depth}")
        return self

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        blocks = (self.depth - 4) // 6
        channels = [16 * self.widen, 32 * self.widen, 64 * self.widen]
        return Network(
            stem=nn.Conv2d(image.channels, 16, kernel_size=3, padding=1, bias=False),
            blocks=[
                _stage(16, channels[0], stride=1, blocks=blocks),
                _stage(channels[0], channels[1], stride=2, blocks=blocks),
                _stage(channels[1], channels[2], stride=2, blocks=blocks),
            ],
            layer_channels=channels,
            head=nn.Sequential(nn.BatchNorm2d(channels[2]), nn.ReLU(), global_pool()),
            classifier=nn.Linear(channels[2], num_classes),
            dropout=self.dropout,
        )


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Module:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


class _Block(nn.Module):
    """x + f(x) with f = twice batch norm, ReLU, convolution.

    Where the shape changes, x is a 1x1 convolution of the first batch norm and ReLU instead.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False),
        )
        self.shortcut = (
            nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            if inputs != outputs or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation(x)
        kept = x if self.shortcut is None else self.shortcut(active)
        change: Tensor = self.convolutions(active)
        return kept + change
