"""Progress of a run in a terminal, and as plain lines where there is none."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rayal.record import Record
from rayal.storage import Json

LINE_SECONDS = 30.0  # between lines of a long stage, without a terminal
POLL_SECONDS = 1.0


class Console:
    """A watcher that shows the stage in progress with rate and time left, and a line per cycle."""

    def __init__(self, record: Record, headline: str, epochs: int | None) -> None:
        """`epochs` is the length of a training where it is counted in epochs."""
        self.record, self.headline, self.epochs = record, headline, epochs
        self.terminal = Terminal(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=self.terminal,
            transient=True,
            disable=not self.terminal.is_terminal,
        )
        self.bar = self.progress.add_task("", total=None, unit="", visible=False)
        self.now: tuple[int, str] | None = None
        self.counted = (0, 0)
        self.started = self.spoken = time.monotonic()
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
        self.now, self.started = (cycle, stage), time.monotonic()
        total = self.epochs if stage == "train" else None
        unit = {"train": "epochs", "score": "shards"}.get(stage, "")
        self._show(0, total, unit, f"cycle {cycle}  {stage}")

    def shards(self, done: int, total: int) -> None:
        self._show(done, total, "shards")

    def finished(self, cycle: int, stage: str, result: Json) -> None:
        self.now = None
        if stage == "evaluate":
            value = result[self.headline]
            self.line(f"cycle {cycle}: {result['labels']} labels, {self.headline} {value:.4f}")

    def line(self, text: str) -> None:
        """One line that stays."""
        self.terminal.print(text, markup=False)
        self.spoken = time.monotonic()

    def _show(self, done: int, total: int | None, unit: str, text: str | None = None) -> None:
        self.counted = (done, total or 0)
        self.progress.update(
            self.bar, completed=done, total=total, unit=unit, visible=True, description=text
        )

    def _poll(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            now = self.now
            if now is not None and now[1] == "train":
                done = len(self.record.epochs(now[0]))
                self._show(done, self.epochs, "epochs")
            silent = time.monotonic() - self.spoken
            if now is not None and silent > LINE_SECONDS and not self.terminal.is_terminal:
                self.line(self._status(*now))

    def _status(self, cycle: int, stage: str) -> str:
        done, total = self.counted
        seconds = time.monotonic() - self.started
        share = f", {done} of {total}" if total else ""
        left = f", about {seconds / done * (total - done):.0f} s left" if done and total else ""
        return f"cycle {cycle}  {stage}{share}, {seconds:.0f} s{left}"
