"""Entropy of an ensemble, ENS-ent (Mittal et al., "Parting with Illusions about Deep Active
Learning", 2019).

The paper's "average entropy over the predictions from all members" reads as the mean of the
members' entropies, the default. `entropy_of_mean` is the other common reading; it exceeds the
default by the members' disagreement, which alone is `qbc`.
"""

from typing import ClassVar, Literal

from torch import Tensor

from rayal.signals.batch import Signals, entropy
from rayal.signals.committee import mean_entropy, mean_log_probs
from rayal.signals.signal import SignalName
from rayal.strategies.base import PixelStrategy


class EnsembleEntropy(PixelStrategy):
    """Mean entropy of the members' predictions, in nats: 0 when all are certain, at most ln C."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"ensemble_log_probs"})
    reading: Literal["mean_of_entropies", "entropy_of_mean"] = "mean_of_entropies"
    """Whether the members' entropies are averaged, or their probabilities."""

    def values(self, s: Signals) -> Tensor:
        if self.reading == "mean_of_entropies":
            return mean_entropy(s.ensemble_log_probs)
        return entropy(mean_log_probs(s.ensemble_log_probs))
