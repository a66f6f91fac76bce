"""BALD: mutual information of prediction and weights (Houlsby et al., "Bayesian Active Learning for
Classification and Preference Learning", 2011, Eq. 2), with dropout as the posterior (Gal, Islam,
Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017, Sec. 4).

Only dropout layers are on: batch norm keeps its statistics, which published code often forgets
(`batch_norm: train` does, too). The model needs `dropout` above 0; the masks depend on seed, cycle,
unit and pass alone.
"""

from pydantic import Field
from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.committee import disagreement
from rayal.strategies._dropout import DropoutStrategy
from rayal.strategies.base import PixelStrategy


class Bald(DropoutStrategy, PixelStrategy):
    """H(mean_t p_t) - mean_t H(p_t) over passes t with dropout on, in nats: 0 when all agree.

    However unsure they are; at most ln C.
    """

    passes: int = Field(default=10, ge=2)
    """Forward passes with dropout; 10 to 100 in the literature."""

    def values(self, s: Signals) -> Tensor:
        return disagreement(self.sampled(s, self.passes))
