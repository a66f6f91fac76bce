"""Progress: what a terminal shows, and the lines that a log file gets."""

import io
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rayal.cli import console
from rayal.cli.console import RunConsole, SweepConsole
from rayal.errors import StorageError
from rayal.runs.events import Event
from rayal.runs.results import Evaluated

LONG = "a_metric_with_a_name_that_no_narrow_terminal_has_room_for"


class Epochs:
    """A record of which only the epochs are looked at."""

    def __init__(self):
        self.done = 0

    def epochs(self, cycle):
        if self.done is None:
            raise StorageError("epochs.jsonl is damaged")
        return [{}] * self.done


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(params=["file", "terminal"])
def watch(request, monkeypatch):
    """Makes a console, and the stream that it writes to."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(console, "POLL_SECONDS", 0.01)

    def make(record, epochs=10):
        stream = io.StringIO() if request.param == "file" else Terminal()
        monkeypatch.setattr("sys.stderr", stream)  # here, since pytest replaces it after fixtures
        return RunConsole(record, LONG, epochs), stream

    return make


file = pytest.mark.parametrize("watch", ["file"], indirect=True)
terminal = pytest.mark.parametrize("watch", ["terminal"], indirect=True)


def until(condition):
    """Waits for another thread."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def a_cycle(watcher):
    """What the loop tells of one cycle."""
    watcher.on(Event("begun", "train", 0))
    watcher.on(Event("ended", "train", 0))
    watcher.on(Event("begun", "evaluate", 0))
    evaluated = Evaluated(metrics={LONG: 0.12345}, labels=20, cost=20.0)
    watcher.on(Event("ended", "evaluate", 0, result=evaluated))
    watcher.on(Event("begun", "score", 0))
    watcher.on(Event("further", "score", 0, 1, 2, "shards"))
    watcher.on(Event("further", "score", 0, 2, 2, "shards"))
    watcher.on(Event("ended", "score", 0))


@file
def test_a_line_per_cycle_without_a_terminal(watch, monkeypatch):
    """Log files would hold bars, escape codes and halves of lines (I08)."""
    monkeypatch.setenv("COLUMNS", "20")
    watcher, stderr = watch(Epochs())
    with watcher:
        a_cycle(watcher)

    assert stderr.getvalue() == f"cycle 0: 20 labels, {LONG} 0.1235\n"


@file
def test_a_line_now_and_then_in_a_long_stage(watch, monkeypatch):
    """A night's log would not show whether a training goes on."""
    monkeypatch.setattr(console, "LINE_SECONDS", 0.05)
    record = Epochs()
    watcher, stderr = watch(record)
    with watcher:
        watcher.on(Event("begun", "train", 1))
        record.done = 4
        until(lambda: " left" in stderr.getvalue())
        watcher.on(Event("begun", "score", 1))
        watcher.on(Event("further", "score", 1, 0, 25, "shards"))
        watcher.on(Event("further", "score", 1, 18, 25, "shards"))
        until(lambda: "score, 18 of 25" in stderr.getvalue())
        watcher.on(Event("begun", "label", 1))
        until(lambda: "label" in stderr.getvalue())
    lines = stderr.getvalue().splitlines()

    assert any(
        re.fullmatch(r"cycle 1  train, 4 of 10 epochs, \d s, about \d s left", line)
        for line in lines
    )
    assert "cycle 1  score, 18 of 25 shards, 0 s, about 0 s left" in lines
    assert re.fullmatch(r"cycle 1  label, \d s", lines[-1])


@file
def test_an_earlier_attempt_does_not_count_as_pace(watch, monkeypatch):
    """A resumed run would promise to end at once, for hours."""
    record = Epochs()
    record.done = 20
    clock = SimpleNamespace(now=100.0)
    watcher, _ = watch(record, 30)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    watcher.on(Event("begun", "train", 0))
    before = watcher._status(watcher.now)
    clock.now = 130.0
    watcher.count(25, 30)

    assert before == "cycle 0  train, 20 of 30 epochs, 0 s"
    assert watcher._status(watcher.now).endswith("25 of 30 epochs, 30 s, about 30 s left")


@file
def test_the_time_left_does_not_grow_while_nothing_is_told(watch, monkeypatch):
    """A line every half minute would promise more and more."""
    clock = SimpleNamespace(now=0.0)
    watcher, _ = watch(Epochs(), 30)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    watcher.begin("sweep", "cycles")
    watcher.count(0, 100)
    clock.now = 100.0
    watcher.count(10, 100)
    lines = []
    for clock.now in (100.0, 400.0, 1001.0):
        lines.append(watcher._status(watcher.now))

    assert lines == [
        "sweep, 10 of 100 cycles, 2 min, about 15 min left",
        "sweep, 10 of 100 cycles, 7 min, about 10 min left",
        "sweep, 10 of 100 cycles, 17 min",
    ]


def test_a_sweep_has_a_line_for_each_trial_that_ends(monkeypatch):
    """Hours would pass with a number that only rises. Cycles with more labels take longer, so the
    time left is by work, not by cycles."""
    clock, stream = SimpleNamespace(now=0.0), io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    watcher = SweepConsole()
    watcher.on(Event("further", "trial", None, 4, 12, "cycles", share=0.2))
    clock.now = 60.0
    watcher.on(Event("further", "trial", None, 6, 12, "cycles", share=0.4))
    note = "strategy=cod seed=0: accuracy 0.9 with 60 labels"
    watcher.on(Event("ended", "trial", None, 2, 4, "trials", note=note))
    watcher.on(Event("ended", "trial", None, 3, 4, "trials", note="strategy=\x1b seed=0: failed"))

    assert stream.getvalue().splitlines() == [
        f"2 of 4 trials, about 3 min left  {note}",
        r"3 of 4 trials, about 3 min left  strategy=\x1b seed=0: failed",
    ]
    assert watcher._status(watcher.now).startswith("sweep, 6 of 12 cycles, 60 s, about 3 min")


def test_each_trial_that_runs_is_seen(monkeypatch):
    """Nobody would know which of them is slow, or stands still."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    watcher = SweepConsole()
    told = Event("further", "trial", None, 1, 12, "cycles", share=0.1, trial="a", cycles=(1, 6))
    watcher.on(told)
    watcher.on(replace(told, trial="[b]", cycles=(2, 6)))
    watcher.on(replace(told, cycles=(3, 6)))
    bars = [(bar.description, bar.completed) for bar in watcher.progress.tasks]

    assert [("sweep", 1), ("a", 3), (r"\[b]", 2)] == bars
    assert watcher._status(watcher.now).endswith("; a 3 of 6; [b] 2 of 6")
    watcher.on(Event("ended", "trial", None, 1, 2, "trials", note="a: good", trial="a"))

    assert ["sweep", r"\[b]"] == [bar.description for bar in watcher.progress.tasks]
    assert watcher._status(watcher.now).endswith("; [b] 2 of 6")
    assert "a 3 of 6" not in watcher._status(watcher.now)


@terminal
def test_a_bar_in_a_terminal(watch):
    """A user would look at a still screen."""
    record = Epochs()
    watcher, stderr = watch(record)
    with watcher:
        watcher.on(Event("begun", "train", 0))
        record.done = 3
        until(lambda: re.search(r"cycle 0  train.* 3/10.*epochs", stderr.getvalue()))
        watcher.on(Event("ended", "train", 0))
        watcher.on(Event("begun", "evaluate", 0))
        watcher.progress.refresh()
        evaluating = stderr.getvalue().split("evaluate")[-1]
        a_cycle(watcher)
        watcher.on(Event("begun", "score", 1))
        watcher.on(Event("further", "score", 1, 2, 3, "shards"))
        watcher.progress.refresh()
    shown = stderr.getvalue()

    assert "/10" not in evaluating and "epochs" not in evaluating
    assert " 2/3" in re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert f"cycle 0: 20 labels, {LONG} 0.1235" in re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is back


@terminal
@pytest.mark.parametrize(
    ("name", "value", "colours", "bar"),
    [("NO_COLOR", "1", False, True), ("TERM", "dumb", False, False)],
)
def test_terminals_that_want_less(watch, monkeypatch, name, value, colours, bar):
    """Colours where they were refused, or escape codes where nothing understands them."""
    monkeypatch.setenv(name, value)
    watcher, stderr = watch(Epochs())
    with watcher:
        watcher.on(Event("begun", "train", 0))
        watcher.progress.refresh()
        a_cycle(watcher)
    shown = stderr.getvalue()

    assert bool(re.search(r"\x1b\[[\d;]*[34]\d", shown)) == colours
    assert ("\x1b" in shown) == bar
    assert f"{LONG} 0.1235" in shown


@file
def test_progress_never_stops_a_run(watch, capfd):
    """A file that cannot be read for a moment would end a run, or the progress of all of it."""
    record = Epochs()
    watcher, stderr = watch(record)
    with watcher:
        watcher.on(Event("begun", "train", 0))
        record.done = None
        time.sleep(0.05)
        record.done = 7
        until(lambda: watcher.now.done == 7)
        a_cycle(watcher)

    assert stderr.getvalue().count("\n") == 1
    assert capfd.readouterr().err == ""
