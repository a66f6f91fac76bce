"""The most confident predictions first: the baseline that DAST-AL's Table 1 calls "Maxp".

Source: DAST-AL (ECCV 2022), Table 1; its official code (cheny124800/DASTAL, 175e5bb) scores the
maximum probability and takes the largest. It is kept under an honest name so that the table can be
reproduced; `least_confidence` is the sensible direction.
"""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class MostConfident(Strategy):
    """max_c p_c: 1/C when uniform, 1 when certain."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs"})

    def score(self, s: Signals) -> Tensor:
        return s.probs.amax(dim=1)
