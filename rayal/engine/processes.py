"""Trials of a sweep in processes of this machine, without a cluster: where each is one process
anyway, and all of them are known.

A process runs one trial after the other: torch is imported once. What it says comes back through a
pipe. It ends with the process that started it, however that ends, and what it has done of its trial
is in the run folder.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import IO, Any

import cloudpickle

from rayal.engine import machine
from rayal.engine.local import LocalEngine
from rayal.engine.messages import read_message, write_message
from rayal.engine.watching import Watcher, Work
from rayal.errors import ClusterError
from rayal.experiment.experiment import Compute
from rayal.experiment.sweep.settings import Sweep
from rayal.experiment.sweep.trials import Assignment
from rayal.storage.folder import Json

ADDRESS = "RAY_ADDRESS"
PATIENCE = 10.0
"""Seconds in which a process ends in good order when the sweep is interrupted."""
SAID = 2000  # bytes of what a process has said before it died
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
BEGIN = """
import contextlib, logging, os, pickle, queue, signal, struct, sys, threading, typing
sys.path[:] = sys.argv[1:]
from rayal.engine.trial_process import begin
begin()
"""
"""What a process runs: what this one imports, from the same places. The working folder is one of
them only where it is so here (-P): a file queue.py there is no module of Python's."""

logger = logging.getLogger(__name__)


def suffices(sweep: Sweep, compute: Compute, address: str | None) -> bool:
    """Whether processes of this machine can run it: trials that are one process each, on cores, of
    which none is drawn or stopped while others run; and nobody has named a cluster."""
    own = (address or os.environ.get(ADDRESS) or "local") == "local"
    known = sweep.search == "random" and sweep.early_stopping is None
    return own and known and compute.engine == "local" and not sweep.gpus


class TrialProcesses:
    """Runs trials of a sweep on the cores of this machine."""

    def __init__(self, sweep: Sweep, compute: Compute, work: Work, watcher: Watcher) -> None:
        """Raises ClusterError where there is no room for a single trial."""
        cores = machine.cores()
        room = int(cores // sweep.cpus)
        if not room:
            raise ClusterError(
                f"a trial takes {sweep.cpus:g} cores (sweep.cpus), but this machine has {cores};"
                " lower it"
            )
        self.room = min(room, sweep.concurrent or room)
        self.threads = max(1, int(sweep.cpus))
        self.most = sweep.max_failures
        self.work = cloudpickle.dumps((work, partial(LocalEngine, compute)))
        self.watcher, self._telling = watcher, threading.Lock()
        self._processes, self._warned = set[_TrialProcess](), set[str]()
        self._ended = False

    def run(self, todo: Sequence[Assignment]) -> None:
        """These trials, some at a time, in this order."""
        left, failed = deque(todo), Counter[str]()
        with ThreadPoolExecutor(min(self.room, max(len(todo), 1))) as threads:
            try:
                lanes = [threads.submit(self._lane, left, failed) for _ in range(self.room)]
                wait(lanes, return_when=FIRST_EXCEPTION)
            except BaseException:
                left.clear()
                self._end()
                raise
            finally:
                self._end()
        for lane in lanes:
            lane.result()

    def _lane(self, left: deque[Assignment], failed: Counter[str]) -> None:
        """One process after the other, each running trials until it dies or none is left."""
        process = None
        try:
            while left and not self._ended:
                with suppress(IndexError):  # another lane was faster
                    trial = left.popleft()
                    process = process or self._started()
                    if self._ran(process, trial):
                        continue
                    why = process.death()
                    process.close()
                    process = None
                    failed[repr(trial)] += 1
                    if self._ended:
                        return
                    if failed[repr(trial)] <= self.most:
                        left.appendleft(trial)
                    else:
                        self._tell_end(trial, {"error": "ClusterError", "message": why})
        except BaseException:  # whoever is told of trials has failed: this one is of no use
            if process is not None:
                process.end()
            raise
        finally:
            if process is not None:
                process.close()

    def _ran(self, process: "_TrialProcess", trial: Assignment) -> bool:
        """Whether a trial has ended, with its error or without; else its process has died."""
        for kind, *told in process.run(trial):
            if kind == "cycle":
                with self._telling:
                    self.watcher.on_cycle(trial, told[0])
            elif kind == "warning":
                self._warn(*told)
            else:
                self._tell_end(trial, told[0])
                return True
        return False

    def _warn(self, name: str, message: str) -> None:
        """What a trial warns of, once: most say the same."""
        with self._telling:
            if message not in self._warned:
                self._warned.add(message)
                logging.getLogger(name).warning("%s", message)

    def _tell_end(self, trial: Assignment, error: Json | None) -> None:
        with self._telling:
            self.watcher.on_end(trial, error)

    def _started(self) -> "_TrialProcess":
        process = _TrialProcess(self.work, self.threads)
        self._processes.add(process)
        if self._ended:  # meanwhile, so that `_end` may not have seen it
            process.end()
        return process

    def _end(self) -> None:
        """Ends all that still run, in good order where they take the time."""
        self._ended = True
        for process in [*self._processes]:
            process.end()


class _TrialProcess:
    """A process that runs trials, seen from the one that started it."""

    def __init__(self, work: bytes, threads: int) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", BEGIN, *map(str, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
        )
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        with suppress(OSError):  # it has died, which reading tells
            write_message(self._in, {"work": work, "threads": threads})

    def run(self, trial: Assignment) -> Any:
        """What is said of a trial, up to its end or to the death of the process."""
        with suppress(OSError):
            write_message(self._in, (trial._asdict(),))
        while (message := read_message(self._out)) is not None:
            yield message
            if message[0] == "end":
                return

    def death(self) -> str:
        """Why it died, as far as it can be seen."""
        code, last = self._process.wait(), self._said_last()
        said = f": {last[:300]}" if last else ""
        if code == -signal.SIGKILL:
            return (
                f"the process of the trial was killed too often{said}; add memory, or lower"
                " sweep.concurrent"
            )
        how = signal.strsignal(-code) if code < 0 else f"exit code {code}"
        return f"the process of the trial died too often ({how}){said}"

    def _said_last(self) -> str:
        """The last line that it has said."""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - SAID))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Nothing more is to be run: waits for its end."""
        with suppress(OSError):
            write_message(self._in, (None,))
        self._process.wait()
        for file in (self._in, self._out, self._said):
            with suppress(OSError):  # what was not sent is of no use any more
                file.close()

    def end(self) -> None:
        """Ends it now."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
