"""A sweep from beginning to end: its trials, their folders, and what was found.

OUT/sweep.yaml identity.json       what was asked; what a later command must have in common with it
OUT/trials/<trial>/                an ordinary run folder each
OUT/shared/                        first trainings that several trials have in common
OUT/stopped.json draws.json        the trials that were stopped early; draws of an arm a second time
OUT/sweep.csv tables.md curves.png parallel.png    what was found, written again at each end
"""

import functools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from rayal import errors
from rayal.cycle.engine import Engine
from rayal.cycle.shared_training import SHARED, SharedTraining
from rayal.data.store import Store
from rayal.errors import LockedError, RayalError, UsageError
from rayal.experiment import config
from rayal.experiment.experiment import content
from rayal.experiment.sweep import space, trials
from rayal.experiment.sweep.identity import asked, changes, joined
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment, Trial
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import curves, labels, parallel, sweeps, tables
from rayal.report.runs import settings
from rayal.report.sweeps import Ranked, objective_so_far
from rayal.report.tables import Summary
from rayal.runs.events import Event, Observer
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import differences
from rayal.storage.lock import Lock
from rayal.workflows import checks
from rayal.workflows.plan import prices
from rayal.workflows.plan.cycles import plan_cycles, work
from rayal.workflows.run import identity_of, start_run

TRIALS, SHARED_TRAININGS = "trials", "shared"
IDENTITY, STOPPED, DRAWS = "identity.json", "stopped.json", "draws.json"

logger = logging.getLogger(__name__)


def default_folder(x: SweptExperiment) -> str:
    """Where a sweep goes unless told otherwise."""
    return f"sweeps/{x.name}"


def arms_to_check(x: SweptExperiment) -> list[Json]:
    """All arms; where an algorithm proposes them, some that are different in each way."""
    from rayal.engine.sweep import all_arms

    return space.samples(x.sweep.space) if x.sweep.search == "optuna" else all_arms(x.sweep)


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
        found.folder.sweep()
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

    def lines(self) -> Iterator[str]:
        """The outcome in words."""
        yield (
            f"{self.complete} of {self.trials} trials complete; {self.shared} first trainings"
            " taken from another trial"
        )
        for leader, ranked in zip(self.leaders, self.rankings, strict=True):
            yield leader
            yield f"best trial  {ranked[0].trial.url}"


class Sweeping:
    """A sweep that this process may run."""

    def __init__(
        self,
        x: SweptExperiment,
        folder: Folder,
        plugins: Plugins = NO_PLUGINS,
        *,
        together: bool = False,
    ) -> None:
        self.x, self.folder, self.plugins, self.together = x, folder, plugins, together
        self.fields = trials.base(x)
        self.failures: list[tuple[Assignment, Json]] = []

    @functools.cached_property
    def listed(self) -> list[Trial]:
        """The trials that are known from the beginning: of all arms; where an algorithm proposes
        them, of those that it has proposed."""
        arms = self._known() if self.searched else arms_to_check(self.x)
        return trials.of_arms(self.x, arms, self.plugins)

    def check(self) -> None:
        """Raises what the first trial of each arm would raise at its start; LockedError where the
        folder holds another sweep; UsageError for arms that are the same experiment."""
        self._compare()
        if self.searched:
            from rayal.engine.sweep import optuna_search

            optuna_search()
            self.checked_arms()
        self._check_all(self.listed)
        foreign = sorted(self._begun() - {trial.folder for trial in self.listed})
        if foreign and not self.together:
            said = "%d runs in %s are not of this sweep and left out, the first: %s"
            logger.warning(said, len(foreign), (self.folder / TRIALS).url, foreign[0])

    def checked_arms(self) -> list[Trial]:
        """The first trial of each arm, or of some arms that may be proposed; raises as `check`."""
        made = trials.of_arms(self.x, arms_to_check(self.x), self.plugins)
        self._check_all(made)
        return list({trial.name: trial for trial in reversed(made)}.values())[::-1]

    def _check_all(self, listed: Sequence[Trial]) -> None:
        stores: dict[str, Store] = {}
        problems: list[str] = []
        for trial in listed:
            if trial.name in stores:  # another seed of an arm
                continue
            x = trial.experiment
            store = stores[trial.name] = x.dataset.open()
            try:
                checks.check(x, store.card)
                checks.check_strategies(x, store)
            except UsageError as error:
                problems.append(f"{trials.described(trial.arm)}: {error}")
        trials.refuse(problems)
        same: dict[str, Trial] = {}
        digest = functools.cache(content)
        for trial in listed:
            x = trial.experiment
            identity = identity_of(x, stores[trial.name], digest)
            self._compare_trial(trial, identity)
            first = same.setdefault(json.dumps(identity, sort_keys=True), trial)
            if first is not trial:
                one, other = (trials.described(each.arm) for each in (first, trial))
                raise UsageError(f"sweep.space: {one} and {other} hold the same; leave one out")

    def record(self) -> None:
        """Writes down what is asked, where the folder holds nothing else."""
        self.folder.write_sealed(IDENTITY, self._compare())
        self.folder.write("sweep.yaml", config.dump(self.x).encode())

    def _compare(self) -> Json:
        """What a later command must have in common; LockedError where this one does not."""
        there = self.folder.read_sealed(IDENTITY, default=None)
        here: Json = json.loads(json.dumps(asked(self.x, self.listed)))
        if there is not None and self.together:
            here = joined(there, here)
        if there is not None and (changed := changes(there, here)):
            raise LockedError(
                f"{self.folder.url} holds another sweep (there -> here): {', '.join(changed)}; use"
                " another --out, or the values that are there; seeds, samples and space may grow"
            )
        return here

    def _compare_trial(self, trial: Trial, identity: Json) -> None:
        """The data or the weights may be others, though their names are the same."""
        there = self._place(trial).read_sealed(IDENTITY, default=None)
        here = json.loads(json.dumps(identity))
        if there is not None and (changed := differences(there, here)):
            raise LockedError(
                f"{self._place(trial).url} was made otherwise (there -> here):"
                f" {', '.join(changed)}; use another --out, or what was there"
            )

    @property
    def total(self) -> int:
        """How many trials there are to be."""
        sweep = self.x.sweep
        if not self.searched:
            return len(self.listed)
        return (sweep.samples - self.repeated) * len(sweep.seeds)

    @property
    def repeated(self) -> int:
        """How often a search has proposed an arm that it had proposed before."""
        return int(self.folder.read_sealed(DRAWS, default={"repeated": 0})["repeated"])

    def repeats(self) -> None:
        """Remembers one such proposal."""
        self.folder.write_sealed(DRAWS, {"repeated": self.repeated + 1})

    @property
    def searched(self) -> bool:
        """Whether an algorithm proposes the arms."""
        return self.x.sweep.search == "optuna"

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
        trial_work = partial(
            run_trial, self.fields, self.folder.url, sweep.objective, plugins=self.plugins
        )
        if not sweep.share_first_cycle:
            trial_work = partial(trial_work, shared=False)
        runner = Trials(sweep, self.x.compute, cores, trial_work, _Progress(self, observer))
        # With early stopping also those that are complete: they tell what the others must reach.
        todo = self.listed if sweep.early_stopping is not None else self.todo
        runner.run([Assignment(trial.arm, trial.experiment.seed) for trial in todo])
        if self.searched:
            arms = self._known()
            values = [(arm, self._objective(arm)) for arm in arms]
            known = [(arm, value) for arm, value in values if value is not None]
            left = sweep.samples - len(arms) - self.repeated
            runner.search(known, left, self._name, self.repeats)

    def _name(self, arm: Json) -> str:
        """Of an arm that was proposed; one that is impossible fails when it is run."""
        try:
            return self.trial(Assignment(arm, self.x.sweep.seeds[0])).name
        except UsageError:
            return trials.described(arm)

    def called(self, assignment: Assignment) -> str:
        """`strategy=cod lr=0.1 seed=0`"""
        arm = self.labels.get(self._name(assignment.arm), trials.described(assignment.arm))
        return f"{arm} seed={assignment.seed}"

    @functools.cached_property
    def labels(self) -> dict[str, str]:
        """What arms are called that are known from the beginning."""
        return {} if self.searched else labels_of(self.listed)

    def trial(self, assignment: Assignment) -> Trial:
        """What a worker is asked to run, as an experiment with its folder."""
        return trials.of_arm(self.fields, *assignment, self.plugins)

    def cycles_of(self, trial: Trial) -> int:
        """How many it has evaluated."""
        begun = self._place(trial).exists("experiment.yaml")
        return len(self._record(trial).cycles()) if begun else 0

    def costs(self, trial: Trial) -> list[int]:
        """Of each of its cycles, see `work`."""
        x, store = trial.experiment, trial.experiment.dataset.open()
        return work(x, plan_cycles(x, store.card, prices(x, store)))

    def ended(self, assignment: Assignment, error: Json | None) -> str:
        """Remembers how a trial ended, and says it."""
        if error is not None:
            self.failures.append((assignment, error))
            return f"failed: {error['message']}"
        trial = self.trial(assignment)
        record = self._record(trial)
        if not record.complete:
            self.folder.write_sealed(STOPPED, {"trials": sorted(self.stopped() | {trial.folder})})
        metric, last = record.headline, record.cycles()[-1]
        said = f"{metric} {last[metric]:.4f} with {last['labels']} labels"
        return said if record.complete else f"stopped early, {said}"

    def stopped(self) -> set[str]:
        """The trials that were stopped early."""
        return set(self.folder.read_sealed(STOPPED, default={"trials": []})["trials"])

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
        )

    def records(self) -> list[Record]:
        """The trials that have begun; not runs of another sweep in the same place."""
        begun, known = self._begun(), self.listed
        if self.searched:
            known = trials.of_arms(self.x, self._known(), self.plugins)
        return [self._record(t) for t in sorted(known, key=lambda t: t.folder) if t.folder in begun]

    def _begun(self) -> set[str]:
        place = self.folder / TRIALS
        return {name for name in place.folders() if (place / name).exists("experiment.yaml")}

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
        for name, data in files.items():
            self.folder.write(name, data)
        notes = {}
        if found.rankings:
            best = found.rankings[0][0]
            notes = {"rayal.best_arm": found.leaders[0], "rayal.best_trial": best.trial.url}
        try:
            for record in self.records():  # those that could not send all themselves
                self.x.tracking.sync(record)
            self.x.tracking.summarise(self.x.name, files, notes)
        except RayalError as error:
            logger.warning("tracking: %s; the same command sends the rest", error)

    def _known(self) -> list[Json]:
        """The arms that a search has proposed so far, by their folders."""
        found: dict[str, Json] = {}
        for folder in sorted(self._begun()):
            kept = (self.folder / TRIALS / folder).read_sealed("arm.json", default=None)
            if kept is None or not space.proposes(self.x.sweep.space, kept["arm"]):
                continue
            trial = self.trial(Assignment(kept["arm"], self.x.sweep.seeds[0]))
            if folder.rpartition("-seed")[0] == trial.name:  # else of other settings
                found.setdefault(trial.name, trial.arm)
        return list(found.values())

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
        assignment, error = self.failures[0]
        message = (
            f"{len(self.failures)} of {found.trials} trials failed, the others are complete; the"
            f" first is {self.called(assignment)}: {error['message']}"
        )
        failure: RayalError = getattr(errors, error["error"])(message)
        return failure


def labels_of(listed: Sequence[Trial]) -> dict[str, str]:
    """What arms are called, by their names: as little of their settings as tells them apart, or all
    that is varied where something else does."""
    arms = {trial.name: trial for trial in listed}
    facts = [settings(trial.experiment.model_dump(mode="json")) for trial in arms.values()]
    said = labels.described(facts, labels.telling(facts))
    if len({*said}) < len(arms) or len(arms) == 1:
        said = [trials.described(trial.arm) for trial in arms.values()]
    return dict(zip(arms, said, strict=True))


class _Progress:
    """Remembers each trial that ends, and tells how far all together are."""

    def __init__(self, sweeping: Sweeping, observer: Observer) -> None:
        self.sweeping, self.observer = sweeping, observer
        self.ended = sweeping.total - sweeping.left
        self.costs: dict[str, list[int]] = {}
        """Of the cycles of each arm, by its name."""
        self.cycles: dict[str, int] = {}
        """Those that each trial has evaluated, by its folder; all of one that has ended."""
        for trial in sweeping.listed:
            self._seen(trial, sweeping.cycles_of(trial))
        todo = {trial.folder for trial in sweeping.todo}
        for trial in sweeping.listed:
            if trial.folder not in todo:
                self._seen(trial, None)
        self._tell()

    def on_cycle(self, assignment: Assignment, cycles: int) -> None:
        trial = self.sweeping.trial(assignment)
        if cycles > self.cycles.get(trial.folder, 0):  # else said again by one that goes on
            self._seen(trial, cycles)
            self._tell()

    def on_end(self, assignment: Assignment, error: Json | None) -> None:
        ended = self.sweeping.ended(assignment, error)
        note = f"{self.sweeping.called(assignment)}: {ended}"
        total = self.sweeping.total
        self.ended = min(self.ended + 1, total)
        with suppress(UsageError):  # of an arm that is none, which was proposed
            self._seen(self.sweeping.trial(assignment), None)
        self._tell()
        self.observer.on(Event("ended", "trial", None, self.ended, total, "trials", note=note))

    def _seen(self, trial: Trial, cycles: int | None) -> None:
        if trial.name not in self.costs:
            self.costs[trial.name] = self.sweeping.costs(trial)
        most = len(self.costs[trial.name])
        self.cycles[trial.folder] = most if cycles is None else min(cycles, most)

    def _tell(self) -> None:
        """Trials that a search has yet to propose count as those that are known."""
        if not self.cycles:
            return
        costs = {folder: self.costs[folder.rpartition("-seed")[0]] for folder in self.cycles}
        all_trials = self.sweeping.total / len(costs)
        total = sum(map(sum, costs.values())) * all_trials
        done = sum(sum(cost[: self.cycles[folder]]) for folder, cost in costs.items())
        count, most = sum(self.cycles.values()), sum(map(len, costs.values())) * all_trials
        share = min(1.0, done / total)
        told = Event("further", "trial", None, count, round(most), "cycles", share=share)
        self.observer.on(told)


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
