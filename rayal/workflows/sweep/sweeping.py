"""A sweep from beginning to end: its trials, their folders, and what was found.

OUT/sweep.yaml identity.json       what was asked; what a later command must have in common with it
OUT/trials/<trial>/                an ordinary run folder each
OUT/shared/                        first trainings that several trials have in common
OUT/stopped.json draws.json        the trials that were stopped early; draws of an arm a second time
OUT/sweep.csv tables.md report.html curves.png parallel.png
                                   what was found, written again at each end
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from importlib import import_module
from math import isfinite
from statistics import mean
from threading import Thread
from typing import NamedTuple

from rayal import errors
from rayal.cycle.shared_training import SHARED
from rayal.engine.forks import Forks
from rayal.errors import RayalError, counted
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import curves, metric, parallel, sweeps, tables
from rayal.report.at_end import page_of
from rayal.report.page.command import PAGE
from rayal.report.statistics import Interval
from rayal.report.sweeps import Ranked
from rayal.report.tables import Summary
from rayal.runs.events import Observer
from rayal.runs.ledger import stage_folder
from rayal.runs.results import TUNED
from rayal.storage.folder import Folder, Json
from rayal.storage.lock import Lock
from rayal.workflows import tracking
from rayal.workflows.sweep.folder import IDENTITY, STOPPED, SweepFolder
from rayal.workflows.sweep.progress import Progress
from rayal.workflows.sweep.trial import objective_of, run_trial

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
    together: bool = False,
) -> Iterator["Sweeping"]:
    """The sweep in folder `out`, new or continued, locked while the block lasts.

    Every arm that can be refused is refused here, before a cluster starts, and so is a folder that
    holds another sweep; unless they are `together` there: other arms and seeds of the same sweep,
    which stay as they are.
    """
    place = Folder(default_folder(x) if out is None else out)
    found = Sweeping(x, place, plugins, together=together)
    found.check()
    x.tracking.prepare()
    lock = Lock(found.folder)
    lock.acquire(break_lock)
    try:
        if found.folder.exists(IDENTITY):
            found.folder.sweep()
        else:
            found.folder.sweep_new()
        found.record()
        yield found
    finally:
        lock.release()


class SweepResult(NamedTuple):
    """What a sweep has found so far."""

    summary: Summary
    rankings: list[list[Ranked]]
    """Of each group that has a complete trial its arms, the highest first."""
    leaders: list[str]
    """Of each such group, which arm is ahead and how surely."""
    complete: int
    trials: int
    shared: int
    """First trainings that another trial had done already."""
    repeated: int
    """Draws of a search that proposed an arm again."""

    def lines(self) -> Iterator[str]:
        """The outcome in words."""
        yield (
            f"{self.complete} of {self.trials} trials complete; {self.shared} first trainings"
            " taken from another trial"
        )
        if self.repeated:
            yield f"{self.repeated} draws proposed an arm again, whose value was known"
        for leader, ranked in zip(self.leaders, self.rankings, strict=True):
            yield leader
            yield f"best trial  {ranked[0].trial.url}"


class Sweeping(SweepFolder):
    """A sweep that this process may run."""

    @cached_property
    def failures(self) -> list[tuple[Assignment, Json]]:
        """Trials that ended with an error, and the error."""
        return []

    @property
    def control_note(self) -> str:
        """That there is a control which the space does not name; "" where there is none."""
        if not self.control:
            return ""
        more = counted(len(self.control) * len(self.x.sweep.seeds), "trial")
        return f"sweep, with {self.x.sweep.control} as its control ({more} more)"

    def run(
        self,
        cluster: Callable[[], AbstractContextManager[int]],
        observer: Observer,
        forks: Forks | None = None,
    ) -> SweepResult:
        """Runs what is left in `forks`, processes of this machine that suffice, else on what
        `cluster` opens, which says how many cores it has; a complete sweep opens nothing. Raises
        the first failure of a trial when all others have ended."""
        if self.todo or len(self.listed) < self.total:
            Thread(target=_import_reports, daemon=True).start()
            if forks is not None:
                self._run_here(observer, forks)
            else:
                with cluster() as cores:
                    self._run(cores, observer)
        found = self.found()
        self._write(found)
        if self.failures:
            raise self._failure(found)
        return found

    def _run_here(self, observer: Observer, forks: Forks) -> None:
        from rayal.engine.processes import TrialProcesses

        watcher = Progress(self, self.ended, observer)
        runner = TrialProcesses(self.x.sweep, self.x.compute, self._work(), watcher, forks)
        runner.run([Assignment(trial.arm, trial.experiment.seed) for trial in self.todo])

    def _run(self, cores: int, observer: Observer) -> None:
        from rayal.engine.sweep import Trials

        sweep, watcher = self.x.sweep, Progress(self, self.ended, observer)
        runner = Trials(sweep, self.x.compute, cores, self._work(), watcher)
        # With early stopping also those that are complete: they tell what the others must reach.
        todo = self.listed if sweep.early_stopping is not None else self.todo
        runner.run([Assignment(trial.arm, trial.experiment.seed) for trial in todo])
        if self.searched:
            arms = self._known()
            values = [(arm, self._objective(arm)) for arm in arms]
            known = [(arm, value) for arm, value in values if value is not None]
            left = sweep.samples - len(arms) - self.repeated
            runner.search(known, left, self._name, self.repeats)

    def _work(self) -> Callable[..., None]:
        """What runs a trial."""
        return partial(
            run_trial,
            self.fields,
            self.folder.url,
            self.x.sweep.objective,
            shared=self.x.sweep.share_first_cycle,
            plugins=self.plugins,
            own=self.own_parts(),
        )

    def ended(self, assignment: Assignment, error: Json | None) -> str:
        """Remembers how a trial ended, and says it."""
        if error is not None:
            self.failures.append((assignment, error))
            return f"failed: {error['message']}"
        trial = self.trial(assignment)
        record = self._record(trial)
        if not record.complete:
            self.folder.write_sealed(STOPPED, {"trials": sorted(self.stopped() | {trial.folder})})
        headline, last = record.headline, record.cycles()[-1]
        value = metric.said(Interval(last[headline], None, 1), headline)
        said = f"{headline} {value} with {last['labels']} labels"
        if (tuned := last.get(f"{TUNED}{headline}")) is not None:
            said += f", fine-tuned {metric.said(Interval(tuned, None, 1), headline)}"
        if record.stopped is not None:
            return f"{said}, ended by {record.stopped.partition(':')[0]}"
        return said if record.complete else f"stopped early, {said}"

    def found(self) -> SweepResult:
        """What the run folders say now."""
        records = self.records()
        summary = tables.summarise(records)
        objective, groups = self.x.sweep.objective, summary.groups
        leaders = {place: sweeps.leading(each, objective) for place, each in enumerate(groups)}
        ahead = {place: said for place, said in leaders.items() if said is not None}
        return SweepResult(
            summary,
            [sweeps.ranking(groups[place], objective) for place in ahead],
            list(ahead.values()),
            sum(record.complete for record in records),
            self.total,
            sum(stage_folder(r.folder, 0, "train").exists(SHARED) for r in records),
            self.repeated if self.searched else 0,
        )

    def _write(self, found: SweepResult) -> None:
        objective, records = self.x.sweep.objective, self.records()
        files = {
            "sweep.csv": sweeps.to_csv(records, objective).encode(),
            "tables.md": found.summary.to_markdown().encode(),
        }
        files["curves.png"], files["curves.svg"] = curves.drawn(found.summary)
        for number, each in enumerate(found.summary.groups):
            name = f"parallel-{number}" if number else "parallel"
            files[f"{name}.png"], files[f"{name}.svg"] = parallel.drawn(each, objective)
        if (page := page_of(records, found.summary)) is not None:
            files[PAGE] = page
        for name, data in files.items():
            self.folder.write(name, data)
        notes = {}
        if found.rankings:
            best = found.rankings[0][0]
            notes = {"rayal.best_arm": found.leaders[0], "rayal.best_trial": best.trial.url}
        try:
            for record in self.records():  # those that could not send all themselves
                self.x.tracking.sync(record)
            for group in tracking.found(found.summary, self.folder.url, files, notes):
                self.x.tracking.summarise(group)
        except RayalError as error:
            logger.warning("tracking: %s; the same command sends the rest", error)

    def _objective(self, arm: Json) -> float | None:
        """Mean over the seeds; None for an arm of which a trial has failed, or has no value."""
        made = [self.trial(Assignment(arm, seed)) for seed in self.x.sweep.seeds]
        if not all(map(self._complete, made)):
            return None
        value = mean(objective_of(self._record(t), self.x.sweep.objective) for t in made)
        return value if isfinite(value) else None

    def _failure(self, found: SweepResult) -> RayalError:
        assignment, error = self.failures[0]
        message = (
            f"{len(self.failures)} of {found.trials} trials failed, the others are complete; the"
            f" first is {self.called(assignment)}: {error['message']}"
        )
        failure: RayalError = getattr(errors, error["error"])(message)
        return failure


def _import_reports() -> None:
    """What only the end needs takes a second: it is there when the last trial ends."""
    for module in ("scipy.stats", "rayal.report.page.document"):
        import_module(module)
