"""How far a sweep is: the trials that have ended, the cycles of all, the share of the work."""

from collections.abc import Callable
from dataclasses import replace

from rayal.errors import UsageError
from rayal.experiment.sweep.trials import Assignment, Trial
from rayal.runs.events import Event, Observer
from rayal.storage.folder import Json
from rayal.workflows.plan import prices
from rayal.workflows.plan.cycles import plan_cycles, work
from rayal.workflows.sweep.folder import SweepFolder


class Progress:
    """Remembers each trial that ends, and tells how far all together are."""

    def __init__(
        self,
        sweep: SweepFolder,
        outcome: Callable[[Assignment, Json | None], str],
        observer: Observer,
    ) -> None:
        """`outcome` remembers how a trial ended, and says it."""
        self.sweep, self.outcome, self.observer = sweep, outcome, observer
        todo = {trial.folder for trial in sweep.todo}
        self.ended = {trial.folder for trial in sweep.listed} - todo
        """The trials: with early stopping those that are complete end here once more."""
        self.costs: dict[str, list[int]] = {}
        """Of the cycles of each arm, by its name."""
        self.cycles: dict[str, int] = {}
        """Those that each trial has evaluated, by its folder; all of one that has ended."""
        for trial in sweep.listed:
            self._seen(trial, sweep.cycles_of(trial))
            if trial.folder in self.ended:
                self._seen(trial, None)
        self._tell()

    def on_cycle(self, assignment: Assignment, cycles: int) -> None:
        trial = self.sweep.trial(assignment)
        if cycles > self.cycles.get(trial.folder, 0):  # else said again by one that goes on
            self._seen(trial, cycles)
            self._tell(trial, self.sweep.called(assignment))

    def on_end(self, assignment: Assignment, error: Json | None) -> None:
        ended = self.outcome(assignment, error)
        called = self.sweep.called(assignment)
        note = f"{called}: {ended}"
        total = self.sweep.total
        try:
            trial = self.sweep.trial(assignment)
        except UsageError:  # of an arm that is none, which was proposed
            self.ended.add(called)
        else:
            self.ended.add(trial.folder)
            self._seen(trial, None)
        self._tell()
        done = min(len(self.ended), total)
        told = Event("ended", "trial", None, done, total, "trials", note=note, trial=called)
        self.observer.on(told)

    def _seen(self, trial: Trial, cycles: int | None) -> None:
        if trial.name not in self.costs:
            self.costs[trial.name] = _costs(trial)
        most = len(self.costs[trial.name])
        self.cycles[trial.folder] = most if cycles is None else min(cycles, most)

    def _tell(self, trial: Trial | None = None, called: str = "") -> None:
        """How far all are and, if it is one that has come further, this one.

        Trials that a search has yet to propose count as those that are known."""
        if not self.cycles:
            return
        costs = {folder: self.costs[folder.rpartition("-seed")[0]] for folder in self.cycles}
        all_trials = self.sweep.total / len(costs)
        total = sum(map(sum, costs.values())) * all_trials
        done = sum(sum(cost[: self.cycles[folder]]) for folder, cost in costs.items())
        count, most = sum(self.cycles.values()), sum(map(len, costs.values())) * all_trials
        share = min(1.0, done / total)
        told = Event("further", "trial", None, count, round(most), "cycles", share=share)
        if trial is not None:
            cycles = self.cycles[trial.folder], len(self.costs[trial.name])
            told = replace(told, trial=called, cycles=cycles)
        self.observer.on(told)


def _costs(trial: Trial) -> list[int]:
    """Of each of its cycles, see `work`."""
    x, store = trial.experiment, trial.experiment.dataset.open()
    return work(x, plan_cycles(x, store.card, prices(x, store)))
