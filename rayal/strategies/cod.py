"""COD, cyclic output discrepancy: how far a prediction moved from one cycle to the next.

Source: Huang et al., "Semi-Supervised Active Learning with Temporal Output Discrepancy" (ICCV
2021), Sec. 3, Eq. 5; official code siyuhuang/TOD, 883494b.

Differences, each in the paper or the code:
- Eq. 5 leaves the output type open and takes the norm; the code uses softmax probabilities and half
  the squared norm. Here as in the code. The square and the half do not change the ranking; logits
  in place of probabilities would.
- The first cycle has no previous model. The paper compares with the initial weights and takes the
  largest distance (`largest_vs_init`). The code compares with another network that was never
  trained and takes the *smallest* (`smallest_vs_random_init`): such a network is nearly uniform, so
  the smallest distance is the least certain prediction. The default follows the code;
  `entropy` and `random` are the plain choices.
- The official code scores SVHN and Caltech under random training augmentation, both models the same
  images, as here with `score_transform: train`.
- Where the last pass kept its probabilities, they are read, in float16, instead of predicted again:
  between two equal models COD is then up to 4e-8 instead of 0.

COD presumes `start: warm`: after a cold start it measures mostly the new initialisation.
"""

from typing import ClassVar, Literal

from torch import Tensor

from rayal.signals.batch import Signals, entropy
from rayal.signals.networks import Reference
from rayal.signals.signal import SignalName
from rayal.strategies.base import PixelStrategy

FirstCycle = Literal["smallest_vs_random_init", "largest_vs_init", "entropy", "random"]


class Cod(PixelStrategy):
    """1/2 sum_c (p_c - p'_c)^2 between the current and the last cycle's model: 0 to 1."""

    needs: ClassVar[frozenset[SignalName]] = frozenset(
        {"probs", "previous_probs", "log_probs", "noise"}
    )
    first_cycle: FirstCycle = "smallest_vs_random_init"
    """What scores the pool in cycle 0, where there is no previous model."""

    def reference(self, cycle: int) -> Reference | None:
        if cycle > 0:
            return "previous"
        at_first: dict[FirstCycle, Reference] = {
            "smallest_vs_random_init": "random",
            "largest_vs_init": "initial",
        }
        return at_first.get(self.first_cycle)

    def values(self, s: Signals) -> Tensor:
        if s.cycle == 0 and self.first_cycle == "entropy":
            return entropy(s.log_probs)
        if s.cycle == 0 and self.first_cycle == "random":
            return s.noise
        distance = output_discrepancy(s.probs, s.previous_probs)
        smallest_first = s.cycle == 0 and self.first_cycle == "smallest_vs_random_init"
        return -distance if smallest_first else distance


def output_discrepancy(probs: Tensor, previous_probs: Tensor) -> Tensor:
    """Half the squared distance of two predictions, N C -> N: 0 when equal, 1 between one-hots."""
    return 0.5 * (probs - previous_probs).square().sum(dim=1)
