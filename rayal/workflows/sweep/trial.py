"""One trial of a sweep, on the worker that runs it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rayal.cycle.engine import Engine
from rayal.cycle.shared_training import SharedTraining
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.trials import Assignment
from rayal.parts import Component, bring
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.sweeps import objective_so_far
from rayal.runs.events import Event
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder, Json
from rayal.workflows.run import start_run
from rayal.workflows.sweep.folder import TRIALS

SHARED_TRAININGS = "shared"


def run_trial(
    fields: Json,
    out: str,
    objective: str,
    assignment: Assignment,
    start_engine: Callable[[], AbstractContextManager[Engine]],
    report: Callable[[int, float], None],
    *,
    shared: bool = True,
    plugins: Plugins = NO_PLUGINS,
    own: Iterable[type[Component]] = (),
) -> None:
    """Runs one trial on a worker, or goes on with it; tells its objective after every cycle. `own`
    are classes of the notebook or script that began the sweep."""
    bring(own)
    trial, sweep = trials.of_arm(fields, *assignment, plugins), Folder(out)
    place = (sweep / TRIALS / trial.folder).url
    with start_run(trial.experiment, place, plugins=plugins) as run:
        record = run.record
        record.folder.write_sealed("arm.json", {"arm": trial.arm})
        for cycle in range(len(record.cycles())):
            report(cycle + 1, objective_of(record, objective, cycle + 1))

        @contextmanager
        def engine() -> Iterator[Engine]:
            with start_engine() as opened_engine:
                kept = sweep / SHARED_TRAININGS
                yield SharedTraining(opened_engine, kept) if shared else opened_engine

        run.run(engine, [_Reports(record, objective, report)])


class _Reports:
    """Tells the objective of a run after each cycle, where Ray Tune may end it."""

    def __init__(
        self, record: Record, objective: str, report: Callable[[int, float], None]
    ) -> None:
        self.record, self.objective, self.report = record, objective, report

    def on(self, event: Event) -> None:
        if isinstance(event.result, Evaluated):
            assert event.cycle is not None, "a run's stages have a cycle"
            self.report(event.cycle + 1, objective_of(self.record, self.objective))


def objective_of(record: Record, objective: str, cycles: int | None = None) -> float:
    """Of a run so far, or of its first cycles."""
    rows = record.cycles()[:cycles]
    return objective_so_far({row["labels"]: row[record.headline] for row in rows}, objective)
