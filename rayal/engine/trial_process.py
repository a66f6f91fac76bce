"""What a process of `processes` does: trials of a sweep, one after the other."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import IO, Any

import torch

from rayal.engine.described import described
from rayal.engine.local import LocalEngine
from rayal.engine.messages import read_message, write_message
from rayal.engine.watching import Work
from rayal.experiment.compute import Compute
from rayal.experiment.sweep.trials import Assignment
from rayal.storage.folder import Json


def run_trials(work: Work, compute: Compute, threads: int) -> None:
    """Takes trials from stdin, up to a None; says on what was stdout how each goes, whatever else
    prints there."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _interrupt)
    asked: Queue[Any] = Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()
    torch.set_num_threads(threads)
    say = _Say(out)
    logging.getLogger("rayal").addHandler(say)
    while (trial := asked.get()) is not None:
        say("end", _run(work, compute, trial, say))


class _Say(logging.Handler):
    """Tells the other process something, warnings too, from whatever thread."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__(logging.WARNING)
        self.out, self._one = out, threading.Lock()

    def __call__(self, *message: Any) -> None:
        with self._one:
            write_message(self.out, message)

    def emit(self, record: logging.LogRecord) -> None:
        self("warning", record.name, record.getMessage())


def _listen(pipe: IO[bytes], asked: Queue[Any]) -> None:
    """Hands trials on, up to a None. A pipe that ends before tells that the other process has died:
    a trial must not go on then, where nobody waits for it and others may begin it anew."""
    while (message := read_message(pipe)) is not None:
        asked.put(message[0])
        if message[0] is None:
            return
    os._exit(1)


def _run(work: Work, compute: Compute, trial: Json, say: _Say) -> Json | None:
    """Runs a trial; returns its error, if any, described."""

    @contextmanager
    def opened() -> Iterator[Any]:
        made = LocalEngine(compute)
        try:
            yield made
        finally:
            made.close()

    def report(cycles: int, objective: float) -> None:
        say("cycle", cycles)

    try:
        work(Assignment(**trial), opened, report)
    except Exception as error:
        return described(error)
    return None


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
