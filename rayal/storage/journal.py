"""A folder with one writer, whose stages are finished when they hold `done.json`, written last.

    run.json  identity.json  lock  lock.json  <stage>/{files of the stage, done.json}

Nothing is remembered outside the folder, so work that was killed continues from it alone.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, Self

import rayal
from rayal.errors import LockedError, UsageError
from rayal.storage.folder import MISSING, Folder, Json, suggesting
from rayal.storage.lock import Lock, utc_now

FORMAT = 1
"""Layout of a folder; a later rayal may write another."""
DONE = "done.json"

logger = logging.getLogger(__name__)


class Journal:
    """The only writer of a folder, inside `with Journal(folder, identity) as journal:`."""

    def __init__(self, folder: Folder, identity: Json, *, break_lock: bool = False) -> None:
        """`identity`: what a run must have in common to be continued, see Experiment.identity."""
        self.folder = folder
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

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def done_once(self, out: Folder, work: Callable[[Folder], Json]) -> Json:
        """The result of the stage in this folder; `work` makes it, there, unless it is there.

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
            done = {"result": result, **attempt, "seconds": seconds, "finished": utc_now()}
            self._lock.check()
            out.write_sealed(DONE, done)  # last: its existence means the stage is finished
        recorded: Json = read_done(out)["result"]  # whether it was made now or before
        return recorded

    def _open(self) -> None:
        run = self.folder.read_sealed("run.json", default=None)
        if run is None:
            run = {"id": uuid.uuid4().hex, "created": utc_now(), "rayal": rayal.__version__}
            self.folder.write_sealed("run.json", {**run, "format": FORMAT})
        elif run["format"] > FORMAT:
            raise UsageError(
                f"{self.folder.url} was made by rayal {run['rayal']}, this is {rayal.__version__};"
                " upgrade: pip install -U rayal"
            )
        else:  # a run, and it is ours: temporary files in it are leftovers of killed writers
            for path in self.folder.sweep():
                logger.info("removed the unfinished file %s", path)
        self._compare_identity()

    def _compare_identity(self) -> None:
        recorded = self.folder.read_sealed("identity.json", default=None)
        if recorded is None:
            self.folder.write_sealed("identity.json", self._identity)
        elif changes := differences(recorded, self._identity):
            raise LockedError(
                f"{self.folder.url} holds another experiment (there -> here): {', '.join(changes)};"
                " use another --out, or the values that are there"
            )


def is_done(out: Folder) -> bool:
    """Whether the stage in this folder is finished."""
    return out.exists(DONE)


def read_done(out: Folder) -> Json:
    """What is recorded of a finished stage: result, attempt, seconds, finished (UTC)."""
    with suggesting(way_out(out)):
        done: Json = out.read_sealed(DONE)
        return done


def way_out(out: Folder) -> str:
    """What helps where a finished stage is damaged."""
    return f"delete the folder {out.url} to do that stage again"


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """`scheme.lr: 0.1 -> 0.05` for every leaf of two JSON values that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = {**old, **new}
        dots = f"{at}." if at else ""
        pairs = [(old.get(k, MISSING), new.get(k, MISSING), f"{dots}{k}") for k in keys]
        return [change for pair in pairs for change in differences(*pair)]
    return [] if old == new else [f"{at}: {_shown(old)} -> {_shown(new)}"]


def _shown(value: Any) -> str:
    return "(absent)" if value is MISSING else json.dumps(value)
