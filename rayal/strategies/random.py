"""Random sampling without replacement: the baseline of every comparison."""

from typing import ClassVar

from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Random(Strategy):
    """A uniform random order of the pool; no network runs.

    Score: a uniform number in [0, 1) of (seed, cycle, unit id).
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"noise"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    draws_at_random: ClassVar[bool] = True

    def score(self, s: Signals) -> Tensor:
        return s.noise
