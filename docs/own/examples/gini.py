"""Gini impurity: how likely two labels drawn from a prediction differ."""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Gini(Strategy):
    """1 - sum_c p_c^2: 0 when certain, 1 - 1/C when uniform over C classes."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs"})

    def score(self, s: Signals) -> Tensor:
        return 1 - s.probs.square().sum(dim=1)  # N C -> N
