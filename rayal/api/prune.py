"""Large files of runs, removed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayal.api.frame import frame
from rayal.api.places import Place, urls
from rayal.errors import Apart, RayalError, UsageError, counted, quoted
from rayal.experiment.keep import Keep, Kept
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.amounts import size
from rayal.report.shown import as_html, text
from rayal.report.status import status_folder
from rayal.workflows.prune import Pruned, prune_all

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Pruning:
    """What was removed from runs, or would be, and what is still possible."""

    runs: tuple[Pruned, ...]
    """One for each run."""
    dry_run: bool
    """Whether nothing was removed."""
    errors: tuple[RayalError, ...] = ()
    """Of runs that could not be pruned, such as those that another process writes."""

    @property
    def files(self) -> int:
        """Of all runs."""
        return sum(run.files for run in self.runs)

    @property
    def bytes(self) -> int:
        """Of all runs."""
        return sum(run.bytes for run in self.runs)

    def table(self) -> "DataFrame":
        """A row for each run: run (its folder), files and bytes that were removed, weights (the
        cycles of which `Run.model` is left, and pictures with predictions), shards (those of which
        `Run.scores` is), and goes_on: whether the run's own command can still continue it."""
        return frame([run._asdict() for run in self.runs], Pruned._fields)

    def check(self) -> None:
        """Raises what could not be pruned, if anything, as one error."""
        Apart(self.errors).end()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        total = {"dry_run": self.dry_run, "files": self.files, "bytes": self.bytes}
        return {**total, "runs": [run._asdict() for run in self.runs]}

    def to_rich(self) -> Any:
        """As a table for a terminal, folders from the common one on."""
        from rich.table import Table

        common = status_folder([run._asdict() for run in self.runs])
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("run", overflow="fold")
        for column in ("frees" if self.dry_run else "freed", "files"):
            table.add_column(column, justify="right", no_wrap=True)
        for column in ("models left", "scores left", "goes on"):
            table.add_column(column)
        for run in self.runs:
            left = [f"{run.files:,}", _cycles(run.weights), _cycles(run.shards)]
            name = run.run.removeprefix(common).lstrip("/")
            table.add_row(name, size(run.bytes), *left, "yes" if run.goes_on else "no")
        return table

    def __repr__(self) -> str:
        """`<Pruning of 3 runs: freed 12 MB in 40 files>`"""
        errors = f"; {counted(len(self.errors), 'error')}" if self.errors else ""
        return f"<Pruning of {counted(len(self.runs), 'run')}: {self.total}{errors}>"

    @property
    def total(self) -> str:
        """`freed 12 MB in 40 files`"""
        verb = "would free" if self.dry_run else "freed"
        return f"{verb} {size(self.bytes)} in {counted(self.files, 'file')}"

    def __str__(self) -> str:
        rows = [text(self.to_rich()), self.total] if self.runs else []
        return "\n".join([*rows, *(f"error: {error}" for error in self.errors)])

    def _repr_html_(self) -> str:
        return as_html(str(self))


def prune(
    places: Place | Iterable[Place],
    *,
    weights: Kept = "last",
    shards: Kept = "last",
    dry_run: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
    break_lock: bool = False,
) -> Pruning:
    """Removes large files of past cycles from the runs at or below these places, trials of sweeps
    among them. What was chosen and measured stays, and so do curves and reports.

    `weights` and `shards` are as `keep` of an experiment: `all` removes nothing of that kind,
    `last` leaves the newest and whatever the run needs to go on, also with a larger
    `budget.total`; `none` leaves nothing in a complete run. A run that is not complete keeps what
    it needs. `dry_run` only says what would go. `plugins` are packages of yours that parts of the
    runs come from; `break_lock` takes over a folder from a process that seems to write there.

    >>> found = rayal.prune("runs/mine", shards="none", dry_run=True)
    >>> found.table()[["weights", "shards", "goes_on"]]
      weights shards  goes_on
    0    (1,)     ()     True

    What was removed cannot be brought back but by running the experiment again, which on a CPU
    gives the same bytes. What could not be pruned, such as a run that is going on, is in `errors`,
    which `check()` raises; it is raised here where nothing else is there.
    """
    for name, choice in {"weights": weights, "shards": shards}.items():
        if choice not in ("all", "last", "none"):
            raise UsageError(f"{name}: {quoted(choice)} is not known; use all, last or none")
    keep = Keep(weights=weights, shards=shards)
    named = Plugins(plugins)
    runs, apart = prune_all(urls(places), keep, named, dry_run=dry_run, break_lock=break_lock)
    found = Pruning(tuple(runs), dry_run, tuple(apart.errors))
    if not runs:
        found.check()
    return found


def _cycles(numbers: Sequence[int]) -> str:
    """`0-3, 9`; `none` of none."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    spans = (str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return ", ".join(spans) or "none"
