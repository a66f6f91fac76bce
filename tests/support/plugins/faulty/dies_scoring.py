"""A scoring actor that dies in the middle of the pass: once, or at every try."""

import os
import signal

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class DiesScoring(Strategy):
    """Uniform noise; the first processes that see `unit` are killed."""

    needs = frozenset({"noise"})
    unit: str
    marker: str
    """A file that remembers the deaths."""
    deaths: int = 1

    def score(self, s: Signals) -> Tensor:
        if self.unit in s.ids:
            with open(self.marker, "a+b") as died:
                if died.tell() < self.deaths:
                    died.write(b"x")
                    died.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        return s.noise
