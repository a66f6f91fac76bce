"""A strategy with a mistake."""

from pathlib import Path

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class Raises(Strategy):
    """Uniform noise, if it were not for the first call."""

    needs = frozenset({"noise"})
    marker: str
    """A folder with a file for every call."""

    def score(self, s: Signals) -> Tensor:
        calls = len(list(Path(self.marker).iterdir()))
        Path(self.marker, str(calls)).touch()
        return s.noise / (1 if calls else 1 // calls)
