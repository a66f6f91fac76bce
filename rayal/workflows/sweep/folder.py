"""The trials of a sweep: which there are, which of the folder belong to it, how far they are."""

import functools
import json
import logging
from collections.abc import Sequence
from contextlib import suppress

from rayal.data.store import Store
from rayal.errors import OUT, LockedError, StorageError, UsageError, counted
from rayal.experiment import config
from rayal.experiment.content import content
from rayal.experiment.experiment import Experiment
from rayal.experiment.sources import parts_in
from rayal.experiment.sweep import space, trials
from rayal.experiment.sweep.control import controls
from rayal.experiment.sweep.identity import as_begun, asked, changes, joined
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment, Trial
from rayal.parts import MAIN, Component
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import labels
from rayal.report.runs import settings
from rayal.runs.record import Record
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import differences, listed
from rayal.workflows import checks, fine_tune
from rayal.workflows.run import identity_of, open_keys

TRIALS = "trials"
IDENTITY, STOPPED, DRAWS = "identity.json", "stopped.json", "draws.json"

logger = logging.getLogger(__name__)


def arms_to_check(x: SweptExperiment) -> list[Json]:
    """All arms, the control's last; where an algorithm proposes them, some that are different in
    each way."""
    from rayal.engine.draws import all_arms

    if x.sweep.search == "optuna":
        return space.samples(x.sweep.space)
    arms = all_arms(x.sweep)
    return [*arms, *control_of(x, arms)]


def control_of(x: SweptExperiment, arms: Sequence[Json]) -> list[Json]:
    """The arms of its control that are not among these."""
    return [] if x.sweep.control is None else controls(arms, x.strategy.part_name())


class SweepFolder:
    """A sweep and its folder, before anything runs and while it does."""

    def __init__(
        self,
        x: SweptExperiment,
        folder: Folder,
        plugins: Plugins = NO_PLUGINS,
        *,
        together: bool = False,
    ) -> None:
        there = None
        with suppress(StorageError):  # `check` tells of a damaged one
            there = folder.read_sealed(IDENTITY, default=None)
        self.x = as_begun(x, there)
        self.folder, self.plugins, self.together = folder, plugins, together
        self.fields = trials.base(x)

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
            said = "left out %s in %s that this sweep has not made, the first: %s"
            logger.warning(
                said, counted(len(foreign), "run"), (self.folder / TRIALS).url, foreign[0]
            )

    def checked_arms(self) -> list[Trial]:
        """The first trial of each arm, or of some arms that may be proposed; raises as `check`."""
        made = trials.of_arms(self.x, arms_to_check(self.x), self.plugins)
        self._check_all(made)
        return list({trial.name: trial for trial in reversed(made)}.values())[::-1]

    @functools.cached_property
    def control(self) -> list[Json]:
        """The arms that were added as a control."""
        from rayal.engine.draws import all_arms

        return [] if self.searched else control_of(self.x, all_arms(self.x.sweep))

    def own_parts(self) -> list[type[Component]]:
        """The classes among the parts of its arms that the notebook or script of this process
        defines: no other process can import them."""
        some = self.listed
        if self.searched:
            some = trials.of_arms(self.x, arms_to_check(self.x), self.plugins)
        found = {type(part): None for trial in some for part in parts_in(trial.experiment)}
        return [kind for kind in found if kind.__module__ == MAIN]

    def _check_all(self, listed: Sequence[Trial]) -> None:
        stores: dict[str, Store] = {}
        tuned: set[str] = set()
        problems: list[str] = []
        for trial in listed:
            if trial.name in stores:  # another seed of an arm
                continue
            x = trial.experiment
            store = stores[trial.name] = x.dataset.open()
            try:
                checks.check_comparable(x)
                if x.oracle.asks_people:
                    raise UsageError(
                        f"oracle: {x.oracle.part_name()} would ask people for the labels of every"
                        " trial; use rayal run for one experiment, or simulated"
                    )
                checks.check(x, store.card)
                checks.check_units(x, store)
                checks.check_guards(x, store)
                if (kind := tuned_alike(x)) not in tuned:  # to look at images takes time
                    fine_tune.opened(x, store, self.plugins)
                    tuned.add(kind)
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
        if there is None and self.folder.exists("sweep.yaml"):
            raise LockedError(
                f"{self.folder.url} holds a sweep of an earlier rayal, without {IDENTITY}: its"
                f" trials cannot be continued; use another {OUT}, or that rayal"
            )
        if there is not None and self.together:
            here = joined(there, here)
        if there is not None and (changed := changes(there, here)):
            raise LockedError(
                f"{self.folder.url} holds another sweep (there -> here): {listed(changed)}; use"
                f" another {OUT}, or the values that are there; seeds, samples and space may grow"
            )
        return here

    def _compare_trial(self, trial: Trial, identity: Json) -> None:
        """The data or the weights may be others, though their names are the same."""
        there = self._place(trial).read_sealed(IDENTITY, default=None)
        here = json.loads(json.dumps(identity))
        if there is None:
            return
        for key in open_keys(self._place(trial)):
            there.pop(key, None)
            here.pop(key, None)
        if changed := differences(there, here):
            raise LockedError(
                f"{self._place(trial).url} was made otherwise (there -> here):"
                f" {listed(changed)}; use another {OUT}, or what was there"
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

    def stopped(self) -> set[str]:
        """The trials that were stopped early."""
        with suggesting("delete it: what was stopped early then goes on to its end"):
            kept = self.folder.read_sealed(STOPPED, default={"trials": []}, older=True)
            return set(kept["trials"])

    def records(self) -> list[Record]:
        """The trials that have begun; not runs of another sweep in the same place."""
        begun, known = self._begun(), self.listed
        if self.searched:
            known = trials.of_arms(self.x, self._known(), self.plugins)
        return [self._record(t) for t in sorted(known, key=lambda t: t.folder) if t.folder in begun]

    def _begun(self) -> set[str]:
        place = self.folder / TRIALS
        return {name for name in place.folders() if (place / name).exists("experiment.yaml")}

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

    def _complete(self, trial: Trial) -> bool:
        if not self._place(trial).exists("experiment.yaml"):
            return False
        record, x = self._record(trial), trial.experiment
        rules = x.stop.model_dump(mode="json")
        return record.ends(record.budget(), rules, x.fine_tune is not None)

    def _record(self, trial: Trial) -> Record:
        return Record(self._place(trial), self.plugins)

    def _place(self, trial: Trial) -> Folder:
        return self.folder / TRIALS / trial.folder


def tuned_alike(x: Experiment) -> str:
    """The same where what comes after the last cycle needs to be looked at once."""
    fields = x.model_dump(mode="json", include={"fine_tune", "dataset", "task", "budget"})
    return json.dumps([fields, x.compute.train_workers], sort_keys=True)


def labels_of(listed: Sequence[Trial]) -> dict[str, str]:
    """What arms are called, by their names: as little of their settings as tells them apart, or all
    that is varied where something else does."""
    arms = {trial.name: trial for trial in listed}
    facts = [settings(trial.experiment.model_dump(mode="json")) for trial in arms.values()]
    said = labels.described(facts, labels.telling(facts))
    if len({*said}) < len(arms) or len(arms) == 1:
        said = [trials.described(trial.arm) for trial in arms.values()]
    return dict(zip(arms, said, strict=True))
