"""A run that waits for people, and its request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from rayal.data.store import Store
from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.labeling.exchange.base import Asked
from rayal.labeling.oracles.people import People
from rayal.labeling.outgoing import read_request
from rayal.labeling.request import Request
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.storage.lock import Lock


@dataclass(frozen=True)
class Waiting:
    """What a run waits for."""

    x: Experiment
    oracle: People
    cycle: int
    stage: str
    request: Request
    asked: Asked
    """With the earlier requests of the run, whose late answers it takes too."""

    @cached_property
    def store(self) -> Store:
        return self.x.dataset.open()


def waiting(run: str, plugins: Plugins = NO_PLUGINS) -> Waiting:
    """What the run in this folder waits for; raises UsageError where it waits for nobody."""
    record, x, oracle = asking(run, plugins)
    found = record.request()
    if found is None and record.complete:
        raise UsageError(f"{run} is complete and buys no more labels; raise budget.total first")
    if found is None:
        raise UsageError(
            f"{run} asks for no labels at the moment; give the run's own command, and this one"
            " again when that waits"
        )
    cycle, stage, request = found
    asked = read_request(request.folder)
    if asked is None:
        raise UsageError(
            f"{run}: its request for {request.stage} is not written yet; give the run's own command"
            " again, which writes it"
        )
    earlier = [read_request(each.folder) for each in request.before]
    asked = replace(asked, earlier=tuple(each for each in earlier if each is not None))
    return Waiting(x, oracle, cycle, stage, request, asked)


def asking(run: str, plugins: Plugins = NO_PLUGINS) -> tuple[Record, Experiment, People]:
    """A run whose oracle asks people; raises UsageError where it does not."""
    record = Record(Folder(run), plugins)
    record.check()
    x = config.resolved(record.experiment(), plugins)
    if not isinstance(x.oracle, People):
        raise UsageError(
            f"{run}: its oracle is {x.oracle.part_name()}, which asks nobody; set oracle: people"
        )
    return record, x, x.oracle


@contextmanager
def alone(run: str, *, break_lock: bool = False) -> Iterator[None]:
    """The run's folder, locked while the block lasts: nobody trains on it, nobody else adds to it.

    Raises LockedError where another process writes there.
    """
    lock = Lock(Folder(run))
    lock.acquire(break_lock)
    try:
        yield
    finally:
        lock.release()
