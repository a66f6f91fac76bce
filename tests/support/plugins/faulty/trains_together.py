"""A strategy whose trainings wait for each other, so that a test sees which run at once."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from rayal.models.base import Outputs
from rayal.models.companions.base import CompanionSpec, LearningCompanion
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy

PATIENCE = 100.0  # seconds, for a test that fails


class TrainsTogether(Strategy):
    """Uniform noise; its companion holds each training until `at_once` of them are under way."""

    needs = frozenset({"noise"})
    folder: str
    """Where every training leaves a file named by its process."""
    at_once: int = 1
    fails: bool = False
    """Whether the first training then raises, and the others wait for a file `released`."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (_MeetingSpec(folder=self.folder, at_once=self.at_once, fails=self.fails),)

    def score(self, s: Signals) -> Tensor:
        return s.noise


class _MeetingSpec(CompanionSpec):
    name = "meeting"
    folder: str
    at_once: int
    fails: bool

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> "_Meeting":
        return _Meeting(Path(self.folder), self.at_once, self.fails)


class _Meeting(LearningCompanion):
    def __init__(self, folder: Path, at_once: int, fails: bool) -> None:
        super().__init__()
        self.folder, self.at_once, self.fails = folder, at_once, fails
        self.weight, self.met = nn.Parameter(Tensor([0.0])), False

    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        if progress == 0 and not self.met:  # not where a killed training continues
            self.met = True
            self._meet()
        return self.weight.sum() * 0

    def _meet(self) -> None:
        here = sum(1 for _ in self.folder.iterdir())
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        goal = (here // self.at_once + 1) * self.at_once  # of those that come with this one
        self._wait(lambda: sum(1 for _ in self.folder.iterdir()) >= goal)
        if self.fails:
            try:
                (self.folder / "failed").touch(exist_ok=False)
            except FileExistsError:
                self._wait(lambda: (self.folder / "released").exists())
            else:
                raise ArithmeticError("the first one fails")

    def _wait(self, until: Callable[[], bool]) -> None:
        started = time.monotonic()
        while not until():
            assert time.monotonic() - started < PATIENCE, "nobody trains at the same time"
            time.sleep(0.02)
