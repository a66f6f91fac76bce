"""Predictive entropy under Monte Carlo dropout (Gal, Islam, Ghahramani, "Deep Bayesian Active
Learning with Image Data", ICML 2017, Sec. 4).

The probabilities of the passes are averaged, never their logits. Only dropout layers are on: batch
norm keeps its statistics, which published code often forgets (`batch_norm: train` does, too). The
model needs `dropout` above 0; the masks depend on seed, cycle, unit and pass alone.
"""

from pydantic import Field
from torch import Tensor

from rayal.signals.batch import Signals, entropy
from rayal.signals.committee import mean_log_probs
from rayal.strategies._dropout import DropoutStrategy
from rayal.strategies.base import PixelStrategy


class McDropoutEntropy(DropoutStrategy, PixelStrategy):
    """H(mean_t p_t) over passes t with dropout on, in nats: 0 when certain, ln C when uniform."""

    passes: int = Field(default=10, ge=1)
    """Forward passes with dropout; 10 to 100 in the literature."""

    def values(self, s: Signals) -> Tensor:
        return entropy(mean_log_probs(self.sampled(s, self.passes)))
