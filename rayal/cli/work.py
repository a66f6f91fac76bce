"""What commands do before and around their work: plugins, signals."""

import os
import signal
import sys
import time

from rayal.plugins import Plugins

INTERRUPTED = 130
AGAIN_SECONDS = 0.5
"""Signals this close together are one: `timeout` and some launchers send each of them twice."""

CONTINUING = frozenset({"demo", "features", "run", "score", "sweep"})
"""Commands that go on, given again, where they were ended."""

_interrupted: float | None = None  # when the first signal came
_again = ""


def catch_signals(command: str = "") -> None:
    """Ctrl-C and SIGTERM, with which Slurm and Kubernetes stop a job, do the same."""
    global _interrupted, _again
    _interrupted = None
    _again = "; the same command continues the run" if command in CONTINUING else ""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def interrupted() -> str:
    """What to say at the end, and what to do where there is something to continue."""
    return f"interrupted{_again}"


def _interrupt(*_: object) -> None:
    """The first signal ends the command in good order, a later one at once."""
    global _interrupted
    now = time.monotonic()
    if _interrupted is None:
        _interrupted = now
        raise KeyboardInterrupt
    if now - _interrupted > AGAIN_SECONDS:
        cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""  # the progress bar hides it
        os.write(2, cursor + f"rayal: stopped at once{_again}\n".encode())
        os._exit(INTERRUPTED)


def allowed(packages: list[str]) -> Plugins:
    """These packages as plugins; they may lie in the working directory. Raises UsageError for one
    that is nowhere, which would allow nothing."""
    if packages:
        sys.path.append(os.getcwd())  # last: a file there never stands in for an installed package
    plugins = Plugins(packages)
    plugins.check()
    return plugins
