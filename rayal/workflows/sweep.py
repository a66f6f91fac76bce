"""A sweep from beginning to end: its trials, their folders, and what was found.

OUT/sweep.yaml                     what was asked
OUT/trials/<trial>/                an ordinary run folder each
OUT/shared/                        first trainings that several trials have in common
OUT/stopped.json                   the trials that were stopped early
OUT/sweep.csv tables.md curves.png parallel.png    what was found, written again at each end
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from rayal import errors
from rayal.cycle.engine import Engine
from rayal.cycle.shared_training import SHARED, SharedTraining
from rayal.errors import RayalError
from rayal.experiment import config
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment, Trial
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import curves, parallel, sweeps, tables
from rayal.report.sweeps import Ranked, objective_so_far
from rayal.report.tables import Summary
from rayal.runs.events import Event, Observer
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder, Json
from rayal.storage.lock import Lock
from rayal.workflows import checks, tracking
from rayal.workflows.run import start_run

TRIALS, SHARED_TRAININGS, STOPPED = "trials", "shared", "stopped.json"

logger = logging.getLogger(__name__)


def default_folder(x: SweptExperiment) -> str:
    """Where a sweep goes unless told otherwise."""
    return f"sweeps/{x.name}"


@contextmanager
def start_sweep(
    x: SweptExperiment,
    out: str | None = None,
    *,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
) -> Iterator["Sweeping"]:
    """The sweep in folder `out`, new or continued, locked while the block lasts.

    Every arm that can be refused is refused here, before a cluster starts.
    """
    found = Sweeping(x, Folder(default_folder(x) if out is None else out), plugins)
    found.check()
    x.tracking.prepare()
    lock = Lock(found.folder)
    lock.acquire(break_lock)
    try:
        found.folder.sweep()
        found.folder.write("sweep.yaml", config.dump(x).encode())
        yield found
    finally:
        lock.release()


class SweepResult(NamedTuple):
    """What a sweep has found so far."""

    summary: Summary
    ranking: list[Ranked]
    """Arms, the best first."""
    complete: int
    trials: int
    shared: int
    """First trainings that another trial had done already."""

    def lines(self) -> Iterator[str]:
        """The outcome in words."""
        yield (
            f"{self.complete} of {self.trials} trials complete; {self.shared} first trainings"
            " taken from another trial"
        )
        if self.ranking:
            best = self.ranking[0]
            half = best.reached.half
            spread = "" if half is None else f" ± {half:.4f}"
            yield (
                f"best arm  {best.arm.label}: {best.reached.mean:.4f}{spread}"
                f" over {best.reached.n} seeds"
            )
            top = best.trial
            yield f"best trial  {top.url}"


class Sweeping:
    """A sweep that this process may run."""

    def __init__(self, x: SweptExperiment, folder: Folder, plugins: Plugins = NO_PLUGINS) -> None:
        self.x, self.folder, self.plugins = x, folder, plugins
        self.fields = trials.base(x)
        self.failures: list[tuple[Trial, Json]] = []
        self.listed: list[Trial] = []
        """Trials that are known from the beginning: of all arms, unless they are searched."""

    def check(self) -> None:
        """Raises what the first trial of each arm would raise at its start."""
        from rayal.engine.sweep import all_arms

        searched = self.x.sweep.search == "optuna"
        arms = [trial.arm for trial in self._known()] if searched else all_arms(self.x.sweep)
        self.listed = trials.of_arms(self.x, arms, self.plugins)
        for trial in self.listed[: len(arms)]:
            store = trial.experiment.dataset.open()
            checks.check(trial.experiment, store.card)
            checks.check_strategies(trial.experiment, store)

    @property
    def total(self) -> int:
        """How many trials there are to be."""
        searched = self.x.sweep.search == "optuna"
        return self.x.sweep.samples * len(self.x.sweep.seeds) if searched else len(self.listed)

    @property
    def left(self) -> int:
        """How many trials have not ended; those of arms that a search has yet to propose too."""
        return self.total - len(self.listed) + len(self.todo)

    @property
    def todo(self) -> list[Trial]:
        """The known trials that have not ended."""
        stopped = self.stopped()
        return [t for t in self.listed if t.folder not in stopped and not self._complete(t)]

    def run(
        self, cluster: Callable[[], AbstractContextManager[int]], observer: Observer
    ) -> SweepResult:
        """Runs what is left on what `cluster` opens, which says how many cores it has; a complete
        sweep opens nothing. Raises the first failure of a trial when all others have ended."""
        if self.todo or len(self.listed) < self.total:
            with cluster() as cores:
                self._run(cores, observer)
        found = self.found()
        self._write(found)
        if self.failures:
            raise self._failure(found)
        return found

    def _run(self, cores: int, observer: Observer) -> None:
        from rayal.engine.sweep import Trials

        sweep = self.x.sweep
        work = partial(
            run_trial, self.fields, self.folder.url, sweep.objective, plugins=self.plugins
        )
        if not sweep.share_first_cycle:
            work = partial(work, shared=False)
        runner = Trials(sweep, self.x.compute, cores, work, _Outcomes(self, observer).on_end)
        # With early stopping also those that are complete: they tell what the others must reach.
        todo = self.listed if sweep.early_stopping is not None else self.todo
        runner.run([Assignment(trial.arm, trial.experiment.seed) for trial in todo])
        if sweep.search == "optuna":
            arms = [trial.arm for trial in self._known()]
            values = [(arm, self._objective(arm)) for arm in arms]
            known = [(arm, value) for arm, value in values if value is not None]
            runner.search(known, sweep.samples - len(arms))

    def trial(self, assignment: Assignment) -> Trial:
        """What a worker is asked to run, as an experiment with its folder."""
        return trials.of_arm(self.fields, *assignment, self.plugins)

    def ended(self, trial: Trial, error: Json | None) -> str:
        """Remembers how a trial ended, and says it."""
        if error is not None:
            self.failures.append((trial, error))
            return f"failed: {error['message']}"
        record = self._record(trial)
        if not record.complete:
            self.folder.write_json(STOPPED, {"trials": sorted(self.stopped() | {trial.folder})})
        metric, last = record.headline, record.cycles()[-1]
        said = f"{metric} {last[metric]:.4f} with {last['labels']} labels"
        return said if record.complete else f"stopped early, {said}"

    def stopped(self) -> set[str]:
        """The trials that were stopped early."""
        return set(self.folder.read_json(STOPPED, default={"trials": []})["trials"])

    def found(self) -> SweepResult:
        """What the run folders say now."""
        records = self.records()
        summary = tables.summarise(records)
        ranking = [
            each for g in summary.groups for each in sweeps.ranking(g, self.x.sweep.objective)
        ]
        return SweepResult(
            summary,
            ranking,
            sum(record.complete for record in records),
            self.total,
            sum(stage_folder(r.folder, 0, "train").exists(SHARED) for r in records),
        )

    def records(self) -> list[Record]:
        """The trials that have begun."""
        place = self.folder / TRIALS
        begun = [name for name in place.folders() if (place / name).exists("experiment.yaml")]
        return [Record(place / name, self.plugins) for name in begun]

    def _write(self, found: SweepResult) -> None:
        objective, records = self.x.sweep.objective, self.records()
        files = {
            "sweep.csv": sweeps.to_csv(records, objective).encode(),
            "tables.md": found.summary.to_markdown().encode(),
        }
        files["curves.png"], files["curves.svg"] = curves.drawn(found.summary)
        for number, group in enumerate(found.summary.groups):
            name = f"parallel-{number}" if number else "parallel"
            files[f"{name}.png"], files[f"{name}.svg"] = parallel.drawn(group, objective)
        for name, data in files.items():
            self.folder.write(name, data)
        notes = {}
        if found.ranking:
            best = found.ranking[0]
            notes = {"rayal.best_arm": best.arm.label, "rayal.best_trial": best.trial.url}
        try:
            for record in self.records():  # those that could not send all themselves
                self.x.tracking.sync(record)
            for each in tracking.found(found.summary, self.folder.url, files, notes):
                self.x.tracking.summarise(each)
        except RayalError as error:
            logger.warning("tracking: %s; the same command sends the rest", error)

    def _known(self) -> list[Trial]:
        """One trial of each arm that a search has proposed so far, by its folder."""
        seeds = self.x.sweep.seeds
        arms: dict[str, Json] = {}
        for record in self.records():
            arm = record.folder.read_sealed("arm.json", default=None)
            if arm is not None:
                arms.setdefault(trials.mark(arm["arm"]), arm["arm"])
        return [self.trial(Assignment(arm, seeds[0])) for arm in arms.values()]

    def _objective(self, arm: Json) -> float | None:
        """Mean over the seeds; None for an arm of which a trial has failed."""
        made = [self.trial(Assignment(arm, seed)) for seed in self.x.sweep.seeds]
        if not all(map(self._complete, made)):
            return None
        return mean(objective_of(self._record(t), self.x.sweep.objective) for t in made)

    def _complete(self, trial: Trial) -> bool:
        return self._place(trial).exists("experiment.yaml") and self._record(trial).complete

    def _record(self, trial: Trial) -> Record:
        return Record(self._place(trial), self.plugins)

    def _place(self, trial: Trial) -> Folder:
        return self.folder / TRIALS / trial.folder

    def _failure(self, found: SweepResult) -> RayalError:
        trial, error = self.failures[0]
        message = (
            f"{len(self.failures)} of {found.trials} trials failed, the others are complete; the"
            f" first is {self._place(trial).url}: {error['message']}"
        )
        failure: RayalError = getattr(errors, error["error"])(message)
        return failure


class _Outcomes:
    """Remembers each trial that ends, and tells it."""

    def __init__(self, sweeping: Sweeping, observer: Observer) -> None:
        self.sweeping, self.observer = sweeping, observer
        self.done = sweeping.total - sweeping.left

    def on_end(self, assignment: Assignment, error: Json | None) -> None:
        trial = self.sweeping.trial(assignment)
        note = f"{trial.folder}: {self.sweeping.ended(trial, error)}"
        total = self.sweeping.total
        self.done = min(self.done + 1, total)
        self.observer.on(Event("ended", "trial", None, self.done, total, "trials", note=note))


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
) -> None:
    """Runs one trial on a worker, or goes on with it; tells its objective after every cycle."""
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
                reports.engine = opened_engine
                kept = sweep / SHARED_TRAININGS
                yield SharedTraining(opened_engine, kept) if shared else opened_engine

        reports = _Reports(record, objective, report)
        run.run(engine, [reports])


class _Reports:
    """Tells the objective of a run, with no training worker left: Ray Tune may end the
    trial there, and what it had reserved would stay reserved."""

    def __init__(
        self, record: Record, objective: str, report: Callable[[int, float], None]
    ) -> None:
        self.record, self.objective, self.report = record, objective, report
        self.engine: Any = None

    def on(self, event: Event) -> None:
        if isinstance(event.result, Evaluated):
            self.engine.close()
            assert event.cycle is not None, "a run's stages have a cycle"
            self.report(event.cycle + 1, objective_of(self.record, self.objective))


def objective_of(record: Record, objective: str, cycles: int | None = None) -> float:
    """Of a run so far, or of its first cycles."""
    rows = record.cycles()[:cycles]
    return objective_so_far({row["labels"]: row[record.headline] for row in rows}, objective)
