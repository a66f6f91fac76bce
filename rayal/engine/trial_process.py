"""A process that runs trials of a sweep, one after the other; see `processes`, which starts it."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import IO, Any

from rayal.engine.messages import read_message, write_message


def begin() -> None:
    """What the process does, to its end."""
    try:
        main()
    except KeyboardInterrupt:
        os._exit(130)


def main() -> None:
    """Takes the work, then trials, from stdin until that is closed; says on what was stdout how
    each goes, whatever else prints there."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    signal.signal(signal.SIGTERM, _interrupt)
    asked: Queue[Any] = Queue()
    begun = read_message(sys.stdin.buffer)
    if begun is None:
        return
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()

    import cloudpickle
    import torch

    torch.set_num_threads(begun["threads"])
    say = _Say(out)
    logging.getLogger("rayal").addHandler(say)
    work, engine = cloudpickle.loads(begun["work"])
    while (trial := asked.get()) is not None:
        say("end", _run(work, engine, trial, say))


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


def _listen(pipe: IO[bytes], asked: "Queue[Any]") -> None:
    """Hands trials on, up to a None. A pipe that ends before tells that the other process has died:
    a trial must not go on then, where nobody waits for it and others may begin it anew."""
    while (message := read_message(pipe)) is not None:
        asked.put(message[0])
        if message[0] is None:
            return
    os._exit(1)


def _run(work: Any, engine: Any, trial: Any, say: _Say) -> Any:
    """Runs a trial; returns its error, if any, described."""
    from rayal.engine.described import described
    from rayal.experiment.sweep.trials import Assignment

    @contextmanager
    def opened() -> Iterator[Any]:
        made = engine()
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
