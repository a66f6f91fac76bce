"""What trials of a sweep tell, wherever they run, and what they are told."""

from collections.abc import Callable
from typing import Any, Protocol

from rayal.experiment.sweep.trials import Assignment
from rayal.storage.folder import Json

Report = Callable[[int, float], None]
"""Tells the objective after so many cycles; the trial may end there, by SystemExit."""
StartEngine = Callable[[], Any]
"""Opens the engine of a trial on its worker."""
Work = Callable[[Assignment, StartEngine, Report], None]
"""Runs a trial to its end, on a worker; raises what a run raises."""


class Watcher(Protocol):
    """Is told of the trials, in the process that started them."""

    def on_cycle(self, assignment: Assignment, cycles: int) -> None:
        """A trial has evaluated so many cycles."""

    def on_end(self, assignment: Assignment, error: Json | None) -> None:
        """A trial has ended: with its error as of `failures.described`, or None where it is
        complete or was stopped early."""
