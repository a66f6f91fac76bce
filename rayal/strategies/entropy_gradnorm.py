"""Entropy gradient norm: how strongly the prediction's own entropy pulls at all weights.

Source: Wang et al., "Boosting Active Learning via Improving Test Performance" (AAAI 2022), Sec. 4,
Eqs. 5 and 8; official code xulabs/aitom, al_gradnorm, dc5b275.

Differences, each between paper and code:
- The bound of Eq. 4 needs the norm of the whole gradient (`norm: global`). The code sums the norms
  of the parameter tensors (`norm: sum`, the default, as published). The rankings are close, not
  equal.
- The code computes the entropy from clamped probabilities, which differs where the score is below
  1e-6 anyway; here it comes from log softmax.
- Of a dense task, which the paper scores without saying how, it is the gradient of the mean entropy
  over the logit grid.
- The code draws 25,000 candidates that the paper does not mention: `candidates` of the experiment.

The score is 0 for the uniform prediction as well as for a certain one, and is highest in between:
it does not favour the least certain units.
"""

from typing import ClassVar, Literal

from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class EntropyGradnorm(Strategy):
    """The norm of grad H(p) with respect to all parameters, in eval mode: 0 or more."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"gradient_norms"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    norm: Literal["sum", "global"] = "sum"
    """How a gradient becomes a number: `sum` over the parameter tensors of their L2 norms
    (official), or the one `global` norm."""

    def score(self, s: Signals) -> Tensor:
        squares = s.gradient_norms.double()
        return squares.sqrt().sum(dim=1) if self.norm == "sum" else squares.sum(dim=1).sqrt()
