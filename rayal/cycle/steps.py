"""The stages of a run, each once: what is trained, evaluated, fitted, scored, selected and bought.
Their jobs come from the ledger and go to the engine."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from rayal.cycle.answers import check_answers, class_counts
from rayal.cycle.candidates import candidates, known_images
from rayal.cycle.chain import Chain
from rayal.cycle.engine import Engine
from rayal.cycle.explore import draw, with_draw
from rayal.cycle.fine_tune import FineTuning
from rayal.cycle.first_choice import choose_first
from rayal.cycle.first_labels import first_labels
from rayal.cycle.fit import FitJob
from rayal.cycle.keep import Keeper
from rayal.cycle.made import Made
from rayal.cycle.measuring import Measuring
from rayal.cycle.offer import Offer, of_images
from rayal.cycle.pool_selection import forget_under_way
from rayal.cycle.score import ScoreJob, ShardTask, divide, pass_rows
from rayal.cycle.scoring_pass import scored
from rayal.cycle.select import choose
from rayal.cycle.suggest import suggest
from rayal.cycle.train import TrainJob
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.labeling.votes import NO_VOTES, Vote
from rayal.runs.events import Event, Observer
from rayal.runs.ledger import STOP, Ledger, PoolState, S, write_labels
from rayal.runs.measured import measured
from rayal.runs.result import StageResult
from rayal.runs.result_files import read_fit, read_trained, write_fit, write_trained
from rayal.runs.results import (
    Chosen,
    Evaluated,
    FineTuned,
    FirstChosen,
    Fitted,
    Initial,
    Labeled,
    Scored,
    Trained,
    member_place,
)
from rayal.storage.folder import Folder


class Steps:
    """The stages of a run, each once and in this order: begin, then learn, choose and buy of every
    cycle. Their jobs come from the ledger and go to the engine."""

    def __init__(
        self, x: Experiment, store: Store, ledger: Ledger, engine: Engine, observer: Observer
    ) -> None:
        self.x, self.store, self.ledger, self.engine = x, store, ledger, engine
        self.observer = observer
        self.made, self.chain = Made(x, ledger), Chain(ledger)
        self.keeper = Keeper(x, ledger)

    def begin(self, units: Callable[[], Sequence[str]]) -> Initial:
        """Buys the first units; `units` says which, unless that is done, a strategy chooses them,
        or their labels exist."""
        chosen = self.once(0, FirstChosen, self.first) if self.x.chooses_first else None

        def first(out: Folder) -> Labeled:
            if self.x.labeled and not self.x.oracle.asked:
                answers = first_labels(self.x, self.store)
                counts = class_counts(answers, self.x.task, self.store.card)
                bought = write_labels(out, answers, counts=counts)
            else:
                if chosen is not None:
                    forget_under_way(self.ledger.stage(0, FirstChosen.stage))
                bought = self.label(units() if chosen is None else chosen.ids, out)
            known = self.store.card.class_counts if self.x.oracle.simulated else {}
            return Initial(**dict(bought), pool_counts=known.get("pool", ()))

        return self.once(0, Initial, first)

    def learn(self, pool: PoolState) -> Evaluated:
        """Trains on all labels bought so far, and evaluates."""
        self.once(pool.cycle, Trained, partial(self.train, pool))
        return self.once(pool.cycle, Evaluated, partial(self.evaluate, pool))

    def stops(self, pool: PoolState) -> bool:
        """Whether one of the experiment's rules ends the run after this cycle; never before one
        whose purchase is chosen already."""
        if self.ledger.finished(pool.cycle, Chosen.stage):
            return False
        rules = self.x.stop.model_dump(mode="json")
        if self.ledger.stopped(pool.cycle, rules):
            return True
        reason = self._reason(pool)
        if reason is None:
            self.ledger.go_on()
            return False
        self.ledger.stop(pool.cycle, reason, rules)
        self.observer.on(Event("ended", STOP, pool.cycle, note=reason))
        return True

    def _reason(self, pool: PoolState) -> str | None:
        """Why the run ends after this cycle; None: it goes on."""
        if not self.x.stop.rules:
            return None
        x, cycles = self.x, range(pool.cycle + 1)
        evaluated = [self.ledger.result(cycle, Evaluated) for cycle in cycles]
        points = measured(evaluated, x.headline, x.dataset.tested, x.budget.unit)
        left = x.budget.left(pool.cycle, pool.spent)
        found = x.stop.reason(points, left, x.budget.unit)
        return None if found is None else f"stop.{found.rule}: {x.headline} {found.message}"

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
            selected = self.ledger.stage(pool.cycle, Chosen.stage)
            forget_under_way(selected)
            if self.x.oracle.asks_people:
                suggest(self.x, self.store, self.made.weights(pool.cycle), selected, chosen, out)
            votes = self.votes(pool)
            earlier = {unit: votes[unit] for unit in chosen.ids if unit in votes}
            return self.label(chosen.ids, out, earlier, {*pool.labels, *pool.refused})

        return self.once(pool.cycle, Labeled, bought)

    def fine_tune(self, pool: PoolState, tuning: FineTuning) -> FineTuned:
        """Trains a whole network on all labels bought, once the last cycle is done."""
        return self.once(pool.cycle, FineTuned, partial(tuning.run, pool, self.engine))

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
        # of an image whose regions were bought one by one no cycle is known, and none is asked for
        bought = tuple(pool.bought.get(unit, 0) for unit in labels)
        continues = self.x.start == "warm" and pool.cycle > 0
        return [
            TrainJob(
                experiment=self.x,
                cycle=pool.cycle,
                store=self.store.url,
                ids=tuple(labels),
                labels=tuple(labels.values()),
                start_from=self.made.weights(pool.cycle - 1, member) if continues else None,
                out=_member_folder(out, member).url,
                companions_from=self.made.companions(pool.cycle - 1, member) if continues else {},
                member=member,
                bought=bought,
            )
            for member in range(self.x.ensemble)
        ]

    def evaluate(self, pool: PoolState, out: Folder) -> Evaluated:
        """Says how good the model is."""
        return Measuring(self.x, self.store, self.ledger, self.engine).evaluate(pool, out)

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
            weights=self.made.weights(pool.cycle),
            companions=self.made.companions(pool.cycle),
            out=out,
            name=name,
        )

    def score(self, pool: PoolState, out: Folder) -> Scored:
        cycle = pool.cycle
        job = ScoreJob.of(
            self.x,
            self.store,
            cycle,
            self.made.weights(cycle),
            out.url,
            members=tuple(self.made.weights(cycle, m) for m in range(1, self.x.ensemble)),
            companions=self.made.beside(cycle),
            previous=self.made.weights(cycle - 1) if cycle > 0 else None,
            previous_scores=self.ledger.stage(cycle - 1, "score").url if cycle > 0 else None,
        )
        count, bad = partial(self._count, Scored.stage, cycle), len(self.store.card.bad)
        return scored(job, self.tasks(pool), self.engine, self.x.max_bad, bad, count)

    def tasks(self, pool: PoolState) -> list[ShardTask]:
        """What the pass of this cycle looks at: candidates and, where a strategy reads what is kept
        of those, labeled images."""
        units = candidates(self.x, self.store, known_images(pool), pool.cycle)
        if (units or self.votes(pool)) and self.x.scans_labeled():
            units += of_images(pool.labels, self.store).keys() - set(units)
        return divide(self.store.pool, units, pass_rows(self.x.compute, self.store.card))

    def first(self, out: Folder) -> FirstChosen:
        """Looks at the candidates before any training, and selects the first units."""
        count = partial(self._count, FirstChosen.stage, 0)
        return choose_first(self.x, self.store, self.engine, count, out)

    def _count(self, stage: str, cycle: int, done: int, total: int) -> None:
        self.observer.on(Event("further", stage, cycle, done, total, "shards"))

    def select(self, pool: PoolState, budget: float, out: Folder) -> Chosen:
        result = self.ledger.result(pool.cycle, Scored)
        folder = self.ledger.stage(pool.cycle, "score")
        trained = {**self.made.beside(pool.cycle), "weights": self.made.weights(pool.cycle)}
        x, cycle, bought = self.x, pool.cycle, {*pool.labels, *pool.refused}
        drawn = draw(x, cycle, budget, folder, result, bought)
        bought |= {*drawn.ids}  # to the strategy they are as good as labeled
        offer = Offer(x, self.store, bought, pool.mean_cost, self.votes(pool))
        left = budget - len(drawn.ids)
        chosen = choose(x, cycle, left, folder, result, offer, trained, out, self.engine)
        return with_draw(x, cycle, chosen, drawn, out)

    def votes(self, pool: PoolState) -> Mapping[str, Sequence[Vote]]:
        """What was said so far of each labeled unit, where a strategy may ask for them again."""
        relabels = any(strategy.relabels for strategy in self.x.scored().values())
        if not (relabels and self.x.oracle.answers_again()):
            return NO_VOTES
        votes = self.ledger.votes(pool.cycle)
        return {unit: votes[unit] for unit in pool.labels}

    def label(
        self,
        ids: Sequence[str],
        out: Folder,
        earlier: Mapping[str, Sequence[Vote]] = NO_VOTES,
        bought: Collection[str] = (),
    ) -> Labeled:
        """Buys these units; `earlier` has the votes of those that are labeled already, among all
        that are `bought`."""
        oracle = self.x.oracle
        if earlier:
            answers = oracle.answer_again(self.store, ids, earlier, out)
        else:
            answers = oracle.answer(self.store, ids, out)
        check_answers(answers, None if oracle.asks_people else ids, {*bought} - earlier.keys())
        counts = class_counts(answers, self.x.task, self.store.card)
        return write_labels(out, answers, oracle.evidence(out), earlier, counts)


def _member_folder(train: Folder, member: int) -> Folder:
    """Where a member of the ensemble trains; the first one in the stage's own folder."""
    return Folder(f"{train.url}/{member_place(member)}".rstrip("/"))
