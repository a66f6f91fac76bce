"""The active-learning cycle: train, evaluate, score, select, label, until the budget is spent."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count

import numpy as np

from rayal.cycle.candidates import candidates, known_images
from rayal.cycle.chain import Chain
from rayal.cycle.engine import Engine
from rayal.cycle.evaluate import EvaluateJob
from rayal.cycle.fit import FitJob
from rayal.cycle.keep import Keeper
from rayal.cycle.offer import Offer, of_images
from rayal.cycle.score import ScoreJob, Tolerance, bad_images, divide, pending, summary
from rayal.cycle.select import choose, forget_under_way
from rayal.cycle.train import TrainJob
from rayal.data.store import Store
from rayal.errors import OUT, DataError, UsageError, counted, quoted
from rayal.experiment.experiment import Experiment
from rayal.labeling.oracles.base import Label
from rayal.randomness import shuffled
from rayal.runs.events import Event, Observer
from rayal.runs.ledger import Ledger, PoolState, S, write_labels
from rayal.runs.results import (
    Chosen,
    Evaluated,
    File,
    Fitted,
    Initial,
    Labeled,
    Scored,
    StageResult,
    Trained,
    member_place,
    read_fit,
    read_trained,
    write_fit,
    write_trained,
)
from rayal.storage.folder import FileLocation, Folder


def run(
    x: Experiment, store: Store, ledger: Ledger, engine: Engine, observer: Observer
) -> PoolState:
    """Runs an experiment to its end, or continues it: a stage in the ledger is not run again, one
    that is missing there is, and what had followed it is then checked to follow from it still.

    Returns the pool when the budget is spent or no candidate is left. Raises LabelsPending where
    the oracle waits for people; what the stages raise ends the run, and the same call continues it.
    """
    steps = Steps(x, store, ledger, engine, observer)
    steps.begin(lambda: first_units(x, store))
    pool = _cycles(x, steps)
    steps.keeper.end()
    return pool


def _cycles(x: Experiment, steps: "Steps") -> PoolState:
    """All of them; returns the pool after the last."""
    for cycle in count():
        pool = steps.ledger.state(cycle)
        steps.learn(pool)
        if x.budget.is_spent(pool.cycle, pool.spent):
            return pool
        chosen = steps.choose(pool, x.budget.left(pool.cycle, pool.spent))
        if not chosen.ids and (chosen.sold_out or x.budget.is_last(pool.cycle)):
            return pool
        steps.buy(pool, chosen)
    raise AssertionError("a run ends with its budget")


class Steps:
    """The stages of a run, each once and in this order: begin, then learn, choose and buy of every
    cycle. Their jobs come from the ledger and go to the engine."""

    def __init__(
        self, x: Experiment, store: Store, ledger: Ledger, engine: Engine, observer: Observer
    ) -> None:
        self.x, self.store, self.ledger, self.engine = x, store, ledger, engine
        self.observer = observer
        self.chain = Chain(ledger)
        self.keeper = Keeper(x, ledger)

    def begin(self, units: Callable[[], Sequence[str]]) -> Initial:
        """Buys the first units; `units` says which, unless that is done."""
        return self.once(0, Initial, lambda out: self.label(units(), out))

    def learn(self, pool: PoolState) -> Evaluated:
        """Trains on all labels bought so far, and evaluates."""
        self.once(pool.cycle, Trained, partial(self.train, pool))
        return self.once(pool.cycle, Evaluated, partial(self.evaluate, pool))

    def choose(self, pool: PoolState, budget: float) -> Chosen:
        """Scores the candidates and selects what the budget buys of them; before that, makes what
        their strategies want beside the model."""
        if self.x.fits():
            self.once(pool.cycle, Fitted, partial(self.fit, pool))
        self.once(pool.cycle, Scored, partial(self.score, pool))
        return self.once(pool.cycle, Chosen, partial(self.select, pool, budget))

    def buy(self, pool: PoolState, chosen: Chosen) -> Labeled:
        """Asks the oracle for what was chosen."""

        def bought(out: Folder) -> Labeled:
            forget_under_way(self._folder(pool.cycle, "select"))
            return self.label(chosen.ids, out)

        return self.once(pool.cycle, Labeled, bought)

    def once(self, cycle: int, kind: type[S], work: Callable[[Folder], StageResult]) -> S:
        if self.ledger.finished(cycle, kind.stage):
            result = self.ledger.result(cycle, kind)
            self.chain.check(cycle, kind.stage)
        else:
            self.chain.check_gap(cycle, kind)
            self.observer.on(Event("begun", kind.stage, cycle))
            result = self.ledger.once(cycle, kind, work, follows=self.chain.digest)
            self.observer.on(Event("ended", kind.stage, cycle, result=result))
        self.chain.add(result)
        self.keeper.passed(cycle, kind.stage)
        return result

    def train(self, pool: PoolState, out: Folder) -> Trained:
        """Trains every member of the ensemble, less those that an earlier attempt has finished."""
        jobs = self._train_jobs(pool, out)
        if len(jobs) == 1:
            ((_, result),) = self.engine.train(jobs)
            return result
        folders = [Folder(job.out) for job in jobs]
        found = [read_trained(folder) for folder in folders]
        done = {member: trained for member, trained in enumerate(found) if trained is not None}
        rest = [job for job in jobs if job.member not in done]
        for index, trained in self.engine.train(rest):
            member = rest[index].member
            write_trained(folders[member], trained)
            done[member] = trained
        first, *others = (done[job.member] for job in jobs)
        return first.model_copy(update={"members": tuple(others)})

    def _train_jobs(self, pool: PoolState, out: Folder) -> list[TrainJob]:
        labels = of_images(pool.labels, self.store)
        continues = self.x.start == "warm" and pool.cycle > 0
        return [
            TrainJob(
                experiment=self.x,
                cycle=pool.cycle,
                store=self.store.url,
                ids=tuple(labels),
                labels=tuple(labels.values()),
                start_from=self._weights(pool.cycle - 1, member) if continues else None,
                out=_member_folder(out, member).url,
                companions_from=self._companions(pool.cycle - 1, member) if continues else {},
                member=member,
            )
            for member in range(self.x.ensemble)
        ]

    def evaluate(self, pool: PoolState, out: Folder) -> Evaluated:
        job = EvaluateJob(self.x, self.store.url, self._weights(pool.cycle))
        metrics = self.engine.evaluate(job)
        return Evaluated(metrics=metrics, labels=len(pool.labels), cost=pool.spent)

    def fit(self, pool: PoolState, out: Folder) -> Fitted:
        """Fits what strategies ask for, less what an earlier attempt has finished; nothing where no
        candidate is left."""
        known = known_images(pool)
        if not candidates(self.x, self.store, known, pool.cycle):
            return Fitted()
        folders = {spec.name: out / spec.name for spec in self.x.fits()}
        done = {name: found for name, f in folders.items() if (found := read_fit(f)) is not None}
        rest = [name for name in folders if name not in done]
        jobs = [self._fit_job(pool, known, name, folders[name].url) for name in rest]
        for index, fit in self.engine.fit(jobs):
            write_fit(folders[rest[index]], fit)
            done[rest[index]] = fit
        return Fitted(fits={name: done[name] for name in folders})

    def _fit_job(self, pool: PoolState, known: frozenset[str], name: str, out: str) -> FitJob:
        return FitJob(
            experiment=self.x,
            cycle=pool.cycle,
            store=self.store.url,
            labels=of_images(pool.labels, self.store),
            known=known,
            weights=self._weights(pool.cycle),
            companions=self._companions(pool.cycle),
            out=out,
            name=name,
        )

    def score(self, pool: PoolState, out: Folder) -> Scored:
        cycle = pool.cycle
        job = ScoreJob.of(
            self.x,
            self.store,
            cycle,
            self._weights(cycle),
            out.url,
            members=tuple(self._weights(cycle, m) for m in range(1, self.x.ensemble)),
            companions=self._beside(cycle),
            previous=self._weights(cycle - 1) if cycle > 0 else None,
            previous_scores=self._folder(cycle - 1, "score").url if cycle > 0 else None,
        )
        units = candidates(self.x, self.store, known_images(pool), cycle)
        if units and any(each.scans_labeled for each in self.x.scored().values()):
            units += of_images(pool.labels, self.store).keys() - set(units)
        tasks = divide(self.store.pool, units, self.x.compute.shard_rows)
        todo, results = pending(job, tasks)
        tolerance = Tolerance(self.x.max_bad, known=len(self.store.card.bad))
        tolerance.add(*results)
        self._count(cycle, len(results), len(tasks))
        for result in self.engine.score(job, todo):
            results.append(result)
            tolerance.add(result)
            self._count(cycle, len(results), len(tasks))
        bad = dict(bad_images(out, results))
        return Scored(**dict(summary(job, tasks, results)), bad=bad)

    def _count(self, cycle: int, done: int, total: int) -> None:
        self.observer.on(Event("further", Scored.stage, cycle, done, total, "shards"))

    def select(self, pool: PoolState, budget: float, out: Folder) -> Chosen:
        scored = self.ledger.result(pool.cycle, Scored)
        folder = self._folder(pool.cycle, "score")
        trained = {**self._beside(pool.cycle), "weights": self._weights(pool.cycle)}
        offer = Offer(self.x, self.store, {*pool.labels, *pool.refused})
        return choose(self.x, pool.cycle, budget, folder, scored, offer, trained, out, self.engine)

    def label(self, ids: Sequence[str], out: Folder) -> Labeled:
        answers = self.x.oracle.answer(self.store, ids, out)
        _check_answers(answers, ids)
        for unit, label in answers.items():
            if label.value is not None:
                self.x.task.targets({unit: label.value}, self.store.card)
        return write_labels(out, answers)

    def _weights(self, cycle: int, member: int = 0) -> FileLocation:
        """The weights that a cycle's training of this member ended with."""
        return self._trained(cycle, member, lambda trained: {"": trained.weights})[""]

    def _companions(self, cycle: int, member: int = 0) -> dict[str, FileLocation]:
        return self._trained(cycle, member, lambda trained: trained.companions)

    def _beside(self, cycle: int) -> dict[str, FileLocation]:
        """The companions that are there when candidates are scored."""
        there = self._companions(cycle)
        if self.x.fits():
            fits, out = self.ledger.result(cycle, Fitted).fits, self._folder(cycle, Fitted.stage)
            there |= {
                name: FileLocation((out / name).url, fit.companion) for name, fit in fits.items()
            }
        return there

    def _trained(
        self, cycle: int, member: int, files: Callable[[Trained], Mapping[str, File]]
    ) -> dict[str, FileLocation]:
        """Files that a cycle's training of one member wrote."""
        trained = self.ledger.result(cycle, Trained).member(member)
        out, inner = self._folder(cycle, "train").url, member_place(member)
        return {
            name: FileLocation(out, file._replace(name=f"{inner}{file.name}"))
            for name, file in files(trained).items()
        }

    def _folder(self, cycle: int, stage: str) -> Folder:
        return self.ledger.stage(cycle, stage)


def _member_folder(train: Folder, member: int) -> Folder:
    """Where a member of the ensemble trains; the first one in the stage's own folder."""
    return Folder(f"{train.url}/{member_place(member)}".rstrip("/"))


def first_units(x: Experiment, store: Store, budget: float | None = None) -> list[str]:
    """The units labeled before the first training: a random choice of the seed alone, the same
    for every strategy. Images known to be undecodable are left out. `budget` is what they may cost;
    None: budget.initial.

    Where the budget is `balanced`, classes take turns. Raises UsageError where the oracle cannot
    know them, or where the budget does not buy a single unit.
    """
    ids = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    units = shuffled(ids, x.seed, "initial")
    if x.budget.balanced:
        classes = x.oracle.known_classes(store)
        if unknown := next((unit for unit in units if unit not in classes), None):
            raise DataError(
                f"oracle {x.oracle.part_name()!r} knows no class of {unknown!r:.80}; known_classes"
                " has one for every unit of the pool"
            )
        units = _in_turns(units, classes)
    budget = x.budget.amounts.initial if budget is None else budget
    count, _ = Offer(x, store, ()).affordable(units, budget)
    if units and not count:
        raise UsageError(
            f"budget.initial: {budget} {x.budget.unit} do not buy the first image,"
            f" {quoted(units[0])}; set it higher, and use another {OUT}"
        )
    return units[:count]


def _in_turns(units: list[str], classes: Mapping[str, int]) -> list[str]:
    """The first unit of every class, then the second, and so on; each round in the given order.

    A class that has no more is passed over.
    """
    before, rounds = Counter[int](), dict[str, int]()
    for unit in units:
        rounds[unit] = before[classes[unit]]
        before[classes[unit]] += 1
    return sorted(units, key=rounds.__getitem__)


def _check_answers(answers: Mapping[str, Label], ids: Sequence[str]) -> None:
    """An answer that was not asked for would cost and never train; a missing one, never end."""
    if not isinstance(answers, Mapping):
        raise DataError(
            f"the oracle answered with {type(answers).__name__}; answer() returns a dictionary, id"
            " -> Label(value, cost)"
        )
    if wrong := sorted(answers.keys() ^ set(ids), key=str):
        raise DataError(
            f"the oracle answered for {counted(len(answers), 'unit')}, {len(ids)} were asked; "
            f"{quoted(wrong[0])} is among {len(wrong)} that are missing or too many"
        )
    for unit, label in answers.items():
        if not isinstance(label, Label):
            raise DataError(
                f"the oracle answered {quoted(unit)} with {quoted(label)}; an answer is a"
                " Label(value, cost)"
            )
        cost = label.cost
        number = isinstance(cost, int | float | np.number) and not isinstance(cost, bool)
        if not (number and 0 <= cost < math.inf):
            raise DataError(
                f"the oracle asks {quoted(cost)} for {quoted(unit)}; a cost is a finite number, at"
                " least 0"
            )
