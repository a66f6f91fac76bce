"""A run as it was when one of its cycles was about to choose, and what of that is left today for
another strategy to choose by."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rayal.cycle.keep import FITTED, SHARDS, WEIGHTS, Kind, inputs
from rayal.cycle.kept import asks_nothing, lacks
from rayal.data.store import Store
from rayal.errors import OUT, PrunedError, UsageError
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

    def asks(self, y: Experiment, forward: bool) -> bool:
        """Whether models of the run have to be asked again for the strategy of `y`. Raises
        UsageError where they may not be, without `forward`, and PrunedError where they are gone."""
        lacking = self.lacks(y)
        if not lacking:
            return False
        name, cycle = y.strategy.part_name(), self.pool.cycle
        what = f"{name}: the run has not kept {', nor '.join(lacking)}"
        if absent := self.cannot_ask(y):
            raise PrunedError(
                f"{what}, and to ask the model of cycle {cycle} again takes {' and '.join(absent)};"
                f" run the experiment anew with keep.weights=all and another {OUT}, or with {name}"
                " among its observers and keep.shards=all"
            )
        if not forward:
            raise UsageError(
                f"{what}; add --forward (in Python: forward=True), which asks the model of cycle"
                f" {cycle} again"
            )
        return True

    def lacks(self, y: Experiment) -> list[str]:
        """What the run has not kept without which the strategy of `y` cannot select, unless models
        are asked again; in words."""
        cycle, strategy = self.pool.cycle, y.strategy
        pruned = (SHARDS, cycle) in self.gone and not _lists(y)
        lacking = [] if _lists(y) else lacks(self.x, y)
        if pruned and not lacking:
            lacking.append(_pruned(SHARDS, cycle))
        if type(strategy).selector is not Strategy.selector:
            files = [(WEIGHTS, cycle), *([(FITTED, cycle)] if y.fits() else [])]
            lacking += [_pruned(*each) for each in files if each in self.gone]
        return lacking

    def cannot_ask(self, y: Experiment) -> list[str]:
        """What was pruned of what models of the run would be asked with; in words."""
        cycle, refits = self.pool.cycle, self.refits(y)
        stages = ("fit", "score", "select") if refits else ("score", "select")
        read = dict.fromkeys(each for stage in stages for each in inputs(y, cycle, stage))
        made = {(FITTED, cycle)} if refits else set()
        files = [e for e in read if e[0] is not SHARDS and e in self.gone and e not in made]
        return [_pruned(*each) for each in files]

    def refits(self, y: Experiment) -> bool:
        """Whether what is made after a training has to be made again."""
        there = () if (FITTED, self.pool.cycle) in self.gone else self.x.fits()
        return any(fit not in there for fit in y.fits())


def _lists(y: Experiment) -> bool:
    """Whether the strategy of `y` needs nothing of a pass but which images were bad."""
    keeps = y.strategy.kept_names() or y.keeps_features() or y.keeps_predicted()
    return asks_nothing(y.strategy) and not keeps and not y.scans_labeled()


def _pruned(kind: Kind, cycle: int) -> str:
    what = "the scores" if kind is SHARDS else "the weights"
    return f"{what} of cycle {cycle}, which were pruned (keep.{kind.name})"
