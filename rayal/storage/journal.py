"""A folder with one writer, whose stages are finished when they hold `done.json`, written last.

    run.json  identity.json  lock  lock.json  ended.json  <stage>/{files of the stage, done.json}

Nothing is remembered outside the folder, so work that was killed continues from it alone.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from os.path import commonprefix
from typing import Any, NamedTuple, Self

import rayal
from rayal.blame import told
from rayal.errors import (
    FEW,
    OUT,
    LabelsPending,
    LockedError,
    RayalError,
    StorageError,
    UsageError,
    cut,
)
from rayal.secrets import hidden
from rayal.storage.failures import suggesting
from rayal.storage.folder import MISSING, Folder, Json
from rayal.storage.lock import Lock, utc_now
from rayal.storage.stage_file import DONE as DONE
from rayal.storage.stage_file import way_out

FORMAT = 1
"""Layout of a folder; a later rayal may write another."""
ENDED = "ended.json"
"""How the work ended before its end; for people, and gone when it goes on."""
LONGEST = 300  # characters of a message that is left
TELLING = ("name", "dataset.name")
"""The differences that tell most of two experiments."""
BEFORE = 8
"""Signs of a long value that are shown before the first that differs."""

logger = logging.getLogger(__name__)


class Journal:
    """The only writer of a folder, inside `with Journal(folder, identity) as journal:`."""

    def __init__(
        self,
        folder: Folder,
        identity: Json,
        *,
        break_lock: bool = False,
        newer: Sequence[str] = (),
        grows: Mapping[str, Callable[[Any], None]] | None = None,
        open_keys: Sequence[str] = (),
    ) -> None:
        """`identity`: what a run must have in common to be continued, see Experiment.identity.

        `newer`: keys of it that folders of an older rayal lack; `grows`: those of numbers, such as
        `budget.total`, that may be larger than they were, and what looks at the old one then: it
        may raise LockedError. `open_keys` may be anything.
        """
        self.folder = folder
        self._newer, self._grows, self._open_keys = newer, grows or {}, open_keys
        self.grown = False
        """Whether it asks for more than the folder was made for, until that is recorded."""
        self._withdrawn = False
        self._identity = json.loads(json.dumps(identity))
        self._break_lock = break_lock
        self._lock = Lock(folder)

    def __enter__(self) -> Self:
        """Raises LockedError where another process writes, or the run has another identity."""
        self._lock.acquire(self._break_lock)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, _: object = None, error: BaseException | None = None, *__: object) -> None:
        if error is not None and not self._withdrawn:
            self._tell(error)
        self._lock.release(trace=not self._withdrawn)
        if self._withdrawn:
            self.folder.delete_empty()

    def withdraw(self) -> None:
        """Takes back that the folder is of this work, which was refused before it had made
        anything: what is asked instead may have the folder. Whatever else was written there has to
        be removed before."""
        self._lock.check()
        for name in ("identity.json", ENDED, "run.json"):
            self.folder.remove(name)
        self._withdrawn = True

    def _tell(self, error: BaseException) -> None:
        """Leaves word of how the work ended before its end, for `status`; none of work that was
        to be extended and never began: all is as it was."""
        if self.grown:
            return
        if isinstance(error, SystemExit) and error.code == 0:  # so Ray Tune ends a trial
            how, message = "stopped", "stopped early by its sweep"
        elif not isinstance(error, Exception):
            how, message = "interrupted", "the same command continues it"
        else:
            how = "waiting" if isinstance(error, LabelsPending) else "crashed"
            message = hidden(str(error) if isinstance(error, RayalError) else told(error))
            message = " ".join(message.split())[:LONGEST]
        with suppress(LockedError, StorageError):  # of the error itself more is said elsewhere
            self._lock.check()
            self.folder.write_json(ENDED, {"how": how, "message": message, "when": utc_now()})

    def done_once(self, out: Folder, work: Callable[[Folder], Json], **beside: str) -> Json:
        """The result of the stage in this folder; `work` makes it, there, unless it is there.

        `beside` is recorded with the result that is made now.
        Work that was cut short runs again in the same folder, where it finds the files that it
        had written whole. Raises LockedError instead of recording the result where another
        process took over.
        """
        if not is_done(out):
            self._lock.check()
            attempt = {"attempt": self._lock.attempt, "started": utc_now()}
            out.write_json("started.json", attempt)
            started = time.monotonic()
            result = work(out)
            seconds = time.monotonic() - started
            done = {
                "result": result,
                **beside,
                **attempt,
                "seconds": seconds,
                "finished": utc_now(),
            }
            self._lock.check()
            out.write_sealed(DONE, done)  # last: its existence means the stage is finished
        recorded: Json = read_done(out)["result"]  # whether it was made now or before
        return recorded

    def _open(self) -> None:
        run = self.folder.read_sealed("run.json", default=None)
        if run is None:
            self._tell_swept(self.folder.sweep_new())
            run = {"id": uuid.uuid4().hex, "created": utc_now(), "rayal": rayal.__version__}
            self.folder.write_sealed("run.json", {**run, "format": FORMAT})
        elif run["format"] > FORMAT:
            raise UsageError(
                f"{self.folder.url} was made by rayal {run['rayal']}, this is {rayal.__version__};"
                " use that version, or a later one"
            )
        else:  # a run, and it is ours: temporary files in it are leftovers of killed writers
            self._tell_swept(self.folder.sweep())
        self._compare_identity()
        if not self.grown:
            self.folder.remove(ENDED)

    def _tell_swept(self, paths: Sequence[str]) -> None:
        for path in paths:
            logger.info("removed the unfinished file %s", path)

    @property
    def attempt(self) -> int:
        """Which writer of the folder this is, see `Lock`."""
        return self._lock.attempt

    def keep_identity(self) -> None:
        """Records what has grown: once it is sure that the work goes on."""
        self.folder.write_sealed("identity.json", self._identity)
        if self.grown:
            self.grown = False
            self.folder.remove(ENDED)

    def check_lock(self) -> None:
        """Raises LockedError where another process took over."""
        self._lock.check()

    def check(self) -> None:
        """Raises LockedError where the folder is of another identity; it is neither locked nor
        written for that."""
        self._compare()

    def _compare_identity(self) -> None:
        if self._compare() and not self.grown:
            self.keep_identity()

    def _compare(self) -> bool:
        """Whether what is recorded differs, or nothing is; raises as `check`."""
        recorded = self.folder.read_sealed("identity.json", default=None)
        changes = [] if recorded is None else list(_changes(recorded, self._identity))
        grown = [c for c in changes if c.at in self._grows and c.grows]
        free = [c for c in changes if c.top in self._open_keys]
        free += [c for c in changes if c.top in self._newer and c.old is MISSING]
        if others := [str(change) for change in changes if change not in grown + free]:
            raise LockedError(
                f"{self.folder.url} holds another experiment (there -> here): {listed(others)};"
                f" use another {OUT}, or the values that are there"
            )
        for change in grown:
            self._grows[change.at](change.old)
        self.grown = bool(grown)
        return recorded is None or bool(changes)


def ended(folder: Folder) -> tuple[str, str]:
    """How the work in a folder ended before its end, and the message: `waiting` for people,
    `stopped` by its sweep, `interrupted`, or `crashed` with an error.

    It decides nothing: where the file is damaged, it is as if there were none.
    """
    try:
        told = folder.read_json(ENDED, default={})
    except StorageError:
        told = {}
    said = told if isinstance(told, dict) else {}
    return str(said.get("how", "interrupted")), str(said.get("message", ""))


def is_done(out: Folder) -> bool:
    """Whether the stage in this folder is finished."""
    return out.holds(DONE)


def read_done(out: Folder) -> Json:
    """What is recorded of a finished stage: result, attempt, seconds, finished (UTC)."""
    with suggesting(way_out(out)):
        done: Json = out.read_sealed(DONE)
        return done


class _Change(NamedTuple):
    """One leaf of the identity that differs."""

    at: str
    """Its key, such as `scheme.lr`."""
    old: Any
    new: Any

    def __str__(self) -> str:
        old, new = _shown(self.old), _shown(self.new)
        if cut(old) == cut(new):  # long lists that begin alike
            alike = len(commonprefix([old, new]))
            old, new = (f"...{each[alike - BEFORE :]}" for each in (old, new))
        return f"{self.at}: {cut(old)} -> {cut(new)}"

    @property
    def top(self) -> str:
        """Its key among those of the identity itself."""
        return self.at.partition(".")[0]

    @property
    def grows(self) -> bool:
        """Whether it is a number that is larger now."""
        numbers = isinstance(self.old, int | float) and isinstance(self.new, int | float)
        return numbers and self.new > self.old


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """`scheme.lr: 0.1 -> 0.05` for every leaf of two JSON values that differs."""
    return [str(change) for change in _changes(old, new, at)]


def listed(changes: Sequence[str]) -> str:
    """Differences for a message: of the name and the dataset, then the first few others, and how
    many more there are."""
    telling = sorted(changes, key=lambda change: change.partition(":")[0] not in TELLING)
    more = len(telling) - FEW
    return ", ".join(telling[:FEW]) + (f" and {more} more" if more > 0 else "")


def _changes(old: Any, new: Any, at: str = "") -> Iterator[_Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        dots = f"{at}." if at else ""
        for key in {**old, **new}:
            yield from _changes(old.get(key, MISSING), new.get(key, MISSING), f"{dots}{key}")
    elif old != new:
        yield _Change(at, old, new)


def _shown(value: Any) -> str:
    return "(absent)" if value is MISSING else json.dumps(value)
