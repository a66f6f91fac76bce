"""RB3D, a small network of two-way blocks for volumes (as in aitom)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.architectures._volumes import start_as_published, too_small
from rayal.models.base import Model
from rayal.models.network import Network

CHANNELS, BLOCKS = 32, 4
POOLED = 2
"""Sides of what the last layer reads."""


class Rb3d(Model):
    """A 3x3x3 convolution, a max-pool, four blocks of two ways, a linear layer, for volumes.

    The linear layer reads the means of the eight octants; 118,474 parameters with 1 channel and 10
    classes.

    `layers` are the outputs of the blocks, all of half the volume's sides; `features` are the
    32 x 2 x 2 x 2 = 256 means. There is no norm in it.

    *Source*: Che et al., Improved deep learning-based macromolecules structure classification from
    electron cryo-tomograms, 2018, RB3D.
    *Reference*: xulabs/aitom at 44592b4, doc/tutorials/024_subtomogram_classification.ipynb,
    `RB3D`. Weights start as there: He's normal initialisation (fan-out), biases from 0, the last
    layer's weights from N(0, 0.01).
    *Differences* from the code: `dropout`, which is commented out there, off unless asked for; and
    from its name: ways are joined as channels, nothing is added to the input.
    """

    dimensions: ClassVar[int] = 3

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a pooled feature before the last linear layer (for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return start_as_published(
            Network(
                stem=nn.Sequential(
                    nn.Conv3d(image.channels, CHANNELS, kernel_size=3, padding=1),
                    nn.ReLU(),
                    nn.MaxPool3d(2),
                ),
                blocks=[_Block() for _ in range(BLOCKS)],
                layer_channels=[CHANNELS] * BLOCKS,
                head=nn.Sequential(nn.AdaptiveAvgPool3d(POOLED), nn.Flatten()),
                classifier=nn.Linear(CHANNELS * POOLED**3, num_classes),
                dropout=self.dropout,
            )
        )

    def accepts(self, image: ImageSpec) -> str | None:
        return too_small(image.sides, least=2 * POOLED)


class _Block(nn.Module):
    """Half of the channels by a 1x1x1, a 3x3x3 and a 1x1x1 convolution, half by one of 3x3x3; ReLU
    after each."""

    def __init__(self) -> None:
        super().__init__()
        half = CHANNELS // 2
        self.deep = nn.Sequential(
            nn.Conv3d(CHANNELS, half, kernel_size=1),
            nn.ReLU(),
            nn.Conv3d(half, CHANNELS, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv3d(CHANNELS, half, kernel_size=1),
            nn.ReLU(),
        )
        self.wide = nn.Sequential(nn.Conv3d(CHANNELS, half, kernel_size=3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.deep(x), self.wide(x)], dim=1)
