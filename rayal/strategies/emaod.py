"""EMAOD: how far a prediction is from that of a moving average of the model.

Source: Huang et al., "Semi-Supervised Active Learning with Temporal Output Discrepancy" (ICCV
2021), Sec. 5.4, Figs. 9 and 10; there is no code for it. The paper finds COD the better sampler.

The average is kept through every training, whatever the scheme; under `tod` it is the teacher that
the scheme trains with, so `teacher` has to be the same in both.
"""

from typing import ClassVar

from torch import Tensor

from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.signals.batch import Signals
from rayal.signals.networks import Reference
from rayal.signals.signal import SignalName
from rayal.strategies.base import PixelStrategy
from rayal.strategies.cod import output_discrepancy


class Emaod(PixelStrategy):
    """1/2 sum_c (p_c - p~_c)^2 between the model and its moving average: 0 to 1.

    The average spans about 1 / (1 - alpha) updates: after a last phase at a low learning rate that
    is longer, the two hardly differ.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs", "previous_probs"})
    teacher: EmaTeacherSpec = EmaTeacherSpec()
    """How the moving average follows the model."""

    def reference(self, cycle: int) -> Reference:
        return EmaTeacherSpec

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.teacher,)

    def values(self, s: Signals) -> Tensor:
        return output_discrepancy(s.probs, s.previous_probs)
