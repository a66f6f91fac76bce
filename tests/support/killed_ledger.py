"""A small experiment of nothing but its ledger, killed before its n-th change of the file system.

Each is a process of its own; see forks.py.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from rayal.errors import LockedError
from rayal.labeling.oracles.base import Label
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.result import StageResult
from rayal.runs.results import Initial, Labeled
from rayal.storage import lock
from rayal.storage.folder import Folder
from tests.support import forks

REFUSED = 6
"""Exit code of a driver that another one keeps out."""
CHANGES = ("os.rename", "os.mkdir", "os.remove")
WRITING = os.O_WRONLY | os.O_RDWR


class Made(StageResult):
    stage = "train"
    attempt: int


def drive(folder: Folder, *, kill_at: int = 0, cycles: int = 2) -> int | None:
    """How a driver ends: 0, `REFUSED`, or -9 where the kill came before the end."""
    process = forks.started(_driver, folder.url, kill_at, cycles)
    process.join(forks.SECONDS)
    code: int | None = process.exitcode
    return code


def _driver(url: str, kill_at: int, cycles: int) -> None:
    lock.SETTLE = 0.01
    _die_at(kill_at, url)
    try:
        _run(url, cycles)
    except LockedError:
        sys.exit(REFUSED)


def _run(url: str, cycles: int) -> None:
    with Ledger(Folder(url), {"seed": 1}) as ledger:
        ledger.once(0, Initial, lambda out: _label(ledger, 0, out))
        while (cycle := ledger.state().cycle) < cycles:
            ledger.once(cycle, Made, lambda out: Made(attempt=ledger._lock.attempt))
            ledger.once(cycle, Labeled, lambda out, cycle=cycle: _label(ledger, cycle, out))


def _label(ledger: Ledger, cycle: int, out: Folder) -> Any:
    state = ledger.state()
    known = len(state.labels) + len(state.refused)
    values = [known, None if cycle == 1 else 7, 5]
    return write_labels(out, {f"unit-{known + i}": Label(v, 0.1) for i, v in enumerate(values)})


def _die_at(n: int, url: str) -> None:
    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal n
        changes = event in CHANGES or (event == "open" and (args[2] or 0) & WRITING)
        if changes and str(args[0]).startswith(url):
            n -= 1
            if n == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    assert Path(url).is_absolute(), url
    sys.addaudithook(count)
