"""Sweeps: run, continued and read."""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rayal.api.compare import Comparison
from rayal.api.elsewhere import packages
from rayal.api.frame import frame
from rayal.api.run import COMPLETE, Run, Told, observer
from rayal.api.space import plain
from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import parallel, sweeps
from rayal.report.shown import as_html, text
from rayal.runs.events import Event
from rayal.storage.folder import Folder
from rayal.workflows.run import start_cluster
from rayal.workflows.sweep import Sweeping, SweepResult, start_sweep

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
    on_event: Told | None = None,
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
    already, and what is given here stands on it.

    `out` is the folder or URL, `sweeps/<name>` by default; its `trials` are ordinary runs. Seeds,
    samples and space may grow from one call to the next. `on_event` is told of the folder, of the
    cycles of all trials together, and of each trial that ends. `address`, `break_lock` and
    `plugins` are as of `rayal.run`; packages of parts that are given as instances need no mention,
    and classes of a notebook or script go to the workers with the trials.

    >>> x = rayal.load("configs/digits/base.yaml", compute={"engine": "local"})
    >>> found = rayal.sweep(                                         # doctest: +SKIP
    ...     x, {"strategy": ["random", "cod"], "scheme": {"lr": [0.02, 0.1]}}, seeds=range(3))
    >>> found.table()[["arm", "mean", "sd", "n", "aulc"]]            # doctest: +SKIP
    >>> found.best.model()                                           # doctest: +SKIP

    Raises UsageError with all that is wrong in any arm, before a cluster starts, and LockedError
    where the folder holds another sweep or is in use. A trial that fails stops no other: its error
    is raised when all have ended, and `rayal.open_sweep` has the others.
    """
    named = packages([x, space], plugins, travels=True)
    swept = _swept(x, space, seeds, settings, named)
    told, where = observer(on_event), None if out is None else os.fspath(out)
    with start_sweep(swept, where, break_lock=break_lock, plugins=named) as opened:
        note = "" if opened.left else COMPLETE
        told.on(Event("opened", "sweep", url=opened.folder.url, note=note))
        return Sweep(opened, opened.run(partial(start_cluster, address), told))


def _swept(
    x: Experiment,
    space: Mapping[str, Any] | None,
    seeds: Iterable[int] | None,
    settings: Mapping[str, Any],
    plugins: Plugins,
) -> SweptExperiment:
    block = x.sweep.model_dump(mode="json") if isinstance(x, SweptExperiment) else {}
    if space is not None:
        block["space"] = plain(space)
    if seeds is not None:
        block["seeds"] = list(seeds)
    if "space" not in block:
        raise UsageError(
            "sweep() is not told what to vary; give space={'strategy': ['random', 'cod']}, or an"
            " experiment of rayal.load_sweep"
        )
    fields: dict[str, Any] = {name: getattr(x, name) for name in Experiment.model_fields}
    fields["sweep"] = {**block, **settings}
    return config.from_keywords(fields, [], SweptExperiment, plugins)


def open_sweep(path: str | os.PathLike[str], plugins: Iterable[str] = NO_PLUGINS) -> "Sweep":
    """The sweep in a folder or at a URL: complete, stopped, or going on in another process.

    `plugins` are packages of yours that its parts come from.

    >>> found = rayal.open_sweep("sweeps/mine")
    >>> found.lines[0]
    '2 of 2 trials complete; 1 first trainings taken from another trial'

    Raises UsageError where there is no sweep, and StorageError where it is damaged.
    """
    folder, named = Folder(path), Plugins(plugins)
    if not folder.exists("sweep.yaml"):
        raise UsageError(
            f"{folder.url} holds no sweep; give the folder that `rayal sweep` or rayal.sweep wrote"
        )
    written = folder.read("sweep.yaml").decode(errors="replace")
    x = config.parsed(SweptExperiment, written, f"{folder.url}/sweep.yaml", named)
    opened = Sweeping(x, folder, named, together=True)
    return Sweep(opened, opened.found())


class Sweep:
    """What the folder of a sweep said when it was opened.

    >>> found = rayal.open_sweep("sweeps/mine")
    >>> found.table()[["arm", "n", "complete", "labels"]].sort_values("arm", ignore_index=True)
           arm  n  complete  labels
    0  entropy  1         1     100
    1   random  1         1     100
    >>> found.best.url in list(found.trials()["folder"])
    True
    """

    def __init__(self, opened: Sweeping, result: SweepResult) -> None:
        self._opened, self.result = opened, result

    @property
    def url(self) -> str:
        """The folder; an absolute path where it is local."""
        return self._opened.folder.url

    @property
    def experiment(self) -> SweptExperiment:
        """What was asked for, every default included."""
        return self._opened.x

    @property
    def complete(self) -> bool:
        """Whether every trial has ended."""
        return not self._opened.left

    @property
    def comparison(self) -> Comparison:
        """Its trials as `rayal.compare` has them: curves, paired tests, figures."""
        return Comparison(self.result.summary, tuple(self._opened.records()))

    def table(self) -> "DataFrame":
        """A row per arm, the best first: arm, what of it is strategy, scheme and settings; n seeds,
        how many are complete, mean, sd and half_interval of the metric at the last label count,
        and the same of aulc, the area under the learning curve of the complete ones."""
        best = {
            ranked.arm.label: place
            for ranking in self.result.rankings
            for place, ranked in enumerate(ranking)
        }
        table = self.comparison.table()
        order = table["arm"].map(lambda arm: best.get(arm, len(best)))
        return table.loc[order.sort_values(kind="stable").index].reset_index(drop=True)

    def trials(self) -> "DataFrame":
        """A row per trial that has begun: folder, what is varied, seed, complete, labels, metric,
        value, the objective (`aulc` or `final`), seconds of all stages."""
        columns, rows = sweeps.trials(self._opened.records(), self.experiment.sweep.objective)
        return frame(rows, columns)

    def runs(self) -> list[Run]:
        """The trials that have begun."""
        return [Run(record) for record in self._opened.records()]

    @property
    def best(self) -> Run | None:
        """The best trial of the arm with the highest mean; None while no arm can be ranked, for
        which an area takes two label counts. `lines` says how surely that arm is ahead."""
        if not self.result.rankings:
            return None
        url = self.result.rankings[0][0].trial.url
        return next(run for run in self.runs() if run.url == url)

    @property
    def lines(self) -> list[str]:
        """The outcome in words: how many trials are complete, which arm is ahead and how surely."""
        return list(self.result.lines())

    def plot(self) -> "Figure":
        """The learning curves of the arms with their bands."""
        return self.comparison.plot()

    def plot_parallel(self) -> "Figure":
        """A line per arm through what is varied to what it reached."""
        return parallel.figure(self.result.summary.groups[0], self.experiment.sweep.objective)

    def to_rich(self) -> Any:
        """Warnings and tables for a terminal."""
        return self.result.summary.to_rich()

    def __repr__(self) -> str:
        return f"<Sweep {self.experiment.name}: {self.lines[0]}; {self.url}>"

    def __str__(self) -> str:
        return "\n".join([text(self.to_rich()), *self.lines, self.url])

    def _repr_html_(self) -> str:
        return as_html(str(self))
