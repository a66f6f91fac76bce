"""What another strategy would have chosen in a cycle of a run: the same stages, done again with the
same seeds in another folder, from all that was there when that cycle chose.

The run folder is only read. By what the cycle's own pass has kept, where that suffices; else the
models of the cycle are asked again, in one pass for all strategies that can share it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from rayal.cycle.candidates import candidates, known_images
from rayal.cycle.engine import Engine
from rayal.cycle.keep import SHARDS
from rayal.cycle.kept import KeptPass, listed, narrowed
from rayal.cycle.score import ScoreJob
from rayal.cycle.state import State
from rayal.cycle.steps import Steps
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.runs.events import Observer
from rayal.runs.ledger import Ledger
from rayal.runs.result import StageResult
from rayal.runs.results import Chosen, Fitted, Scored, Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import DONE, FileLocation
from rayal.strategies.base import Strategy

Place = tuple[int, str]
"""Cycle and stage."""


class Branch(Ledger):
    """A run that is only read, of which some stages are in other folders."""

    def __init__(self, run: Folder, places: Mapping[Place, Folder]) -> None:
        super().__init__(run, {})  # never entered: it has no lock, and writes nothing there
        self.places = places

    def stage(self, cycle: int, stage: str) -> Folder:
        return self.places.get((cycle, stage)) or super().stage(cycle, stage)


@dataclass(frozen=True)
class Replayed:
    """What a strategy would have bought."""

    strategy: Strategy
    chosen: Chosen
    asked: bool
    """Whether models were asked again."""
    folder: Folder
    """Of the pass that it alone would have made."""
    scored: Scored
    """That pass."""


class Replays:
    """Lets strategies choose from one state of a run."""

    def __init__(self, state: State, out: Folder, engine: Engine, observer: Observer) -> None:
        """`out`: where all that is made lies."""
        self.state, self.out, self.engine, self.observer = state, out, engine, observer

    def from_kept(self, y: Experiment, name: str) -> Replayed:
        """What the strategy of `y` chooses by what the run kept, of which it lacks nothing; files
        go into the folder `name`."""
        state, out = self.state, self.out / name / "score"
        x, pool, cycle = state.x, state.pool, state.pool.cycle
        made = self._own.result(cycle, Scored)
        if (SHARDS, cycle) in state.gone:
            units = candidates(y, state.store, known_images(pool), cycle)
            scored = listed(units, made.bad, y, cycle, out)
        else:
            kept = KeptPass(x, self._own.stage(cycle, Scored.stage), made)
            scored = narrowed(kept, y, cycle, known_images(pool), out)
        return self._select(y, name, out, scored, {}, asked=False)

    def by_asking(self, wanted: Mapping[str, Experiment]) -> Iterator[tuple[str, Replayed]]:
        """By name what the strategies of these choose after models of the run were asked again: in
        one pass for as many as can share one."""
        for number, names in enumerate(self._together(wanted)):
            together = self.state.with_strategies([wanted[name].strategy for name in names])
            yield from self._asked(together, {n: wanted[n] for n in names}, f"pass-{number}")

    def _together(self, wanted: Mapping[str, Experiment]) -> list[list[str]]:
        """In groups of which each is an experiment: two may mean different things by one name."""
        groups = list[list[str]]()
        for name, y in wanted.items():
            for group in groups:
                try:
                    self.state.with_strategies([*(wanted[n].strategy for n in group), y.strategy])
                except UsageError:
                    continue
                group.append(name)
                break
            else:
                groups.append([name])
        return groups

    def _asked(
        self, x: Experiment, wanted: Mapping[str, Experiment], name: str
    ) -> Iterator[tuple[str, Replayed]]:
        state, cycle, out = self.state, self.state.pool.cycle, self.out / name
        places = {(cycle, Scored.stage): out / "score"}
        if state.refits(x):
            places[cycle, Fitted.stage] = out / "fit"
        if self._predicts_before(x):
            places[cycle - 1, Scored.stage] = out / "before"
        steps = self._steps(x, places)
        if state.refits(x):
            _record(out / "fit", steps.fit(state.pool, out / "fit"))
        if self._predicts_before(x):
            self._predict_before(steps, out / "before")
        scored = steps.score(state.pool, out / "score")
        kept = KeptPass(x, out / "score", scored)
        rest = {place: folder for place, folder in places.items() if place[1] == Fitted.stage}
        for each, y in wanted.items():
            alone = self.out / each / "score"
            own = narrowed(kept, y, cycle, known_images(state.pool), alone)
            yield each, self._select(y, each, alone, own, rest, asked=True)

    def _predicts_before(self, x: Experiment) -> bool:
        """Whether the pass before would have kept what its model said, and has not."""
        cycle, state = self.state.pool.cycle, self.state
        wants = cycle > 0 and x.keeps_probs(cycle - 1)
        return wants and (not state.x.keeps_probs(cycle - 1) or (SHARDS, cycle - 1) in state.gone)

    def _predict_before(self, steps: Steps, out: Folder) -> None:
        """Asks the model of the cycle before, as its own pass would have been kept."""
        state, before = self.state, self.state.pool.cycle - 1
        file = self._own.result(before, Trained).weights
        weights = FileLocation(self._own.stage(before, Trained.stage).url, file)
        job = ScoreJob.of(steps.x, state.store, before, weights, out.url)
        job = replace(
            job, strategies={}, keeps_probs=True, keeps_predicted=False, keeps_features=False
        )
        for _ in self.engine.score(job, steps.tasks(state.pool)):
            pass

    def _select(
        self,
        y: Experiment,
        name: str,
        folder: Folder,
        scored: Scored,
        places: Mapping[Place, Folder],
        *,
        asked: bool,
    ) -> Replayed:
        state, cycle = self.state, self.state.pool.cycle
        _record(folder, scored)
        steps = self._steps(y, {**places, (cycle, Scored.stage): folder})
        chosen = steps.select(state.pool, state.budget, self.out / name / "select")
        return Replayed(y.strategy, chosen, asked, folder, scored)

    def _steps(self, x: Experiment, places: Mapping[Place, Folder]) -> Steps:
        branch = Branch(self.state.run, places)
        return Steps(x, self.state.store, branch, self.engine, self.observer)

    @cached_property
    def _own(self) -> Branch:
        return Branch(self.state.run, {})


def _record(out: Folder, result: StageResult) -> None:
    """As a stage of a run is recorded, for whoever reads it."""
    out.write_sealed(DONE, {"result": result.to_json()})
