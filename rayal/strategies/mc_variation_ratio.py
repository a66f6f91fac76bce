"""Variation ratio under Monte Carlo dropout (Gal, Islam, Ghahramani, "Deep Bayesian Active Learning
with Image Data", ICML 2017, Sec. 4).

With T passes only T scores are possible. `random` leaves them as they are: `take_highest` orders
equal ones by a seeded key of the id. `entropy` puts those first whose mean prediction has the
larger entropy. Only dropout layers are on: batch norm keeps its statistics, unless
`batch_norm: train` says otherwise. The model needs `dropout` above 0; the masks depend on seed,
cycle, unit and pass alone.
"""

from pydantic import Field
from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.committee import TieBreak, variation_ratio
from rayal.strategies._dropout import DropoutStrategy


class McVariationRatio(DropoutStrategy):
    """1 - f/T, f of T passes with dropout predicting the most frequent class: 0 when unanimous."""

    passes: int = Field(default=10, ge=2)
    """Forward passes with dropout, T; 10 to 100 in the literature."""
    tie_break: TieBreak = "random"
    """What orders units of equal ratio; `entropy` adds less than 1/T to each score."""

    def score(self, s: Signals) -> Tensor:
        return variation_ratio(self.sampled(s, self.passes), self.tie_break)
