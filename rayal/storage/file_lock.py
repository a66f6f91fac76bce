"""The lock of the operating system on a local file: it ends with its process, whatever ends that.

A lock file stays where it is: were it deleted, one process could hold the old file and another the
new one. No other kind of lock stands in where a disk has none, as that one would outlive a kill.
"""

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from filelock import BaseFileLock, FileLock, Timeout

from rayal.errors import StorageError
from rayal.storage.failures import storage_errors

PATIENCE = 60.0
"""Seconds without a sign of life after which a lock is waited for no longer."""
LOOK = 5.0
"""Seconds between looks at what the holder does; a line is told after the first."""
LOCKS = Path("/proc/locks")

logger = logging.getLogger(__name__)


def file_lock(file: Path) -> BaseFileLock:
    """The lock on this file, not yet acquired; any thread may release it.

    It is `flock`, as in every version of rayal, so that they exclude each other.
    """
    return FileLock(file, thread_local=False, preserve_lock_file=True)


@contextmanager
def alone(
    file: Path, patience: float = PATIENCE, sign: Callable[[], object] | None = None
) -> Iterator[None]:
    """Wait until no other process, nor thread, of this machine is in here with this file.

    Raises StorageError where it cannot be made, its disk has no locks, or, naming the holder, when
    the same one has held it for `patience` seconds; with a `sign`, only once what it returns has
    not changed for so long.
    """
    lock = file_lock(file)
    with storage_errors(str(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, file, patience, lambda: (_turn(file), sign and sign()))
    try:
        _take_turn(file)
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, file: Path, patience: float, sign: Callable[[], object]) -> None:
    seen, since, told = sign(), monotonic(), False
    while True:
        try:
            lock.acquire(timeout=min(LOOK, patience))
            return
        except Timeout:
            now = sign()
        if now != seen:
            seen, since = now, monotonic()
        elif monotonic() - since >= patience:
            raise StorageError(
                f"{file} has been held for {patience:.0f} s by {_holder(file)}, without a sign of"
                " life; wait for it, or stop it, and run the same command again"
            )
        if not told:
            told = True
            logger.info("waiting for %s, which holds %s", _holder(file), file)


def _take_turn(file: Path) -> None:
    """Leave what no other holder leaves, so that who waits sees that it goes on."""
    with suppress(OSError):  # a full disk: they wait no longer than for one holder
        file.write_text(f"{os.getpid()} {uuid.uuid4().hex}\n")


def _turn(file: Path) -> bytes:
    """Whose turn it is; nothing where that is not told, as by an older rayal."""
    with suppress(OSError):
        return file.read_bytes()
    return b""


def _holder(file: Path) -> str:
    """Who has locked a file, as far as this system tells."""
    with suppress(OSError, ValueError, IndexError):
        inode = file.stat().st_ino
        for line in LOCKS.read_text().splitlines():
            _, kind, _, _, pid, place, *_ = line.split()
            if kind == "FLOCK" and int(place.rpartition(":")[2]) == inode:
                return f"pid {pid}{_described(pid)}"
    return "another process"


def _described(pid: str) -> str:
    """Its command, and whether it is stopped."""
    with suppress(OSError, IndexError):
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        stopped = f", stopped: kill -CONT {pid}" if state == "T" else ""
        return f" ({command:.80}{stopped})"
    return ""
