"""One writer for a folder: refuses a second one, and stops a first one that was replaced.

Two guards, because neither is enough. `flock` on the file `lock` frees itself the instant its
process dies, but an old NFS keeps it to one machine, and other shared disks and object stores do
not have it. `lock.json` (host, pid, when it began, since, heartbeat) is seen everywhere, but stays
behind when its process is killed.
"""

import errno
import logging
import os
import socket
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from filelock import BaseFileLock, Timeout

from rayal.errors import BREAK_LOCK, LockedError, StorageError
from rayal.storage import process
from rayal.storage.failures import storage_errors, suggesting
from rayal.storage.file_lock import file_lock
from rayal.storage.folder import Folder, Json

FILE = "lock.json"
HEARTBEAT = 10.0
"""Seconds between two signs of life."""
STALE = 60.0
"""Seconds without a sign of life after which the holder may be dead."""
NO_FLOCK = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""What a disk answers that does not have it."""
SETTLE = 0.5
"""Seconds after which a process that started at the same moment has written its name."""

logger = logging.getLogger(__name__)


def utc_now() -> str:
    """The time as files hold it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def seconds_since(moment: str) -> float:
    """Seconds since a time written by `utc_now`; negative after a clock was set back."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def silence(folder: Folder) -> float | None:
    """Seconds since the last sign of life of who writes here; None where it ended in good order."""
    holder = _last_holder(folder)
    if holder is None or holder["released"]:
        return None
    return max(0.0, seconds_since(holder["heartbeat"]))


def died(folder: Folder) -> bool:
    """Whether who writes here was surely killed: a process of this machine that is gone. False
    also where nobody here can know."""
    holder = _last_holder(folder)
    return holder is not None and not holder["released"] and _has_died(holder)


class Lock:
    """The right to write in a folder, from `acquire` to `release`."""

    held: ClassVar[set[str]] = set()
    """The ids of those that this process holds."""
    attempt: int
    """Which writer of the folder this is, counted from 1: later ones have higher numbers."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._me: Json = {
            "id": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": process.this(),
        }
        self._flock: BaseFileLock | None = None
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="rayal-heartbeat", daemon=True)

    def acquire(self, break_lock: bool = False) -> None:
        """Become the writer, or raise LockedError that says who is, in less than 2 seconds.

        `break_lock` takes the lock from whoever has it; their next `check` fails.
        """
        try:
            if self._folder.local is not None:
                self._take_flock(break_lock)
            holder = self._holder()
            if not (break_lock or self._has_ended(holder)):
                raise self._refusal(holder)
            self._claim(holder)
            if break_lock or self._flock is None:  # without flock the last one to claim wins
                time.sleep(SETTLE)
                self.check()
        except BaseException:
            self._drop_flock()
            raise
        self.held.add(self._me["id"])
        self._heart.start()

    def check(self) -> None:
        """Raise LockedError if another writer took over; called just before whatever must not be.

        A pause of this process between the check and the write that follows goes unnoticed.
        """
        holder = self._holder()
        if holder is None or holder["id"] != self._me["id"]:
            raise LockedError(
                f"{self._folder.url} was taken over by {_described(holder)};"
                " this process stops, its unfinished stage is not kept"
            )

    def release(self, *, trace: bool = True) -> None:
        """Let the next writer in; a lock that was taken over stays with its new holder. Without
        `trace` nothing tells afterwards that there was a writer."""
        self.held.discard(self._me["id"])
        self._stop.set()
        self._heart.join(STALE)
        if self._heart.is_alive():  # nor would anything else that is written there end
            logger.warning("%s does not answer; its lock is not released", self._folder.url)
            return self._drop_flock()
        try:
            self.check()
            if trace:
                self._write(released=utc_now())
            else:
                self._folder.remove_all([FILE, *(["lock"] if self._flock else [])])
        except (LockedError, StorageError) as error:  # never hides the error that ends the run
            logger.warning("lock not released: %s", error)
        finally:
            self._drop_flock()

    def _take_flock(self, break_lock: bool) -> None:
        self._folder.make()
        if break_lock:
            self._folder.write("lock", b"")  # a new file; the old one keeps its lock, but no name
        with storage_errors(f"{self._folder.url}/lock"):
            flock = file_lock(Path(f"{self._folder.local}/lock"))
            try:
                flock.acquire(blocking=False)
                self._flock = flock
                return
            except Timeout:
                time.sleep(SETTLE)
            except OSError as error:
                if error.errno not in NO_FLOCK:
                    raise
                return
        raise self._refusal(self._holder())

    def _drop_flock(self) -> None:
        if self._flock is not None:
            self._flock.release()
            self._flock = None

    def _holder(self) -> Json | None:
        return _last_holder(self._folder)

    def _claim(self, previous: Json | None) -> None:
        self.attempt = 1 if previous is None else previous["attempt"] + 1
        self._me |= {"attempt": self.attempt, "since": utc_now()}
        self._write()

    def _write(self, released: str | None = None) -> None:
        self._folder.write_sealed(FILE, {**self._me, "heartbeat": utc_now(), "released": released})

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            try:
                self.check()
                self._write()
            except LockedError:
                return  # the driver learns it at its next check
            except StorageError as error:
                logger.warning("heartbeat: %s", error)

    def _has_ended(self, holder: Json | None) -> bool:
        if holder is None or holder["released"]:
            return True
        if holder["host"] != self._me["host"]:
            return False  # whether a process of another machine lives cannot be seen from here
        if self._flock is not None or _has_died(holder):
            return True
        return _is_stale(holder) and _is_gone(holder["pid"])

    def _refusal(self, holder: Json | None) -> LockedError:
        way_out = "wait until it ends, or stop it"
        if holder is not None and holder["id"] in self.held:
            way_out = (
                "that is this process itself: close the learner that has it open, or wait until"
                " what runs there ends"
            )
        elif holder is not None and _is_stale(holder):
            way_out = f"if that process is gone, add {BREAK_LOCK}"
        elif holder is not None and self._seems_gone(holder):
            way_out = (
                f"no such process is here: if it ran on this machine, add {BREAK_LOCK}, or wait"
                f" {STALE:.0f} s"
            )
        return LockedError(f"{self._folder.url} is locked by {_described(holder)}; {way_out}")

    def _seems_gone(self, holder: Json) -> bool:
        here = holder["host"] == self._me["host"] and holder["pid"] != os.getpid()
        return here and _is_gone(holder["pid"])


def _last_holder(folder: Folder) -> Json | None:
    """Whoever claimed the folder last, if anyone ever did."""
    with suggesting("delete it if no process writes there"):
        holder: Json | None = folder.read_sealed(FILE, default=None)
        return holder


def _has_died(holder: Json) -> bool:
    return process.has_ended(holder["pid"], holder.get("began"))  # an earlier rayal wrote none


def _is_stale(holder: Json) -> bool:
    return abs(seconds_since(holder["heartbeat"])) > STALE  # far in the future: a clock was wrong


def _is_gone(pid: int) -> bool:
    if pid == os.getpid():  # containers give each start the same pid
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _described(holder: Json | None) -> str:
    if holder is None:
        return "a process that left no name"
    age = max(0.0, seconds_since(holder["heartbeat"]))
    return (
        f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
        f" (last sign of life {age:.0f} s ago)"
    )
