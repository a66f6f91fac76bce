"""Progress of a run in a terminal, and as plain lines where there is none."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from rayal.cli import output
from rayal.cli.output import visible
from rayal.errors import StorageError
from rayal.runs.events import Event
from rayal.runs.record import Record
from rayal.runs.results import Evaluated

LINE_SECONDS = 30.0  # between lines of a long stage, without a terminal
POLL_SECONDS = 1.0
UNITS = {"train": "epochs"}
"""What stages are counted in of which no event tells how far they are."""


@dataclass
class _Progress:
    """What is in progress."""

    what: str
    unit: str
    bar: TaskID
    started: float
    done: int = 0
    total: int | None = None
    before: int = 0
    """Done by an earlier attempt, which says nothing about the pace of this one."""


class Console:
    """Shows what is in progress with the time left: a bar in a terminal, else a line at times."""

    def __init__(self) -> None:
        self.terminal = Terminal(stderr=True, highlight=False)
        capable = self.terminal.is_terminal and not self.terminal.is_dumb_terminal
        self.live = capable and not output.quiet
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=self.terminal,
            transient=True,
            disable=not self.live,
        )
        self.now: _Progress | None = None
        self.spoken = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="rayal-console", daemon=True)

    def __enter__(self) -> Self:
        self.progress.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.progress.stop()

    def on(self, event: Event) -> None:
        """Shows what an observer is told."""
        if event.what == "begun":
            self.end()
            name = event.stage if event.cycle is None else f"cycle {event.cycle}  {event.stage}"
            self.begin(name, event.unit or UNITS.get(event.stage, ""))
        elif event.what == "further":
            self.count(event.done or 0, event.total, event.unit)
        else:
            self.end()

    def begin(self, what: str, unit: str) -> None:
        """Something long begins."""
        bar = self.progress.add_task(what, total=None, unit=unit)
        self.now = _Progress(what, unit, bar, time.monotonic())

    def count(self, done: int, total: int | None, unit: str = "") -> None:
        """It has come this far; the first count tells what was there before."""
        if (now := self.now) is None:  # once: another thread may end it meanwhile
            return
        if now.total is None:
            now.before = done
        now.done, now.total, now.unit = done, total, unit or now.unit
        self.progress.update(now.bar, completed=done, total=total, unit=now.unit)

    def end(self) -> None:
        """It is over."""
        if self.now is not None:
            self.progress.update(self.now.bar, visible=False)
            self.now = None

    def line(self, text: str) -> None:
        """One line that stays."""
        if output.quiet:
            return
        self.terminal.print(text, markup=False, soft_wrap=True)
        self.spoken = time.monotonic()

    def _refresh(self) -> None:
        """Look for oneself how far it is, where nobody tells."""

    def _poll(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            if (now := self.now) is None:
                continue
            self._refresh()
            if not self.live and time.monotonic() - self.spoken > LINE_SECONDS:
                self.line(_status(now))


class SweepConsole(Console):
    """Counts the trials of a sweep, and has a line for each that ends."""

    def __init__(self, total: int, ended: int) -> None:
        """`ended`: those that an earlier attempt has ended."""
        super().__init__()
        self.begin("sweep", "trials")
        self.count(ended, total)

    def on(self, event: Event) -> None:
        self.count(event.done or 0, event.total)
        self.line(visible(f"{event.done} of {event.total}  {event.note}"))


class RunConsole(Console):
    """Shows the stage of a run that is in progress, and a line per cycle."""

    def __init__(self, record: Record, headline: str, epochs: int | None) -> None:
        """`epochs` is the length of a training where it is counted in epochs."""
        super().__init__()
        self.record, self.headline, self.epochs = record, headline, epochs
        self.training: int | None = None
        """The cycle whose training is in progress."""

    def on(self, event: Event) -> None:
        super().on(event)
        self.training = event.cycle if (event.what, event.stage) == ("begun", "train") else None
        self._refresh()
        if isinstance(result := event.result, Evaluated):
            value = result.metrics[self.headline]
            self.line(f"cycle {event.cycle}: {result.labels} labels, {self.headline} {value:.4f}")

    def _refresh(self) -> None:
        if (cycle := self.training) is not None:
            with suppress(StorageError):  # a number to look at is not worth a failure
                self.count(len(self.record.epochs(cycle)), self.epochs)


def _status(now: _Progress) -> str:
    """`cycle 1  score, 18 of 25 shards, 31 s, about 12 s left`"""
    seconds = time.monotonic() - now.started
    if now.total is None:
        return f"{now.what}, {seconds:.0f} s"
    text = f"{now.what}, {now.done} of {now.total} {now.unit}, {seconds:.0f} s"
    if now.done <= now.before:
        return text
    return f"{text}, about {seconds / (now.done - now.before) * (now.total - now.done):.0f} s left"
