"""The lock of the operating system on a local file: it ends with its process, whatever ends that.

A lock file stays where it is: were it deleted, one process could hold the old file and another the
new one. No other kind of lock stands in where a disk has none, as that one would outlive a kill.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock

from rayal.storage.folder import storage_errors


def file_lock(file: Path) -> BaseFileLock:
    """The lock on this file, not yet acquired; any thread may release it.

    It is `flock`, as in every version of rayal, so that they exclude each other.
    """
    return FileLock(file, thread_local=False, preserve_lock_file=True)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait until no other process, nor thread, of this machine is in here with this file.

    Raises StorageError where it cannot be made, or its disk has no locks.
    """
    lock = file_lock(file)
    with storage_errors(str(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
