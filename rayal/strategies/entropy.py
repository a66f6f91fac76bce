"""Maximum entropy sampling (Shannon 1948; Settles, "Active Learning Literature Survey", 2009)."""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals, entropy
from rayal.signals.signal import SignalName
from rayal.strategies.base import PixelStrategy


class Entropy(PixelStrategy):
    """Entropy of the prediction, -sum_c p_c log p_c, in nats: 0 when certain, ln C when uniform."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"log_probs"})

    def values(self, s: Signals) -> Tensor:
        return entropy(s.log_probs)
