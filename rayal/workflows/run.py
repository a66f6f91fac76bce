"""A run from beginning to end: checks, folder, lock, engine, observers, loop."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib import import_module
from threading import Thread

from rayal.cycle.engine import Engine
from rayal.cycle.fine_tune import FineTuning
from rayal.cycle.keep import Keeper, check_goes_on
from rayal.cycle.loop import run
from rayal.data.store import Store
from rayal.errors import LabelsPending, LockedError, StorageError, UsageError
from rayal.experiment import config
from rayal.experiment.compute import Compute
from rayal.experiment.content import content
from rayal.experiment.experiment import Experiment
from rayal.experiment.identity import ADDED
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.views import Views
from rayal.runs.events import Observer, Observers
from rayal.runs.ledger import FINAL, Ledger, PoolState, cycle_numbers, stage_folder
from rayal.runs.record import Record
from rayal.runs.trackers.base import Background
from rayal.storage import yaml_file
from rayal.storage.folder import Folder, Json
from rayal.workflows import attempts, checks, fine_tune
from rayal.workflows.resources import Resources
from rayal.workflows.warnings import warnings

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
    if asked and x.fine_tune is not None:
        raise UsageError(
            "fine_tune: an ActiveLearner may be asked for more at any time, so that nothing comes"
            " after its end; leave it out"
        )
    folder = Folder(default_folder(x) if out is None else out)
    local = x.compute.engine == "local"  # a cluster is asked what it has, once it is there
    checks.check(x, store.card, Resources.here() if local else None, asked=asked)
    checks.check_units(x, store)
    checks.check_guards(x, store)
    whole = _is_whole(x, folder, plugins)
    tuning = None if whole else fine_tune.opened(x, store, plugins)
    if x.tracking.is_required():  # else beside the run, which does not wait for it
        x.tracking.prepare()
    ledger = Ledger(
        folder,
        identity_of(x, store),
        break_lock=break_lock,
        newer=["store"],
        grows={"budget.total": x.budget.check_growth},
        open_keys=open_keys(folder),
    )
    if accepted is not None:
        ledger.check()
        accepted()
    with ledger:
        session = Session(x, store, Record(folder, plugins), ledger, tuning)
        if not ledger.grown or not folder.exists(EXPERIMENT):
            session.write_experiment()
        yield session


def identity_of(x: Experiment, store: Store, digest: Callable[[str], str] = content) -> Json:
    """What a run of this experiment on this data must have in common with what is there."""
    found = {**x.identity(digest), "data": store.card.fingerprint, "store": store.card.decides()}
    if x.fine_tune is not None and x.fine_tune.dataset is not None:  # else it is that of the run
        found[ADDED]["data"] = x.fine_tune.dataset.fingerprint()
    return found


def open_keys(run: Folder) -> tuple[str, ...]:
    """What of the identity of the run in this folder may still be another: how it fine-tunes, as
    long as that has not begun."""
    places = (stage_folder(run, cycle, FINAL) for cycle in cycle_numbers(run))
    return () if any(place.exists("started.json") for place in places) else (ADDED,)


def _is_whole(x: Experiment, folder: Folder, plugins: Plugins) -> bool:
    """Whether all is done that is asked, so that images of a network may be gone."""
    if x.fine_tune is None or not folder.exists("run.json"):
        return False
    try:
        rules = x.stop.model_dump(mode="json")
        return Record(folder, plugins).ends(x.budget, rules, fine_tunes=True)
    except StorageError:  # of what is damaged more is said later
        return False


class Session:
    """A run that this process may write."""

    def __init__(
        self,
        x: Experiment,
        store: Store,
        record: Record,
        ledger: Ledger,
        tuning: FineTuning | None = None,
    ) -> None:
        """`tuning`: what comes after the last cycle."""
        self.x, self.store, self.record, self.ledger = x, store, record, ledger
        self.tuning = tuning

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do by what is asked for."""
        return self.record.ends(self.x.budget, self._rules, self.x.fine_tune is not None)

    @property
    def _rules(self) -> Json:
        return self.x.stop.model_dump(mode="json")

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
            whole = self.record.is_whole(self.x.budget, self._rules)  # all but the last stage
            if not whole:
                check_goes_on(self.x, self.record)
            for warning in warnings(self.x, self.store.card, self.store.url):
                logger.warning("%s", warning)
            told = Observers([*observers, views, background])
            try:
                self._ask()
                with start() as engine:
                    attempts.begin(
                        self.x, self.ledger, engine, self.record.plugins, chooses=not whole
                    )
                    self.write_experiment()  # a larger budget now that the run surely goes on
                    pool = run(self.x, self.store, self.ledger, engine, told, self.tuning)
            finally:
                ended = sys.exception()
                if not isinstance(ended, LockedError):  # another process writes
                    views.finish(page=ended is None or isinstance(ended, LabelsPending))
        if background.reaches:
            from rayal.workflows.tracking import show_beside  # loads all that reports do

            show_beside(self.x.tracking, self.record)
        return pool

    def _ask(self) -> None:
        """Raises LabelsPending where people have to answer first: before an engine starts, which
        would have nothing to do."""
        open_now = self.record.request()
        if self.x.oracle.asks_people and open_now is not None:
            cycle, stage, request = open_now
            self.x.oracle.answer(self.store, request.asked or (), self.ledger.stage(cycle, stage))


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
