"""Where runs and scorings are, from their folders alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayal.api.frame import frame
from rayal.api.places import Place, urls
from rayal.errors import Apart, RayalError, counted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.shown import as_html, text
from rayal.report.status import Row, status_folder, status_notes, status_rows, status_table

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = [
    "run",
    "state",
    "cycle",
    "stage",
    "labels",
    "metric",
    "value",
    "fine_tuned",
    "images",
    "of",
    "silent_seconds",
    "message",
]


@dataclass(frozen=True)
class Status:
    """Where runs and scorings were at the moment of asking."""

    rows: tuple[Row, ...]
    """A mapping per run or scoring; see `table`."""
    errors: tuple[RayalError, ...] = ()
    """What could not be read; a run of which a part could not is a row, too: `damaged`."""

    def table(self) -> "DataFrame":
        """A row per run or scoring: run (its folder), state, cycle, stage, labels, metric (its
        name), value, and that of the network that was fine_tuned at the end; of a scoring images
        and how many there are of them; silent_seconds of a crashed one, and a message that says why
        it is neither complete nor running, or which rule of `stop` has ended it.

        A state is `waiting` (for people), `running`, `crashed`, `interrupted`, `stopped` (early, by
        its sweep), `complete` or `damaged`.
        """
        return frame(self.rows, COLUMNS)

    def check(self) -> None:
        """Raises what could not be read, if anything, as one error."""
        Apart(self.errors).end()

    @property
    def folder(self) -> str:
        """The folder that all of them are in."""
        return status_folder(self.rows)

    @property
    def notes(self) -> list[str]:
        """Of those that have neither ended nor go on, or that a rule has ended: `run: state,
        why`."""
        return status_notes(self.rows)

    def to_rich(self) -> Any:
        """As a table for a terminal, folders from `folder` on."""
        return status_table(self.rows)

    def __repr__(self) -> str:
        """`<Status of 3 in /runs: 2 complete, 1 running>`"""
        counts = Counter(row["state"] for row in self.rows)
        states = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        unread = f"; {counted(len(self.errors), 'error')}" if self.errors else ""
        return f"<Status of {len(self.rows)} in {self.folder}: {states}{unread}>"

    def __str__(self) -> str:
        rows = [f"in {self.folder}", text(self.to_rich()), *self.notes] if self.rows else []
        return "\n".join([*rows, *(f"error: {error}" for error in self.errors)])

    def _repr_html_(self) -> str:
        return as_html(str(self))


def status(places: Place | Iterable[Place], *, plugins: Iterable[str] = NO_PLUGINS) -> Status:
    """Where the runs, and the passes of `rayal score`, at or below these places are.

    A place is a folder, of a run or above some, or what `rayal.run` returns. `plugins` are packages
    of yours that parts of the runs come from. Nothing is written, and nobody who writes is
    disturbed.

    >>> rayal.status("runs/mine").table()[["state", "cycle", "labels", "metric"]]
          state  cycle  labels    metric
    0  complete      1     100  accuracy

    One bad folder does not hide the others: what could not be read is in `errors`, which `check()`
    raises. Raises it here, a UsageError or StorageError, where nothing else is there.
    """
    apart = Apart()
    rows = status_rows(urls(places), Plugins(plugins), apart)
    found = Status(tuple(rows), tuple(apart.errors))
    if not found.rows:
        found.check()
    return found
