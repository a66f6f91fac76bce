"""The nearest labeled neighbours of a vector of features: a head that is not trained."""

from typing import ClassVar, Self

from pydantic import Field, PositiveInt, model_validator
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.memory import Memory
from rayal.models.network import Network


class KnnHead(Model):
    """The k nearest labeled vectors, by cosine, each counted exp(similarity / temperature).

    The vectors are normalised by mean and standard deviation of the pool, number by number, before
    the cosine is taken. It has no weights and knows no chance: what it has is the labeled set,
    which scheme `memorise` shows it. So cold and warm starts are one, and strategies that need
    gradients, dropout, an ensemble or a companion are refused.

    *Source*: the weighted k-NN of Wu et al., Unsupervised Feature Learning via Non-Parametric
    Instance Discrimination, CVPR 2018, Sec. 3.4, with the temperature of DINO's evaluation.

    *Differences*: k is 20 (as in DINO), not 200. Classes without a neighbour have a probability
    above 0, see `smoothing`, so that entropies and margins of logarithms are finite.
    """

    dimensions: ClassVar[int] = 0
    passes_on: ClassVar[bool] = True
    memorises: ClassVar[bool] = True

    k: PositiveInt = 20
    """Neighbours that are asked; all, where fewer are labeled."""
    temperature: float = Field(default=0.07, ge=1e-3)
    """Of the weights exp(similarity / temperature): low, and the nearest alone decides; high, and
    all k count alike."""
    smoothing: float = Field(default=0.01, gt=0, lt=1)
    """Share of the probability that all classes divide evenly, whatever the neighbours are."""

    @model_validator(mode="after")
    def _starts_empty(self) -> Self:
        if self.pretrained:
            raise ValueError("knn_head has no weights to start from; set pretrained to null")
        return self

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return Network(
            blocks=[nn.Identity()],
            layer_channels=[image.channels],
            head=nn.Identity(),
            classifier=Memory(
                image.channels, num_classes, self.k, self.temperature, self.smoothing
            ),
        )
