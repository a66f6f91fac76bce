"""A scoring actor that dies once, in the middle of the pass."""

import os
import signal
from pathlib import Path

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class DiesScoring(Strategy):
    """Uniform noise; the first process that sees `unit` is killed."""

    needs = frozenset({"noise"})
    unit: str
    marker: str
    """A file that remembers the death."""

    def score(self, s: Signals) -> Tensor:
        if self.unit in s.ids and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return s.noise
