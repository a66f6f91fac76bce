"""Progress of a run in a terminal, and as plain lines where there is none."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console as Terminal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
)

from rayal.cli import output
from rayal.cli.output import note, visible
from rayal.data.tasks.base import FIT, is_tested, metric_of
from rayal.errors import StorageError, counted
from rayal.report.amounts import duration
from rayal.runs.events import Event
from rayal.runs.record import Record
from rayal.runs.results import Evaluated, FineTuned, Trained

LINE_SECONDS = 30.0  # between lines of a long stage, without a terminal
CLOSE_SECONDS = 10.0  # for the last look at a run folder
POLL_SECONDS = 1.0
UNITS = {"train": "epochs", "fit": "steps", "fine_tune": "epochs"}
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
    share: float | None = None
    """Done of all the work, in [0, 1]; None until something is known."""
    before: float = 0.0
    """The share that an earlier attempt has done, which says nothing about the pace of this one."""
    told: float = 0.0
    """When it came this far."""

    def left(self, now: float) -> str:
        """The time left at the pace up to the last news; nothing before there was a pace, nor when
        that time is over."""
        if self.share is None or not self.before < self.share < 1:
            return ""
        pace = (self.share - self.before) / max(self.told - self.started, 1e-9)
        seconds = (1 - self.share) / pace - (now - self.told)
        return f"about {duration(max(seconds, 0.0))} left" if seconds > -1 else ""


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
            TextColumn("{task.fields[left]}"),
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
        self._thread.join(CLOSE_SECONDS)
        self.progress.stop()
        if self._thread.is_alive():
            self.line("the run folder does not answer; the last lines may be old")

    def on(self, event: Event) -> None:
        """Shows what an observer is told."""
        if event.what == "opened":
            return
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
        bar = self.progress.add_task(what, total=None, unit=unit, left="")
        self.now = _Progress(what, unit, bar, time.monotonic())

    def count(
        self, done: int, total: int | None, unit: str = "", share: float | None = None
    ) -> None:
        """It has come this far; the first count tells what was there before. `share`: of all the
        work, where what is counted is not all alike."""
        if (now := self.now) is None:  # once: another thread may end it meanwhile
            return
        if share is None and total:
            share = done / total
        if now.total is None and share is not None:
            now.before = share
        if share != now.share:
            now.share, now.told = share, time.monotonic()
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
            self.progress.update(now.bar, left=now.left(time.monotonic()))
            if not self.live and time.monotonic() - self.spoken > LINE_SECONDS:
                self.line(self._status(now))

    def _status(self, now: _Progress) -> str:
        """`cycle 1  score, 18 of 25 shards, 31 s, about 12 s left`"""
        at = time.monotonic()
        far = "" if now.total is None else f"{now.done} of {now.total} {now.unit}"
        parts = [now.what, far, duration(at - now.started), now.left(at)]
        return ", ".join(filter(None, parts))


@contextmanager
def telling(words: str, console: Callable[[str], Console]) -> Iterator[Callable[[Event], None]]:
    """Whom to tell what happens: says where something goes, in `words`, and then shows it on the
    `console` that is made for its URL."""
    with ExitStack() as stack:
        consoles: list[Console] = []

        def told(event: Event) -> None:
            if event.what == "opened":
                note(f"{event.note or words}  {event.url}")
                consoles.append(stack.enter_context(console(event.url)))
            for each in consoles:
                each.on(event)

        yield told


class SweepConsole(Console):
    """Counts the cycles of all trials of a sweep and, below, of each that runs; has a line for each
    trial that ends."""

    def __init__(self) -> None:
        super().__init__()
        self.begin("sweep", "cycles")
        self.trials: dict[str, tuple[TaskID, int, int]] = {}
        """Those that run: bar, cycles evaluated, and of how many."""

    def on(self, event: Event) -> None:
        if event.what == "further":
            self.count(event.done or 0, event.total, event.unit, event.share)
            if event.cycles is not None:
                self._count_trial(event.trial, *event.cycles)
        elif event.what == "ended":
            if (ended := self.trials.get(event.trial)) is not None:
                self.trials = {n: each for n, each in self.trials.items() if n != event.trial}
                self.progress.remove_task(ended[0])
            left = self.now.left(time.monotonic()) if self.now is not None else ""
            told = ", ".join(filter(None, [f"{event.done} of {event.total} {event.unit}", left]))
            self.line(visible(f"{told}  {event.note}"))

    def _count_trial(self, name: str, done: int, total: int) -> None:
        if name in self.trials:
            bar = self.trials[name][0]
        else:
            bar = self.progress.add_task(escape(visible(name)), total=total, unit="cycles", left="")
        self.trials = {**self.trials, name: (bar, done, total)}  # another thread reads it
        self.progress.update(bar, completed=done, total=total)

    def _status(self, now: _Progress) -> str:
        running = [f"{name} {done} of {total}" for name, (_, done, total) in self.trials.items()]
        return "; ".join([super()._status(now), *map(visible, running)])


class RunConsole(Console):
    """Shows the stage of a run that is in progress, and a line per cycle."""

    def __init__(
        self, record: Record, headline: str, epochs: int | None, last_epochs: int | None = None
    ) -> None:
        """`epochs` is the length of a training where it is counted in epochs; `last_epochs` that of
        the one after the last cycle."""
        super().__init__()
        self.record, self.headline, self.epochs = record, headline, epochs
        self.last_epochs = last_epochs
        self.followed: tuple[str, int] | None = None
        """The stage in progress that writes down how far it is, and its cycle."""

    def on(self, event: Event) -> None:
        super().on(event)
        begun = event.what == "begun" and event.stage in UNITS and event.cycle is not None
        self.followed = (event.stage, event.cycle or 0) if begun else None
        self._refresh()
        if isinstance(result := event.result, Evaluated):
            shown = [self.headline]
            if not is_tested(self.headline):
                shown.append(f"{FIT}{metric_of(self.headline)}")
            known = [(each, result.metrics[each]) for each in shown]
            told = [f"{each} {value:.4f}" for each, value in known if value is not None]
            labels = counted(result.labels, "label")
            self.line(f"cycle {event.cycle}: {', '.join([labels, *told])}")
        if isinstance(tuned := event.result, FineTuned):
            value = tuned.metrics.get(self.headline)
            reached = "" if value is None else f", {self.headline} {value:.4f}"
            self.line(f"fine-tuned: {counted(tuned.labels, 'label')}{reached}")

    def _refresh(self) -> None:
        if self.followed is None:
            return
        stage, cycle = self.followed
        with suppress(StorageError):  # a number to look at is not worth a failure
            if stage == Trained.stage:
                self.count(len(self.record.epochs(cycle)), self.epochs)
            elif stage == FineTuned.stage:
                self.count(len(self.record.fine_tuned_epochs(cycle)), self.last_epochs)
            else:
                done, of = self.record.fit_steps(cycle)
                self.count(done, of or None)
