"""A training worker that dies once, after some of the training is done."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from rayal.models.base import Outputs
from rayal.models.companions.base import CompanionSpec, LearningCompanion
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class DiesTraining(Strategy):
    """Uniform noise; its companion kills the process at half of a training, once."""

    needs = frozenset({"noise"})
    marker: str
    """A file that remembers the death."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (_KillerSpec(marker=self.marker),)

    def score(self, s: Signals) -> Tensor:
        return s.noise


class _KillerSpec(CompanionSpec):
    name = "killer"
    marker: str

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> "_Killer":
        return _Killer(Path(self.marker))


class _Killer(LearningCompanion):
    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker, self.weight = marker, nn.Parameter(Tensor([0.0]))

    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        if progress > 0.5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.weight.sum() * 0
