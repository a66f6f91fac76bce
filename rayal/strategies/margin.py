"""Margin sampling (Scheffer, Decomain, Wrobel, "Active Hidden Markov Models", IDA 2001)."""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import PixelStrategy


class Margin(PixelStrategy):
    """The smallest gap between the two most probable classes first.

    Score: p_(2) - p_(1), the negative margin: 0 for a tie between two classes, -1 when certain.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs"})

    def values(self, s: Signals) -> Tensor:
        highest = s.probs.topk(2, dim=1).values  # N C -> N 2
        return highest[:, 1] - highest[:, 0]
