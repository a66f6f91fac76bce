"""ADS: images first of which its two heads are least sure.

Source: Fu et al., "Agreement-Discrepancy-Selection: Active Learning with Progressive Distribution
Alignment" (AAAI 2021); official code fumengying19/AAAI21-ADS, 315969d, its function
`get_uncertainty`.

The heads are those that the scheme `ads` trains, so `heads` has to be the same in both.

Differences:
- The code scores images in training's random augmentation, so that its scores are noisy
  (`score_transform: train`).
- The code's logarithm has base 2, which changes no order.
"""

from typing import ClassVar

import torch
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.models.base import Outputs
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.head_pair import HeadPairSpec
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Ads(Strategy):
    """E = -1/2 sum_k (p1_k log p1_k + p2_k log p2_k) of the two heads, in nats: 0 to ln C.

    Of heads that are made of prototypes p is their sigmoids over the sum of these.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"logits", "features", "companion"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification"})
    heads: HeadPairSpec = HeadPairSpec()
    """Who is asked: the heads of the scheme, with the same options as there."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.heads,)

    @torch.no_grad()
    def score(self, s: Signals) -> Tensor:
        pair = s.companion(HeadPairSpec)
        return pair.entropy(pair(Outputs(s.logits, s.features, ())))
