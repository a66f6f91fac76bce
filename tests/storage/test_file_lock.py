"""One process at a time, whichever version of rayal it runs."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest
from filelock import FileLock, Timeout

from rayal.errors import StorageError
from rayal.storage import file_lock as module
from rayal.storage.file_lock import _take_turn, alone, file_lock


def test_an_older_version_and_this_one_exclude_each_other(tmp_path: Path) -> None:
    """Two versions at work in one folder would prepare a dataset twice, one into the other."""
    file = tmp_path / "lock"
    with open(file, "w") as older:
        fcntl.flock(older, fcntl.LOCK_EX)
        with pytest.raises(Timeout):
            file_lock(file).acquire(blocking=False)
    with alone(file), open(file, "w") as older, pytest.raises(BlockingIOError):
        fcntl.flock(older, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_file_stays(tmp_path: Path) -> None:
    """Who waits has it open: a new file would let the next process in beside them."""
    file = tmp_path / "deep" / "lock"
    with alone(file):
        first = file.stat().st_ino
    with alone(file):
        pass

    assert first == file.stat().st_ino
    assert [file] == list(file.parent.iterdir())


def test_a_failure_inside_lets_the_next_in(tmp_path: Path) -> None:
    """One failed preparation would keep every other process waiting for ever."""
    with pytest.raises(ZeroDivisionError), alone(tmp_path / "lock"):
        raise ZeroDivisionError
    with alone(tmp_path / "lock"):
        pass


def test_any_thread_may_release(tmp_path: Path) -> None:
    """A run that ends in another thread than it began in would keep its folder locked."""
    lock = file_lock(tmp_path / "lock")
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()

    assert not lock.is_locked


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK])
def test_a_disk_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A file that only says "locked" would stay behind when its process is killed."""

    def lacks(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", lacks)
    with (
        pytest.raises(StorageError, match=f"/lock: {os.strerror(error)}"),
        alone(tmp_path / "lock"),
    ):
        pass


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A file that is locked as by another process."""
    other = file_lock(tmp_path / "lock")
    other.acquire()
    yield tmp_path / "lock"
    other.release()


def test_a_wait_ends(
    held: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped in there would stop every other one, without a line."""
    monkeypatch.setattr(module, "LOOK", 0.05)
    with (
        caplog.at_level("INFO", "rayal"),
        pytest.raises(StorageError, match=rf"{held} has been held .* by pid {os.getpid()} \("),
        alone(held, 0.1),
    ):
        pass

    assert f"waiting for pid {os.getpid()}" in caplog.text


def test_a_system_that_does_not_tell_who(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system has other ways to say it, and a message all the same."""
    monkeypatch.setattr(module, "LOCKS", held.with_name("absent"))
    with pytest.raises(StorageError, match="by another process, without"), alone(held, 0.05):
        pass


def test_who_goes_on_is_waited_for(held: Path) -> None:
    """A large dataset takes hours to prepare, and whoever waits would give up."""
    looks = list(range(5))
    with pytest.raises(StorageError), alone(held, 0.05, lambda: looks and looks.pop()):
        pass

    assert [] == looks


def test_many_holders_in_turn_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many trials that write to one database, those at the end of the queue would give up."""
    file, turns, refused = tmp_path / "lock", list[bytes](), FileLock.acquire
    with alone(file):
        pass

    def another_is_faster(lock: FileLock, timeout: float) -> object:
        if len(turns) < 5:
            _take_turn(file)
            turns.append(file.read_bytes())
            sleep(0.02)
            raise Timeout(str(file))
        return refused(lock, timeout=timeout)

    monkeypatch.setattr(FileLock, "acquire", another_is_faster)
    with alone(file, 0.01):
        assert 6 == len({*turns, file.read_bytes()})


def test_a_stopped_holder_is_told(tmp_path: Path) -> None:
    """Nobody would know that the other process waits for a signal."""
    program = (
        "import fcntl, os, signal, sys; file = open(sys.argv[1], 'w');"
        "fcntl.flock(file, fcntl.LOCK_EX); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    file = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", program, str(file)]) as process:
        os.waitpid(process.pid, os.WUNTRACED)
        with pytest.raises(StorageError, match=f"stopped: kill -CONT {process.pid}"):
            with alone(file, 0.05):
                pass
        process.send_signal(signal.SIGCONT)
        with alone(file):
            pass
