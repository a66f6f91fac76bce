"""A run as it was when one of its cycles was about to choose, and what of that is left today for
another strategy to choose by."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rayal.cycle.keep import FITTED, SHARDS, WEIGHTS, Kind, inputs
from rayal.cycle.kept import asks_nothing, lacks
from rayal.data.store import Store
from rayal.errors import OUT, PrunedError, RayalError, UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import PoolState
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy


@dataclass(frozen=True)
class State:
    """A run when one of its cycles was about to choose."""

    x: Experiment
    store: Store
    run: Folder
    pool: PoolState
    budget: float
    """What that cycle could spend."""
    gone: Collection[tuple[Kind, int]] = ()
    """What was pruned from the run since."""

    def with_strategies(self, strategies: Sequence[Strategy]) -> Experiment:
        """The run's experiment with another strategy, and others that only observe. Raises
        UsageError where it cannot have these."""
        first, *others = strategies
        fields = {**dict(self.x), "strategy": first, "observers": tuple(others)}
        return config.from_record(Experiment, fields, "this run")

    def with_strategy(self, strategy: Strategy) -> Experiment:
        """As `with_strategies`, of one. Raises UsageError also for one that wants what is trained
        beside a model, which was not."""
        y = self.with_strategies([strategy])
        there = self.x.companions()
        if absent := [spec.name for spec in strategy.companions() if spec not in there]:
            name = strategy.part_name()
            raise UsageError(
                f"{name}: it reads a {absent[0]} that is trained beside the model, and this run has"
                f" trained none such; run the experiment anew with {name} as strategy, or among its"
                " observers"
            )
        return y

    def lacks(self, y: Experiment) -> list[str]:
        """What the run has not kept without which the strategy of `y` cannot select, unless models
        are asked again; in words."""
        cycle, strategy = self.pool.cycle, y.strategy
        pruned = (SHARDS, cycle) in self.gone
        lacking = [] if pruned and self._lists(y) else lacks(self.x, y)
        if pruned and not self._lists(y) and not lacking:
            lacking.append(f"{self._pruned(SHARDS, cycle)}")
        if type(strategy).selector is not Strategy.selector:
            files = [(WEIGHTS, cycle), *([(FITTED, cycle)] if y.fits() else [])]
            lacking += [self._pruned(*each) for each in files if each in self.gone]
        return lacking

    def cannot_ask(self, y: Experiment) -> list[str]:
        """What is not there that models of the run would have to be asked with; in words."""
        cycle = self.pool.cycle
        stages = ("fit", "score", "select") if self.refits(y) else ("score", "select")
        read = {each for stage in stages for each in inputs(y, cycle, stage)}
        read = {each for each in read if each[0] is WEIGHTS or each[0] is FITTED}
        if self.refits(y):
            read -= {(FITTED, cycle)}
        return [self._pruned(*each) for each in sorted(read, key=str) if each in self.gone]

    def _lists(self, y: Experiment) -> bool:
        """Whether nothing of the pass is read but which images were bad."""
        keeps = y.strategy.kept_names() or y.keeps_features() or y.keeps_predicted()
        return asks_nothing(y.strategy) and not keeps and not y.scans_labeled()

    def refits(self, y: Experiment) -> bool:
        """Whether what is made after a training has to be made again."""
        there = self.x.fits()
        return any(fit not in there for fit in y.fits()) or (
            bool(y.fits()) and (FITTED, self.pool.cycle) in self.gone
        )

    def _pruned(self, kind: Kind, cycle: int) -> str:
        what = "the scores" if kind is SHARDS else "the weights"
        return f"{what} of cycle {cycle}, which were pruned (keep.{kind.name})"


def refusal(
    state: State, y: Experiment, lacking: Sequence[str], forward: bool
) -> RayalError | None:
    """Why the strategy of `y`, of which this is `lacking`, cannot be replayed; None where models
    may be asked, and can be."""
    name, cycle = y.strategy.part_name(), state.pool.cycle
    what = f"{name}: the run has not kept {', nor '.join(lacking)}"
    if pruned := state.cannot_ask(y):
        return PrunedError(
            f"{what}, and to ask the model of cycle {cycle} again lacks {' and '.join(pruned)}; run"
            f" the experiment anew with keep.weights=all and another {OUT}, or with {name} among"
            " its observers and keep.shards=all"
        )
    if forward:
        return None
    return UsageError(
        f"{what}; add --forward (in Python: forward=True), which asks the model of cycle {cycle}"
        " again"
    )
