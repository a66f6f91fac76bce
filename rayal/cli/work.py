"""What commands do before and around their work: plugins, signals."""

import os
import signal
import sys
import time

from rayal.plugins import Plugins

INTERRUPTED = 130
AGAIN_SECONDS = 0.5
"""Signals this close together are one: `timeout` and some launchers send each of them twice."""

_interrupted: float | None = None  # when the first signal came


def catch_signals() -> None:
    """Ctrl-C and SIGTERM, with which Slurm and Kubernetes stop a job, do the same."""
    global _interrupted
    _interrupted = None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    """The first signal ends the command in good order, a later one at once."""
    global _interrupted
    now = time.monotonic()
    if _interrupted is None:
        _interrupted = now
        raise KeyboardInterrupt
    if now - _interrupted > AGAIN_SECONDS:
        cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""  # the progress bar hides it
        os.write(2, cursor + b"rayal: stopped at once; the same command continues the run\n")
        os._exit(INTERRUPTED)


def allowed(packages: list[str]) -> Plugins:
    """These packages as plugins; they may lie in the working directory."""
    if packages:
        sys.path.append(os.getcwd())  # last: a file there never stands in for an installed package
    return Plugins(packages)
