"""The contract of a tracker: a view of the run folder on a server, never the run's memory."""

import logging
import shlex
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from rayal.errors import LabelsPending
from rayal.parts import Component
from rayal.runs.events import Event
from rayal.runs.record import Record

logger = logging.getLogger(__name__)


class Tracker(Component):
    """Shows runs somewhere else; everything it shows can be sent again from the run folder."""

    def prepare(self) -> None:
        """Called by the driver before the first sync: before anything else starts where it
        `is_required`, and where processes will track side by side.

        Raises StorageError where tracking is required and cannot be reached.
        """

    def is_required(self) -> bool:
        """Whether a run refuses to start where it cannot be tracked: here whoever has something to
        `prepare`."""
        return type(self).prepare is not Tracker.prepare

    @abstractmethod
    def sync(self, record: Record, *, failed: bool = False) -> None:
        """Send what the server does not have yet; a second call sends nothing.

        `failed` says that the run has stopped with an error. Raises StorageError.
        """

    def summarise(self, found: "Found") -> None:
        """Show what the runs of one folder say together, such as those of a sweep.

        Raises StorageError.
        """

    def address(self) -> str | None:
        """What to open, or to start, to see the runs; None where there is nothing to see."""
        return None

    def link(self, record: Record) -> str | None:
        """What opens the charts of a run and of those beside it; None where there are none."""
        return None


class Found(NamedTuple):
    """What the runs of one experiment in one folder, or the trials of a sweep, say together."""

    name: str
    """Of the experiment."""
    place: str
    """URL of the folder that holds the runs, or of the sweep."""
    metric: str = ""
    """What the curves show."""
    curves: Mapping[str, Mapping[int, float]] = {}
    """Arm -> labels -> mean of its seeds."""
    areas: Mapping[str, float] = {}
    """Arm -> mean area under the curve."""
    files: Mapping[str, bytes] = {}
    """Tables, figures and the page by name."""
    folder: str = "sweep"
    """Where these files go."""
    notes: Mapping[str, str] = {}
    """Tag -> value."""


def sync_command(record: Record) -> str:
    """What sends the rest of a run, as a shell takes it."""
    return f"rayal sync {shlex.quote(record.folder.url)}"


class Background:
    """Keeps a tracker up to date from one daemon thread: it never raises and never waits.

        with Background(experiment.tracking, record) as background:
            ...                     # the loop
            background.on(event)    # whatever happens

    A failure is logged once, with the command that sends the rest, and tried again at the next
    stage. Leaving the block sends the end of the run, within `patience` seconds.
    """

    def __init__(
        self, tracker: Tracker, record: Record, *, every: float = 5.0, patience: float = 20.0
    ) -> None:
        """`every`: seconds between looks at a running training; `patience`: seconds at the end."""
        self._tracker, self._record = tracker, record
        self._every, self._patience = every, patience
        self._news = threading.Event()
        self._closing = self._failed = self._warned = False
        self._thread = threading.Thread(target=self._run, name="rayal-tracker", daemon=True)
        self._thread.start()

    @property
    def reaches(self) -> bool:
        """Whether nothing has failed so far."""
        return not self._warned

    def on(self, event: Event) -> None:
        """Something has happened. Returns at once; what happens during a sync becomes one."""
        if event.what != "further":
            self._news.set()

    def close(self, timeout: float, *, failed: bool = False) -> None:
        """Sync for the last time, for at most `timeout` seconds."""
        self._failed, self._closing = failed, True
        self._news.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._warn(f"not finished within {timeout:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        in_order = (LabelsPending, SystemExit)  # the latter where a sweep ends a trial early
        failed = kind is not None and not issubclass(kind, in_order)
        self.close(self._patience, failed=failed)

    def _run(self) -> None:
        closing = False
        self._try(self._tracker.prepare)  # takes seconds, while the run gets on
        while not closing:
            self._news.wait(self._every)
            self._news.clear()
            closing = self._closing  # read before the sync, so the last sync sees the whole run
            self._try(partial(self._tracker.sync, self._record, failed=self._failed))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever a tracker does, the run goes on
            logger.debug("tracking", exc_info=True)
            self._warn(str(error))

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "tracking: %s; the run goes on, send the rest with: %s",
                *(reason, sync_command(self._record)),
            )
