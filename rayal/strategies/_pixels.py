"""What strategies share that give every prediction a number, also every pixel's."""

from abc import abstractmethod
from typing import ClassVar, Self

from pydantic import model_validator
from torch import Tensor

from rayal.data.pixels import Pixels, per_image
from rayal.data.tasks.base import TaskName
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class PixelStrategy(Strategy):
    """Ranks images by one number for each prediction; of a dense task, by those of its pixels.

    Mittal et al., "Parting with Illusions about Deep Active Learning" (2019), found the number of
    pixels whose entropy is above 0.6 better than mean and maximum; the unit of 0.6 is not stated,
    nats presumably. A number of pixels is larger in larger images.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})

    pixels: Pixels = "mean"
    """What an image's score is in a dense task: the `mean` over its pixels, the `max`, or how many
    are `above` the threshold."""
    threshold: float | None = None
    """Of `above` only, in the unit of the strategy's own numbers: for entropies the paper's 0.6."""

    @model_validator(mode="after")
    def _known_threshold(self) -> Self:
        if self.pixels == "above" and self.threshold is None:
            raise ValueError("pixels: above needs a threshold; 0.6 for entropies in the literature")
        if self.pixels != "above" and self.threshold is not None:
            raise ValueError(
                f"threshold {self.threshold:g} counts nothing with pixels: {self.pixels}; set"
                " pixels to above, or threshold to null"
            )
        return self

    @abstractmethod
    def values(self, s: Signals) -> Tensor:
        """N or N H W, higher = label sooner."""

    def score(self, s: Signals) -> Tensor:
        return per_image(self.values(s), s.valid, self.pixels, self.threshold or 0.0)
