"""What `rayal prune` does: large files of runs removed, and what is still possible without them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

from rayal.cycle.keep import KINDS, SHARDS, WEIGHTS, gone, may_go, missing, prune, there
from rayal.errors import Apart
from rayal.experiment import config
from rayal.experiment.keep import Keep
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.find_records import find_records
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.storage.lock import Lock


class Pruned(NamedTuple):
    """A run that was pruned, or would be."""

    run: str
    """Its folder."""
    files: int
    """That were removed."""
    bytes: int
    """That they took."""
    weights: tuple[int, ...]
    """The cycles whose models are left: of these there are `model(cycle)`, and pictures with
    predictions."""
    shards: tuple[int, ...]
    """The cycles whose scores are left."""
    goes_on: bool
    """Whether the run's own command can still continue it, also with a larger `budget.total`."""


def prune_all(
    places: Iterable[str],
    keep: Keep,
    plugins: Plugins = NO_PLUGINS,
    *,
    dry_run: bool = False,
    break_lock: bool = False,
) -> tuple[list[Pruned], Apart]:
    """Every run at or below these places, and the errors of those that could not be pruned: one
    that another process writes, and all trials of a sweep that goes on, are LockedErrors."""
    apart, found = Apart(), list[Pruned]()
    records = find_records(places, plugins, apart)
    for sweep, trials in groupby(records, key=lambda record: record.sweep):
        with apart.kept(), _locked(sweep, dry_run, break_lock):
            for record in trials:
                with apart.kept():
                    found.append(prune_run(record, keep, dry_run=dry_run, break_lock=break_lock))
    return found, apart


def prune_run(
    record: Record, keep: Keep, *, dry_run: bool = False, break_lock: bool = False
) -> Pruned:
    """Removes from a run what `keep` lets go, and what an earlier attempt at that left behind;
    with `dry_run` only says what that would be.

    A run that is not complete keeps all that it needs to go on. Raises LockedError where another
    process writes it.
    """
    folder = record.folder
    with _locked(folder.url, dry_run, break_lock) as lock:
        record = Record(folder, record.plugins)  # as it is now that nobody else writes
        x = config.resolved(record.experiment(), record.plugins)
        x = x.model_copy(update={"keep": keep})
        done, complete, before = {*record.finished()}, record.complete, gone(record)
        stages = [
            (kind, cycle)
            for kind in KINDS
            for cycle in range(record.begun())
            if (kind, cycle) in before or may_go(x, kind, cycle, done, complete)
        ]
        files = []
        for kind, cycle in stages:
            out = stage_folder(folder, cycle, kind.stage)
            files += there(kind, out)
            if lock is not None:
                prune(kind, out, lock.check)
    weights, shards = (
        tuple(
            cycle
            for cycle in range(record.begun())
            if (cycle, kind.stage) in done and (kind, cycle) not in stages
        )
        for kind in (WEIGHTS, SHARDS)
    )
    return Pruned(
        run=folder.url,
        files=len(files),
        bytes=sum(file.bytes for file in files),
        weights=weights,
        shards=shards,
        goes_on=not missing(x, done, stages),
    )


@contextmanager
def _locked(url: str | None, dry_run: bool, break_lock: bool) -> Iterator[Lock | None]:
    """The lock of a folder while the block lasts; none where nothing is written."""
    if url is None or dry_run:
        yield None
        return
    lock = Lock(Folder(url))
    lock.acquire(break_lock)
    try:
        yield lock
    finally:
        lock.release()
