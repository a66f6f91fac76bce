import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rayal.errors import LabelsPending, StorageError
from rayal.runs.trackers.base import Background, Tracker
from tests.support.doubles import NEWS

RECORD: Any = SimpleNamespace(folder=SimpleNamespace(url="/runs/a"))
NEVER = 3600.0
"""Seconds between two looks at a training, where a test wants none."""


class Fake(Tracker):
    """Keeps the calls; `work` is what a sync does."""

    calls: list[bool] = []
    work: Callable[[], None] = lambda: None

    def sync(self, record: Any, *, failed: bool = False) -> None:
        self.calls.append(failed)
        self.work()


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, at most 5 seconds."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_syncs_after_a_stage_and_at_the_end() -> None:
    """Without the first a run shows up when it is over, without the second its end is missing."""
    tracker = Fake(calls=[])
    with Background(tracker, RECORD, every=NEVER) as background:
        background.on(NEWS)
        until(lambda: len(tracker.calls) == 1)

    assert [False, False] == tracker.calls


def test_looks_at_a_training_by_itself() -> None:
    """No stage ends during a training of hours; its epochs would not show up."""
    tracker = Fake(calls=[])
    with Background(tracker, RECORD, every=0.01):
        until(lambda: len(tracker.calls) >= 3)

    assert {False} == set(tracker.calls)


def test_notices_during_a_sync_become_one() -> None:
    """A queue would grow while a server is slow."""
    slow = threading.Event()
    tracker = Fake(calls=[], work=lambda: None if slow.wait(5) else None)
    with Background(tracker, RECORD, every=NEVER) as background:
        background.on(NEWS)
        until(lambda: len(tracker.calls) == 1)
        for _ in range(1000):
            background.on(NEWS)
        slow.set()
        until(lambda: len(tracker.calls) == 2)

    assert 3 == len(tracker.calls)


@pytest.mark.parametrize(
    ("error", "failed"),
    [(ValueError("x"), True), (KeyboardInterrupt(), True), (LabelsPending("x"), False)],
)
def test_says_that_the_run_failed(error: BaseException, failed: bool) -> None:
    """A failed run would be shown as running for ever; a waiting one must not be failed."""
    tracker = Fake(calls=[])
    with pytest.raises(type(error)), Background(tracker, RECORD, every=NEVER):
        raise error

    assert [failed] == tracker.calls


def test_failures_are_one_warning_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is down must neither stop a run nor fill its log."""

    def fail() -> None:
        raise StorageError("no server")

    tracker = Fake(calls=[], work=fail)
    with caplog.at_level(logging.WARNING), Background(tracker, RECORD, every=0.01):
        until(lambda: len(tracker.calls) >= 3)

    assert ["tracking: no server; the run goes on, send the rest with: rayal sync /runs/a"] == [
        record.getMessage() for record in caplog.records
    ]


def test_a_hanging_tracker_does_not_hold_the_run(caplog: pytest.LogCaptureFixture) -> None:
    """A run that has ended would wait for a server that never answers."""
    forever = threading.Event()
    tracker = Fake(calls=[], work=lambda: None if forever.wait(30) else None)
    background = Background(tracker, RECORD, every=NEVER)
    background.on(NEWS)
    until(lambda: len(tracker.calls) == 1)
    started = time.monotonic()
    for _ in range(1000):
        background.on(NEWS)
    background.close(0.2)
    forever.set()

    assert time.monotonic() - started < 5
    assert "not finished within 0.2 s" in caplog.text


def test_the_last_sync_sees_the_end_of_the_run() -> None:
    """A sync that began before the end misses it, so one more must follow."""
    state, seen, slow = ["running"], [], threading.Event()

    def look() -> None:
        seen.append(state[0])
        slow.wait(5)

    background = Background(Fake(calls=[], work=look), RECORD, every=NEVER)
    background.on(NEWS)
    until(lambda: len(seen) == 1)
    state[0] = "complete"
    threading.Timer(0.05, slow.set).start()
    background.close(5)

    assert ["running", "complete"] == seen
