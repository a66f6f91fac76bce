"""Power margin: margin sampling with noise that spreads a batch.

Source: Kirsch et al., "Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning"
(TMLR 2023), Sec. 3, power acquisition: the K largest of log s + Gumbel(0, 1/beta) are K draws
without replacement with probabilities proportional to s^beta. Here s = 1 - (p_(1) - p_(2)).

The noise of a unit depends on seed, cycle and id alone. s is computed from log probabilities: it
stays above 0, and its logarithm finite, however certain the model is.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class PowerMargin(Strategy):
    """log(1 - (p_(1) - p_(2))) + Gumbel noise: units of small margin first, more or less."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"log_probs", "noise"})
    beta: float = Field(default=1.0, gt=0)
    """Coldness: near 0 the choice is random, with a large value it is that of `margin`."""

    def score(self, s: Signals) -> Tensor:
        own = s.noise * 2.0**26 % 1.0  # the low bits, as `random` ranks by the high ones
        return log_closeness(s.log_probs.double()) + gumbel(own) / self.beta


def log_closeness(log_probs: Tensor) -> Tensor:
    """log(1 - p_(1) + p_(2)), N C -> N: 0 for a tie of two classes, below 0 else."""
    others = log_probs.sort(dim=1, descending=True).values[:, 1:]
    return torch.logaddexp(others.logsumexp(dim=1), others[:, 0])  # 1 - p_(1) = sum of the others


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise of uniform numbers in [0, 1), which are multiples of 2^-53 or more."""
    return -torch.log(-torch.log(uniform.clamp(min=2.0**-54)))
