"""One linear layer on vectors of features: what is trained on a frozen network."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.network import Network


class LinearHead(Model):
    """A linear layer on vectors of features.

    The vectors are normalised by mean and standard deviation of the pool, number by number, as all
    that networks see. `Outputs.features` are these: strategies that look at features look at those
    of the frozen network.

    *Source*: linear classification on frozen features, as in Kolesnikov et al., Revisiting
    Self-Supervised Visual Representation Learning, 2019.
    """

    dimensions: ClassVar[int] = 0
    passes_on: ClassVar[bool] = True

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a feature in training (and for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return Network(
            blocks=[nn.Identity()],
            layer_channels=[image.channels],
            head=nn.Identity(),
            classifier=nn.Linear(image.channels, num_classes),
            dropout=self.dropout,
        )
