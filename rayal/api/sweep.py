"""Sweeps: run, continued and read."""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rayal.api.compare import Comparison
from rayal.api.elsewhere import packages
from rayal.api.frame import frame
from rayal.api.given import check_experiment
from rayal.api.given import path as checked
from rayal.api.run import COMPLETE, Run
from rayal.api.space import plain
from rayal.errors import UsageError, quoted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import parallel, rows, sweeps, tables
from rayal.report.shown import as_html, text
from rayal.report.tables import Summary
from rayal.runs.events import Event, Listener, observer
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.run import start_cluster
from rayal.workflows.sweep.sweeping import Sweeping, start_sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


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
    listening, where = observer(on_event), None if out is None else os.fspath(out)
    with start_sweep(swept, where, break_lock=break_lock, plugins=named) as opened:
        note = opened.control_note if opened.left else COMPLETE
        listening.on(Event("opened", "sweep", url=opened.folder.url, note=note))
        opened.run(partial(start_cluster, address), listening, address=address)
    return Sweep(opened.x, opened.folder, named)


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


def open_sweep(path: str | os.PathLike[str], *, plugins: Iterable[str] = NO_PLUGINS) -> "Sweep":
    """The sweep in a folder or at a URL: complete, stopped, or going on in another process.

    `plugins` are packages of yours that its parts come from.

    >>> found = rayal.open_sweep("sweeps/mine")
    >>> found.lines()[0]
    '2 of 2 trials complete; 1 first trainings taken from another trial'

    Raises UsageError where there is no sweep, and StorageError where it is damaged.
    """
    folder, named = Folder(checked(path, "open_sweep")), Plugins(plugins)
    if not folder.exists("sweep.yaml"):
        raise UsageError(
            f"{folder.url} holds no sweep; give the folder that `rayal sweep` or rayal.sweep wrote"
        )
    written = folder.read("sweep.yaml").decode(errors="replace")
    x = config.parsed(SweptExperiment, written, f"{folder.url}/sweep.yaml", named)
    return Sweep(x, folder, named)


class Sweep:
    """A sweep as its folder tells it, read anew each time: it may still be going on.

    What it is are properties; whatever opens its trials is a method, and what it returns is of that
    moment.

    >>> found = rayal.open_sweep("sweeps/mine")
    >>> found.table()[["arm", "n", "complete", "labels"]].sort_values("arm", ignore_index=True)
           arm  n  complete  labels
    0  entropy  1         1     100
    1   random  1         1     100
    >>> found.best().url in list(found.trials()["folder"])
    True
    """

    def __init__(self, x: SweptExperiment, folder: Folder, plugins: Plugins = NO_PLUGINS) -> None:
        self.experiment = x
        """What was asked for, every default included."""
        self._folder, self._plugins = folder, plugins

    @property
    def url(self) -> str:
        """The folder; an absolute path where it is local."""
        return self._folder.url

    @property
    def complete(self) -> bool:
        """Whether every trial has ended."""
        return not self._opened().left

    def comparison(self) -> Comparison:
        """Its trials as `rayal.compare` has them: curves, paired tests, figures."""
        records = self._records()
        return Comparison(tables.summarise(records), tuple(records))

    def table(self) -> "DataFrame":
        """A row per arm, of each experiment and dataset the best first: name, dataset, metric, arm,
        what of it is strategy, scheme and settings; n seeds, how many are complete, the last label
        count, mean, sd and half_interval of the metric there, and the same of aulc, the area under
        the learning curve of the complete ones."""
        found = []
        for group in self._summary().groups:
            ranked = sweeps.ranking(group, self.experiment.sweep.objective)
            best = {each.arm.label: place for place, each in enumerate(ranked)}
            last = len(best)
            found += sorted(rows.arms([group]), key=lambda row: best.get(row["arm"], last))
        return frame(found, rows.ARMS)

    def trials(self) -> "DataFrame":
        """A row per trial that has begun: folder, what is varied, seed, complete, labels, metric,
        value, the objective (`aulc` or `final`), seconds of all stages."""
        columns, found = sweeps.trials(self._records(), self.experiment.sweep.objective)
        return frame(found, columns)

    def runs(self) -> list[Run]:
        """The trials that have begun."""
        return [Run(record) for record in self._records()]

    def best(self) -> Run | None:
        """The best trial of the arm with the highest mean; None while no arm can be ranked, for
        which an area takes two label counts. `lines` says how surely that arm is ahead."""
        rankings = self._opened().found().rankings
        if not rankings:
            return None
        return Run(Record(Folder(rankings[0][0].trial.url), self._plugins))

    def lines(self) -> list[str]:
        """The outcome in words: how many trials are complete, which arm is ahead and how surely."""
        return list(self._opened().found().lines())

    def plot(self) -> "Figure":
        """The learning curves of the arms with their bands."""
        return self.comparison().plot()

    def plot_parallel(self) -> "Figure":
        """A line per arm through what is varied to what it reached."""
        return parallel.figure(self._summary().groups[0], self.experiment.sweep.objective)

    def to_rich(self) -> Any:
        """Warnings and tables for a terminal."""
        return self._summary().to_rich()

    def __repr__(self) -> str:
        return f"<Sweep {self.experiment.name}: {self.lines()[0]}; {self.url}>"

    def __str__(self) -> str:
        found = self._opened().found()
        return "\n".join([text(found.summary.to_rich()), *found.lines(), self.url])

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def _opened(self) -> Sweeping:
        """What it is now; what other processes begin later is not seen through it."""
        return Sweeping(self.experiment, self._folder, self._plugins, together=True)

    def _records(self) -> list[Record]:
        return self._opened().records()

    def _summary(self) -> Summary:
        return tables.summarise(self._records())
