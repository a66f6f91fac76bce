"""DSRF3D v2, a plain convolutional network for volumes (Che et al. 2018, as in aitom)."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.architectures._volumes import start_as_published, too_small
from rayal.models.base import Model
from rayal.models.network import Network

CHANNELS = 32, 64, 128
"""Of the two convolutions of each stage."""


class Dsrf3dV2(Model):
    """Three stages of two 3x3x3 convolutions with ReLU, halved between them, for volumes.

    859,690 parameters with 1 channel and 10 classes.

    `layers` are the outputs of the stages, the pool in front of the last two among them, and
    `features` the 128 means of the last one.

    *Source*: Che et al., Improved deep learning-based macromolecules structure classification from
    electron cryo-tomograms, 2018, DSRF3D-v2, with two hidden layers of 1,024 at its end.
    *Reference*: xulabs/aitom at 44592b4, doc/tutorials/024_subtomogram_classification.ipynb,
    `DSRF3D_v2`, with the mean over all positions in their place. Weights start as there: He's
    normal initialisation (fan-out), biases from 0, the last layer's weights from N(0, 0.01).
    *Differences* from the code: `dropout`, off unless asked for.
    """

    dimensions: ClassVar[int] = 3

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a pooled feature before the last linear layer (for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        inputs = [image.channels, *CHANNELS]
        return start_as_published(
            Network(
                blocks=[
                    _stage(inputs[i], channels, halve=i > 0) for i, channels in enumerate(CHANNELS)
                ],
                layer_channels=CHANNELS,
                head=nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten()),
                classifier=nn.Linear(CHANNELS[-1], num_classes),
                dropout=self.dropout,
            )
        )

    def accepts(self, image: ImageSpec) -> str | None:
        return too_small(image.sides, least=4)


def _stage(inputs: int, outputs: int, *, halve: bool) -> nn.Module:
    return nn.Sequential(
        nn.MaxPool3d(2) if halve else nn.Identity(),
        nn.Conv3d(inputs, outputs, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv3d(outputs, outputs, kernel_size=3, padding=1),
        nn.ReLU(),
    )
