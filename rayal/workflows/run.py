"""A run from beginning to end: checks, folder, lock, engine, observers, loop."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib import import_module
from threading import Thread

from rayal.cycle.engine import Engine
from rayal.cycle.keep import Keeper, check_goes_on
from rayal.cycle.loop import run
from rayal.data.store import Store
from rayal.errors import LockedError
from rayal.experiment import config
from rayal.experiment.experiment import Compute, Experiment, content
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.views import Views
from rayal.runs.events import Observer, Observers
from rayal.runs.ledger import Ledger, PoolState
from rayal.runs.record import Record
from rayal.runs.trackers.base import Background
from rayal.storage import yaml_file
from rayal.storage.folder import Folder, Json
from rayal.workflows import attempts, checks
from rayal.workflows.tracking import show_beside

EXPERIMENT = "experiment.yaml"

logger = logging.getLogger(__name__)


def default_folder(x: Experiment) -> str:
    """Where a run goes unless told otherwise: `runs/<name>/<strategy>-<scheme>-seed<seed>`."""
    return f"runs/{x.name}/{x.strategy.part_name()}-{x.scheme.part_name()}-seed{x.seed}"


@contextmanager
def start_run(
    x: Experiment,
    out: str | None = None,
    *,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
    asked: bool = False,
    accepted: Callable[[], object] | None = None,
) -> Iterator["Session"]:
    """The experiment's run in folder `out`, new or continued, locked while the block lasts.

    Everything that can be refused is refused here, before an engine starts. `asked` says that
    somebody asks for units, as with `ActiveLearner`; `accepted` is called when only another writer
    can stand in the way.
    """
    store = x.dataset.open()
    local = x.compute.engine == "local"  # a cluster is asked what it has, once it is there
    checks.check(x, store.card, checks.Resources.here() if local else None, asked=asked)
    checks.check_strategies(x, store)
    if x.tracking.is_required():  # else beside the run, which does not wait for it
        x.tracking.prepare()
    folder = Folder(default_folder(x) if out is None else out)
    grows = {"budget.total": x.budget.check_growth}
    identity = identity_of(x, store)
    ledger = Ledger(folder, identity, break_lock=break_lock, newer=["store"], grows=grows)
    if accepted is not None:
        ledger.check()
        accepted()
    with ledger:
        session = Session(x, store, Record(folder, plugins), ledger)
        if not ledger.grown or not folder.exists(EXPERIMENT):
            session.write_experiment()
        yield session


def identity_of(x: Experiment, store: Store, digest: Callable[[str], str] = content) -> Json:
    """What a run of this experiment on this data must have in common with what is there."""
    return {**x.identity(digest), "data": store.card.fingerprint, "store": store.card.decides()}


class Session:
    """A run that this process may write."""

    def __init__(self, x: Experiment, store: Store, record: Record, ledger: Ledger) -> None:
        self.x, self.store, self.record, self.ledger = x, store, record, ledger

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do by the budget that is asked for."""
        return self.record.spends(self.x.budget)

    def write_experiment(self) -> None:
        """What is asked for, as all readers of the run see it."""
        text = yaml_file.sealed(config.dump(self.x))
        self.ledger.folder.write(EXPERIMENT, text.encode())

    def run(
        self,
        start: Callable[[], AbstractContextManager[Engine]],
        observers: Sequence[Observer] = (),
    ) -> PoolState:
        """Runs to the end on the engine that `start` starts; a complete run opens nothing, and
        warns where sources of plugins are others than those it was made with.

        The tracker is given what it lacks in both cases.
        """
        with Background(self.x.tracking, self.record) as background:
            views = Views(self.record)
            if self.complete:
                attempts.tell_changes(self.x, self.ledger.folder, self.record.plugins)
                views.finish()
                Keeper(self.x, self.ledger).all_again(self.record)
                return self.ledger.state()
            check_goes_on(self.x, self.record)
            for warning in checks.warnings(self.x, self.store.card):
                logger.warning("%s", warning)
            told = Observers([*observers, views, background])
            with start() as engine:
                attempts.begin(self.x, self.ledger, engine, self.record.plugins)
                self.write_experiment()  # a larger budget now that the run surely goes on
                try:
                    pool = run(self.x, self.store, self.ledger, engine, told)
                finally:
                    if not isinstance(sys.exception(), LockedError):  # another process writes
                        views.finish()
        if background.reaches:
            show_beside(self.x.tracking, self.record)
        return pool


@contextmanager
def start_engine(compute: Compute, address: str | None = None) -> Iterator[Engine]:
    """The engine that `compute` names; a Ray cluster that it has to start is stopped again."""
    if compute.engine == "local":
        from rayal.engine.local import LocalEngine

        yield LocalEngine(compute)
        return
    with start_cluster(address) as cores:
        from rayal.engine.cluster import RayEngine

        with closing(RayEngine(compute, cores)) as engine:
            yield engine


@contextmanager
def start_cluster(address: str | None = None) -> Iterator[int]:
    """The cores of the Ray cluster at an address; one that has to be started is stopped again."""
    from rayal.engine import start

    # What works on the cluster takes a second to import: while its processes start.
    Thread(target=import_module, args=("rayal.engine.cluster",), daemon=True).start()
    cores = start.connect(address)
    try:
        yield cores
    finally:
        start.disconnect()
