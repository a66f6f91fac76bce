"""Least confidence sampling (Lewis and Gale, "A Sequential Algorithm for Training Text
Classifiers", SIGIR 1994)."""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import PixelStrategy


class LeastConfidence(PixelStrategy):
    """1 - max_c p_c: 0 when certain, 1 - 1/C when uniform."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs"})

    def values(self, s: Signals) -> Tensor:
        return 1.0 - s.probs.amax(dim=1)
