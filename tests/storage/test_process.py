"""rayal.storage.process: death is said only where it is certain."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rayal.storage import process

TOLD = process.this()
pytestmark = pytest.mark.skipif(TOLD is None, reason="this system does not tell when it began")
SAYS_ITSELF = "from rayal.storage import process; print(process.this(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that waits, and what it says of itself."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SAYS_ITSELF], stdin=pipe, stdout=pipe, text=True
    ) as p:
        assert p.stdout is not None
        yield p, p.stdout.readline().strip()
        p.kill()


def test_a_killed_process_has_ended(other: tuple[subprocess.Popen[str], str]) -> None:
    """At once: also while its parent has not asked how it ended (a zombie)."""
    p, began = other
    alive = process.has_ended(p.pid, began)
    os.kill(p.pid, signal.SIGKILL)
    os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)
    zombie = process.has_ended(p.pid, began)
    p.wait()

    assert (False, True, True) == (alive, zombie, process.has_ended(p.pid, began))


def test_this_process_lives() -> None:
    assert TOLD == process.this() and not process.has_ended(os.getpid(), TOLD)


def test_a_number_that_was_given_again() -> None:
    """The run of a dead process would go on for as long as another one has its number."""
    assert TOLD is not None
    here, _, started = TOLD.rpartition(" ")

    assert process.has_ended(os.getpid(), f"{here} {int(started) - 1}")


@pytest.mark.parametrize("part", range(2))
def test_elsewhere_nothing_is_known(part: int, other: tuple[subprocess.Popen[str], str]) -> None:
    """Another machine or boot, and a container with the same host name: the same number is another
    process there."""
    p, began = other
    p.kill()
    p.wait()
    words = began.split()
    words[part] = "another"

    assert not process.has_ended(p.pid, " ".join(words))


@pytest.mark.parametrize("began", [None, "", "x", "x y"])
def test_what_an_earlier_rayal_wrote_says_nothing(began: str | None) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()

    assert not process.has_ended(dead.pid, began)


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Without /proc, or with that of another namespace, numbers say nothing."""
    monkeypatch.setattr(process, "PROC", tmp_path)

    assert process.this() is None and not process.has_ended(os.getpid(), TOLD)
