"""What `rayal replay` does: opens a run that is only read, says which strategies can be replayed
and how, and lets them choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rayal.cycle.keep import gone
from rayal.cycle.replay import Replayed, Replays
from rayal.cycle.state import State
from rayal.errors import Apart, RayalError, UsageError, quoted
from rayal.experiment import config
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.report.images import store_of
from rayal.runs.events import Observer
from rayal.runs.ledger import Ledger, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from rayal.storage.journal import read_done
from rayal.strategies.base import Strategy, columns
from rayal.workflows.attempts import attempts, tell_elsewhere
from rayal.workflows.run import start_engine
from rayal.workflows.untrainable import untrainable


@dataclass(frozen=True)
class Outcome:
    """What a cycle has chosen, and what others would have."""

    state: State
    own: Chosen
    others: Mapping[str, Replayed]
    """By name, in the order in which they were asked for."""
    errors: Sequence[RayalError]
    """Of those that could not be replayed."""


def replay(
    record: Record,
    cycle: int | None,
    strategies: Sequence[Strategy],
    out: Folder,
    observer: Observer,
    *,
    forward: bool = False,
    address: str | None = None,
) -> Outcome:
    """What these strategies would have chosen in a cycle of a run, the last that chose by default;
    `out` is for the files of their passes. With `forward` models may be asked again.

    Raises UsageError where that cycle has chosen nothing, DataError where the dataset is not the
    run's; and what stood in the way where no strategy could be replayed.
    """
    record.check()
    at = _cycle(record, cycle)
    own = record.result(at, Chosen)
    assert own is not None
    state, apart = _state(record, at), Apart()
    names = [*columns((state.x.strategy, *strategies))][1:]
    kept, asking = dict[str, Experiment](), dict[str, Experiment]()
    for name, strategy in zip(names, strategies, strict=True):
        with apart.kept():
            y = _checked(state, strategy)
            (asking if state.asks(y, forward) else kept)[name] = y
    found = dict[str, Replayed]()
    compute = state.x.compute if asking else Compute(engine="local", device="cpu")
    with start_engine(compute, address) as engine:
        replays = Replays(state, out, engine, observer)
        for name, y in kept.items():
            with apart.kept():
                found[name] = replays.from_kept(y, name)
        if asking:
            tell_elsewhere(record.folder, engine)
            found |= replays.by_asking(asking)
    if not found:
        apart.end()
    return Outcome(state, own, {name: found[name] for name in names if name in found}, apart.errors)


def _cycle(record: Record, cycle: int | None) -> int:
    results = ((each, record.result(each, Chosen)) for each in range(record.begun()))
    chose = [each for each, chosen in results if chosen is not None and chosen.ids]
    if not chose:
        raise UsageError(
            f"{record.folder.url}: no cycle has chosen anything yet; wait until one has"
        )
    if cycle is None:
        return chose[-1]
    if cycle not in chose:
        raise UsageError(
            f"{record.folder.url}: cycle {quoted(cycle)} has chosen nothing; give one of cycles"
            f" {chose[0]} to {chose[-1]}"
        )
    return cycle


def _state(record: Record, cycle: int) -> State:
    x = config.resolved(record.experiment(), record.plugins)
    pool = Ledger(record.folder, {}).state(cycle)
    budget = _budget(record, x.budget, cycle).left(cycle, pool.spent)
    return State(x, store_of(record, x), record.folder, pool, budget, gone(record))


def _budget(record: Record, budget: Budget, cycle: int) -> Budget:
    """What the run could spend when this cycle chose: its total may have grown since."""
    done = read_done(stage_folder(record.folder, cycle, Chosen.stage))
    for attempt in attempts(record.folder):
        if attempt.get("attempt") == done.get("attempt") and attempt.get("total") is not None:
            return budget.model_copy(update={"total": attempt["total"]})
    return budget


def _checked(state: State, strategy: Strategy) -> Experiment:
    """The run's experiment with this strategy. Raises UsageError where it cannot be that of a run
    with this model and these images."""
    y = state.with_strategy(strategy)
    if problems := [*untrainable(y, state.store.card)]:
        raise UsageError.of(problems, where=f"strategy {strategy.part_name()!r}")
    bad = state.store.card.bad
    strategy.check([unit for unit in state.store.pool.ids() if unit not in bad])
    return y
