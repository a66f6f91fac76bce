"""One process at a time, whichever version of rayal it runs."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest
from filelock import Timeout

from rayal.errors import StorageError
from rayal.storage.file_lock import alone, file_lock


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
