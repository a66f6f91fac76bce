"""A small perceptron on vectors of features: what is trained on a frozen network."""

from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.network import Network


class MlpHead(Model):
    """Hidden layers with ReLU on vectors of features, then a linear layer.

    The vectors are normalised by mean and standard deviation of the pool, number by number.
    `Outputs.layers` are the hidden layers, `features` the last of them.

    *Source*: the shallow networks on frozen features of Zhang et al., LabelBench, 2023.
    """

    dimensions: ClassVar[int] = 0

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256,)
    """Units of each hidden layer."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a unit of the last hidden layer in training (and for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        sizes = pairwise((image.channels, *self.hidden))
        return Network(
            blocks=[nn.Sequential(nn.Linear(before, after), nn.ReLU()) for before, after in sizes],
            layer_channels=self.hidden,
            head=nn.Identity(),
            classifier=nn.Linear(self.hidden[-1], num_classes),
            dropout=self.dropout,
        )
