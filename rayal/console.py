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

from rayal.errors import StorageError
from rayal.record import Record
from rayal.storage import Json

LINE_SECONDS = 30.0  # between lines of a long stage, without a terminal
POLL_SECONDS = 1.0
UNITS = {"train": "epochs", "score": "shards"}
"""What the progress of a stage is counted in."""


@dataclass
class _Stage:
    """The stage at work."""

    cycle: int
    name: str
    bar: TaskID
    started: float
    done: int = 0
    total: int | None = None
    before: int = 0
    """Done by an earlier attempt, which says nothing about the pace of this one."""


class Console:
    """A watcher that shows the stage in progress with rate and time left, and a line per cycle."""

    def __init__(self, record: Record, headline: str, epochs: int | None) -> None:
        """`epochs` is the length of a training where it is counted in epochs."""
        self.record, self.headline, self.epochs = record, headline, epochs
        self.terminal = Terminal(stderr=True, highlight=False)
        self.live = self.terminal.is_terminal and not self.terminal.is_dumb_terminal
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
        self.now: _Stage | None = None
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

    def stage(self, cycle: int, stage: str) -> None:
        bar = self.progress.add_task(
            f"cycle {cycle}  {stage}", total=None, unit=UNITS.get(stage, "")
        )
        now = _Stage(cycle, stage, bar, time.monotonic())
        if stage == "train":
            now.before = self._epochs(now)
            self._show(now, now.before, self.epochs)
        self.now = now

    def shards(self, done: int, total: int) -> None:
        if self.now is not None:
            if self.now.total is None:
                self.now.before = done - 1
            self._show(self.now, done, total)

    def finished(self, cycle: int, stage: str, result: Json) -> None:
        if self.now is not None:
            self.progress.update(self.now.bar, visible=False)
            self.now = None
        if stage == "evaluate":
            value = result[self.headline]
            self.line(f"cycle {cycle}: {result['labels']} labels, {self.headline} {value:.4f}")

    def line(self, text: str) -> None:
        """One line that stays."""
        self.terminal.print(text, markup=False, soft_wrap=True)
        self.spoken = time.monotonic()

    def _show(self, now: _Stage, done: int, total: int | None) -> None:
        now.done, now.total = done, total
        self.progress.update(now.bar, completed=done, total=total)

    def _epochs(self, now: _Stage) -> int:
        with suppress(StorageError):  # a number to look at is not worth a failure
            return len(self.record.epochs(now.cycle))
        return now.done

    def _poll(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            now = self.now
            if now is None:
                continue
            if now.name == "train":
                self._show(now, self._epochs(now), self.epochs)
            if not self.live and time.monotonic() - self.spoken > LINE_SECONDS:
                self.line(_status(now))


def _status(now: _Stage) -> str:
    """`cycle 1  score, 18 of 25 shards, 31 s, about 12 s left`"""
    text, seconds = f"cycle {now.cycle}  {now.name}", time.monotonic() - now.started
    if now.total is None:
        return f"{text}, {seconds:.0f} s"
    text += f", {now.done} of {now.total} {UNITS[now.name]}, {seconds:.0f} s"
    if now.done <= now.before:
        return text
    return f"{text}, about {seconds / (now.done - now.before) * (now.total - now.done):.0f} s left"
