"""Sweeps: run and continued."""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rayal.api.elsewhere import packages
from rayal.api.given import check_experiment
from rayal.api.space import plain
from rayal.engine.forks import Forks
from rayal.engine.processes import importing
from rayal.errors import UsageError, quoted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Event, Listener, observer

if TYPE_CHECKING:
    from rayal.api.swept import Sweep


def sweep(
    x: Experiment,
    space: Mapping[str, Any] | None = None,
    seeds: Iterable[int] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    address: str | None = None,
    on_event: Listener | None = None,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
    **settings: Any,
) -> "Sweep":
    """Runs strategies and settings against each other on Ray; the same call again goes on.

    `space` says what is varied: fields of the experiment, nested as there. A list is a grid of its
    items: names, numbers, mappings of fields, instances of parts. Draws are written as in a file,
    `{"loguniform": [0.005, 0.5]}`, and so may be grids, `{"grid_search": [...]}`. A field whose
    value is itself a sequence takes a tuple, `(8, 8)`. Every arm runs with all `seeds`: 0 to 4, or
    those of the file. `settings` are the other fields of the block `sweep:` of a file, such as
    `samples=4`, `search="optuna"`, `cpus=2`. An experiment of `rayal.load_sweep` has all of these
    already, and what is given here stands on it. Where strategies are varied and random selection
    is not among them, it is run too (`control=None`: it is not).

    `out` is the folder or URL, `sweeps/<name>` by default; its `trials` are ordinary runs. Seeds,
    samples and space may grow from one call to the next. `on_event` is told of the folder, of the
    cycles of all trials together, and of each trial that ends. `address`, `break_lock` and
    `plugins` are as of `rayal.run`; packages of parts that are given as instances need no mention,
    and classes of a notebook or script go to the workers with the trials.

    >>> x = rayal.load("configs/digits/base.yaml", compute={"engine": "local"})
    >>> found = rayal.sweep(                                         # doctest: +SKIP
    ...     x, {"strategy": ["random", "cod"], "scheme": {"lr": [0.02, 0.1]}}, seeds=range(3))
    >>> found.table()[["arm", "mean", "sd", "n", "aulc"]]            # doctest: +SKIP
    >>> found.best().model()                                           # doctest: +SKIP

    Raises UsageError with all that is wrong in any arm, before a cluster starts, and LockedError
    where the folder holds another sweep or is in use. A trial that fails stops no other: its error
    is raised when all have ended, and `rayal.open_sweep` has the others.
    """
    check_experiment(x, "sweep")
    named = packages([x, space], plugins, travels=True)
    swept = _swept(x, space, seeds, settings, named)
    return run_swept(
        swept, out=out, address=address, on_event=on_event, break_lock=break_lock, plugins=named
    )


def run_swept(
    x: SweptExperiment,
    *,
    begun: Forks | None = None,
    out: str | os.PathLike[str] | None,
    address: str | None,
    on_event: Listener | None,
    break_lock: bool,
    plugins: Plugins,
) -> "Sweep":
    """The sweep, in processes where these suffice, which may have `begun`."""
    listening, where = observer(on_event), None if out is None else os.fspath(out)
    with importing(x.sweep, x.compute, address, begun) as forks:
        # while that process imports, this one does
        from rayal.api.run import COMPLETE
        from rayal.api.swept import Sweep
        from rayal.workflows.run import start_cluster
        from rayal.workflows.sweep.sweeping import start_sweep

        with start_sweep(x, where, break_lock=break_lock, plugins=plugins) as opened:
            note = opened.control_note if opened.left else COMPLETE
            listening.on(Event("opened", "sweep", url=opened.folder.url, note=note))
            opened.run(partial(start_cluster, address), listening, forks)
    return Sweep(opened.x, opened.folder, plugins)


def _swept(
    x: Experiment,
    space: Mapping[str, Any] | None,
    seeds: Iterable[int] | None,
    settings: Mapping[str, Any],
    plugins: Plugins,
) -> SweptExperiment:
    block = x.sweep.model_dump(mode="json") if isinstance(x, SweptExperiment) else {}
    if space is not None:
        if not isinstance(space, Mapping):
            raise UsageError(
                f"space: {quoted(space)} does not say what to vary; give a mapping such as"
                " {'strategy': ['random', 'cod']}"
            )
        block["space"] = plain(space)
    if seeds is not None:
        if isinstance(seeds, str) or not isinstance(seeds, Iterable):
            raise UsageError(f"seeds: {quoted(seeds)} is no list of seeds; give range(3) or [0, 7]")
        block["seeds"] = list(seeds)
    if "space" not in block:
        raise UsageError(
            "sweep() is not told what to vary; give space={'strategy': ['random', 'cod']}, or an"
            " experiment of rayal.load_sweep"
        )
    fields: dict[str, Any] = {name: getattr(x, name) for name in Experiment.model_fields}
    fields["sweep"] = {**block, **settings}
    return config.from_keywords(fields, [], SweptExperiment, plugins)
