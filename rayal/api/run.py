"""A run begun, or continued."""

import os
from collections.abc import Iterable
from functools import partial

from rayal.api.elsewhere import allowed
from rayal.api.given import check_experiment
from rayal.api.opened_run import Run
from rayal.experiment.experiment import Experiment
from rayal.plugins import NO_PLUGINS
from rayal.runs.events import Event, Listener, observer
from rayal.workflows.run import start_engine, start_run

COMPLETE = "complete already"
"""The note of the first event of a run that has nothing left to do."""


def run(
    x: Experiment,
    out: str | os.PathLike[str] | None = None,
    *,
    address: str | None = None,
    on_event: Listener | None = None,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Run:
    """Runs an experiment to its end; the same call again continues it where it was stopped.

    `out` is the run's folder or URL, `runs/<name>/<strategy>-<scheme>-seed<seed>` by default;
    `address` that of a Ray cluster (one is started where there is none). `on_event` is told what
    happens, `print` for example; its first event is `opened`, with the folder's `url` and the note
    `complete already` where nothing is left to do. `break_lock` takes the folder from a process
    that seems to write there. `plugins` are packages of yours whose parts the run's trackers and
    readers may meet by name; those of parts that are given as instances need no mention.

    >>> x = rayal.load("configs/digits/base.yaml", set=["compute.engine=local", "scheme.epochs=2"],
    ...     strategy="entropy", budget={"total": 100}, tracking="none")
    >>> run = rayal.run(x, "runs/digits", on_event=print)  # doctest: +ELLIPSIS
    run: opened  /...runs/digits
    cycle 0 initial: begun
    ...
    cycle 1 evaluate: ended
    >>> rayal.run(x, "runs/digits").complete
    True

    Raises LabelsPending where people have to answer first, LockedError where the folder is another
    experiment's or in use, and UsageError and the like for what cannot work, before anything
    starts. Ctrl-C leaves a run that the same call continues.
    """
    check_experiment(x, "run")
    listening = observer(on_event)
    named = allowed(x, plugins)
    where = None if out is None else os.fspath(out)
    with start_run(x, where, break_lock=break_lock, plugins=named) as opened:
        record = opened.record
        note = COMPLETE if opened.complete else ""
        listening.on(Event("opened", "run", url=record.folder.url, note=note))
        opened.run(partial(start_engine, x.compute, address), [listening])
    return Run(record)
