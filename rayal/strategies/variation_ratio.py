"""Variation ratio of an ensemble, ENS-varR (Beluch et al., "The Power of Ensembles for Active
Learning in Image Classification", CVPR 2018).

Differences, and what the papers leave open:
- With T members only T scores are possible, so among thousands of equal ones the tie-break decides.
  `random` leaves the scores as they are: `take_highest` orders equal ones by a seeded key of the
  id. `entropy` puts those first whose mean prediction has the larger entropy.
- T is `ensemble` of the experiment; the papers use 5. Members differ in initialisation and order of
  the data; all learn from all labels. Only the first is evaluated.
"""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.committee import TieBreak, variation_ratio
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class VariationRatio(Strategy):
    """1 - f/T, f of the T members voting for the most frequent class: 0 when unanimous, below 1."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"ensemble_log_probs"})
    tie_break: TieBreak = "random"
    """What orders units of equal ratio; `entropy` adds less than 1/T to each score."""

    def score(self, s: Signals) -> Tensor:
        return variation_ratio(s.ensemble_log_probs, self.tie_break)
