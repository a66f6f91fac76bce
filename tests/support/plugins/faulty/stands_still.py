"""A scoring actor that is stopped for a while, once."""

import os
import signal
import subprocess
from pathlib import Path

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class StandsStill(Strategy):
    """Uniform noise; the first process that sees `unit` is stopped for `seconds`."""

    needs = frozenset({"noise"})
    unit: str
    marker: str
    """A file that remembers it."""
    seconds: float

    def score(self, s: Signals) -> Tensor:
        if self.unit in s.ids and not Path(self.marker).exists():
            Path(self.marker).touch()
            wake = f"sleep {self.seconds}; kill -CONT {os.getpid()}"
            with subprocess.Popen(["sh", "-c", wake]):
                os.kill(os.getpid(), signal.SIGSTOP)
        return s.noise
