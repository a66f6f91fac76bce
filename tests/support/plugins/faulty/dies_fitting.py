"""A worker that dies once, after some steps of a fit."""

import os
import signal
from pathlib import Path

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.testing.side import Outside, Side, SideSpec, _SideFitting
from rayal.training.fits.base import FitBatch, FitSpec, Fitting, Scene


class DiesFitting(Outside):
    """What is least like the labeled units, by a fit that kills its process once."""

    marker: str
    """A file that remembers the death."""

    def fits(self) -> tuple[FitSpec, ...]:
        return (_DyingSpec(marker=self.marker),)

    def score(self, s: Signals) -> Tensor:
        logits: Tensor = s.companion(_DyingSpec)(s.images)
        return -logits


class _DyingSpec(SideSpec):
    marker: str

    def start(self, companion: Side, scene: Scene) -> Fitting:
        made = _Dying(companion, self.lr)
        made.marker = Path(self.marker)
        return made


class _Dying(_SideFitting):
    marker: Path

    def step(self, batch: FitBatch | None, step: int) -> dict[str, Tensor]:
        if step == 15 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(batch, step)
