"""A sweep whose trials run in this process, one after another, without Ray's workers."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rayal.engine.local import LocalEngine
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment
from rayal.workflows.sweep.sweeping import Sweeping, start_sweep
from rayal.workflows.sweep.trial import run_trial


def finish(x: SweptExperiment, out: Path) -> Any:
    """Runs what is left of a sweep; what it found."""
    with start_sweep(x, str(out)) as sweep:
        for trial in sweep.todo:
            work(sweep, Assignment(trial.arm, trial.experiment.seed))
        return sweep.found()


def work(sweep: Sweeping, assignment: Assignment) -> None:
    """Runs a trial."""
    run_trial(
        sweep.fields,
        sweep.folder.url,
        sweep.x.sweep.objective,
        assignment,
        lambda: nullcontext(LocalEngine(sweep.x.compute)),
        lambda cycle, value: None,
    )
