"""Gini impurity: how likely two labels drawn from a prediction differ."""

from torch import Tensor

from rayal import Signals, Strategy


class Gini(Strategy):
    """1 - sum_c p_c^2: 0 when certain, 1 - 1/C when uniform over C classes."""

    needs = frozenset({"probs"})

    def score(self, s: Signals) -> Tensor:
        return 1 - s.probs.square().sum(dim=1)  # N C -> N
