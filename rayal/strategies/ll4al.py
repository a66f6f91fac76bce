"""LL4AL, learning loss: images first whose loss a head on the model's own maps predicts highest.

Source: Yoo & Kweon, "Learning Loss for Active Learning" (CVPR 2019). The head, its training, the
code that it was compared with and every difference are in `loss_head.py`.

The head learns with the model, whatever the scheme; until it is detached it also changes what the
model learns, as in the paper, where learning loss is above the other methods at the very first
labels. So it can select in a run of its own alone; with `loss_head.detach_after: 0` it only reads,
and may observe the runs of others.

Differences: the code scores the first 10,000 of the shuffled pool (`candidates: 10000`). Of maps
there is one prediction per image, where neither paper nor code has any.
"""

from typing import ClassVar

import torch
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.loss_head import LossHeadSpec
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Ll4al(Strategy):
    """The predicted loss: any number, without unit, of which only the order means anything."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"layers", "companion"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    loss_head: LossHeadSpec = LossHeadSpec()
    """What predicts the loss, and how it learns to."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.loss_head,)

    @torch.no_grad()
    def score(self, s: Signals) -> Tensor:
        return s.companion(LossHeadSpec).predict(s.layers, s.valid)
