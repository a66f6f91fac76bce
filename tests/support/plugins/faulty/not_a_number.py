"""Scores that are not numbers."""

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class NotANumber(Strategy):
    """NaN for the unit of this name."""

    needs = frozenset({"noise"})
    unit: str

    def score(self, s: Signals) -> Tensor:
        scores = s.noise.clone()
        scores[[unit == self.unit for unit in s.ids]] = float("nan")
        return scores
