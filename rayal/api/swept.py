"""A sweep read: complete, stopped, or going on."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rayal.api.compare import Comparison
from rayal.api.frame import frame
from rayal.api.given import path as checked
from rayal.api.opened_run import Run
from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import parallel, rows, sweeps, tables
from rayal.report.shown import as_html, text
from rayal.report.tables import Summary
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.sweep.sweeping import Sweeping

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


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
