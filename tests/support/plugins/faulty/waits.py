"""A scoring pass that stands still for as long as somebody wants."""

import time
from pathlib import Path

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class Waits(Strategy):
    """Uniform noise; scoring stands still while the file `gate` is there, at most a minute."""

    needs = frozenset({"noise"})
    gate: str
    """Beside it appear `<gate>.reached` and, where interruptions are ignored, `<gate>.ignored`."""
    ignores: bool = False

    def score(self, s: Signals) -> Tensor:
        try:
            self._wait("reached")
        except KeyboardInterrupt:
            if not self.ignores:
                raise
            self._wait("ignored")
        return s.noise

    def _wait(self, news: str) -> None:
        for _ in range(6000):
            if not Path(self.gate).exists():
                return
            Path(f"{self.gate}.{news}").touch()
            time.sleep(0.01)
