"""Trials of a sweep in processes of this machine, without a cluster: where each is one process
anyway, and all of them are known.

Every process is a copy of one that has imported torch and the rest, see `forks`, and runs one trial
after the other. What it says comes back through a pipe. It ends with the process that started it,
however that ends, and what it has done of its trial is in the run folder.

Light: these processes import torch while the one that starts them does.
"""

import logging
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import cloudpickle

from rayal.engine import machine
from rayal.engine.forks import Fork, Forks
from rayal.errors import ClusterError

if TYPE_CHECKING:
    from rayal.engine.watching import Watcher, Work
    from rayal.experiment.compute import Compute
    from rayal.experiment.sweep.settings import Sweep
    from rayal.experiment.sweep.trials import Assignment
    from rayal.storage.folder import Json

ADDRESS = "RAY_ADDRESS"
PRELOADED = (
    "rayal.engine.trial_process",
    "rayal.engine.local",
    "rayal.workflows.sweep.trial",
    "rayal.report.curves",
    "matplotlib.backends.backend_agg",
    "torch._dynamo",  # which torch imports when the first optimizer is made
)
"""What every trial imports, by name: it is imported elsewhere."""

logger = logging.getLogger(__name__)


def suffices(sweep: "Sweep", compute: "Compute", address: str | None) -> bool:
    """Whether processes of this machine can run it: trials that are one process each, on cores, of
    which none is drawn or stopped while others run; and nobody has named a cluster."""
    own = (address or os.environ.get(ADDRESS) or "local") == "local"
    known = sweep.search == "random" and sweep.early_stopping is None
    return own and known and compute.engine == "local" and not sweep.gpus


@contextmanager
def importing(
    sweep: "Sweep", compute: "Compute", address: str | None, begun: Forks | None = None
) -> Iterator[Forks | None]:
    """What processes of a sweep will be copies of: it has begun to import, or had (`begun`). None
    where they do not suffice."""
    if not suffices(sweep, compute, address):
        yield None
    elif begun is not None:
        yield begun
    else:
        with Forks(PRELOADED, threads_of(sweep)) as forks:
            yield forks


def threads_of(sweep: "Sweep") -> int:
    """How many a trial has."""
    return max(1, int(sweep.cpus))


class TrialProcesses:
    """Runs trials of a sweep on the cores of this machine."""

    def __init__(
        self,
        sweep: "Sweep",
        compute: "Compute",
        work: "Work",
        watcher: "Watcher",
        forks: Forks,
    ) -> None:
        """`forks` are those of `importing`. Raises ClusterError where there is no room for a single
        trial."""
        from rayal.engine.trial_process import run_trials  # imports torch

        cores = machine.cores()
        room = int(cores // sweep.cpus)
        if not room:
            raise ClusterError(
                f"a trial takes {sweep.cpus:g} cores (sweep.cpus), but this machine has {cores};"
                " lower it"
            )
        self.room = min(room, sweep.concurrent or room)
        self.most = sweep.max_failures
        self.work = cloudpickle.dumps(partial(run_trials, work, compute, threads_of(sweep)))
        self.watcher, self._telling = watcher, threading.Lock()
        self.forks, self._warned = forks, set[str]()
        self._ended = False

    def run(self, todo: "Sequence[Assignment]") -> None:
        """These trials, some at a time, in this order."""
        left, failed = deque(todo), Counter[str]()
        with ThreadPoolExecutor(min(self.room, max(len(todo), 1))) as threads:
            try:
                lanes = [threads.submit(self._lane, left, failed) for _ in range(self.room)]
                wait(lanes, return_when=FIRST_EXCEPTION)
            finally:
                left.clear()
                self._end()
        for lane in lanes:
            lane.result()

    def _lane(self, left: "deque[Assignment]", failed: Counter[str]) -> None:
        """One process after the other, each running trials until it dies or none is left."""
        process = None
        try:
            while left and not self._ended:
                with suppress(IndexError):  # another lane was faster
                    trial = left.popleft()
                    process = process or self.forks.start(self.work)
                    if self._ran(process, trial):
                        continue
                    died, process = process, None
                    self._died(trial, _told(*died.death()), left, failed)
        except BaseException:  # whoever is told of trials has failed: none is of use any more
            self._end()
            raise
        finally:
            if process is not None:
                process.close()

    def _died(
        self, trial: "Assignment", why: str, left: "deque[Assignment]", failed: Counter[str]
    ) -> None:
        """A process has, amid a trial: which is next again, or has failed too often."""
        failed[repr(trial)] += 1
        if self._ended:
            return
        if failed[repr(trial)] <= self.most:
            left.appendleft(trial)
        else:
            self._tell_end(trial, {"error": "ClusterError", "message": why})

    def _ran(self, process: Fork, trial: "Assignment") -> bool:
        """Whether a trial has ended, with its error or without; else its process has died."""
        process.tell(trial._asdict())
        while (message := process.heard()) is not None:
            kind, *told = message
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

    def _end(self) -> None:
        """Ends all that still run, in good order where they take the time."""
        self._ended = True
        self.forks.close()

    def _tell_end(self, trial: "Assignment", error: "Json | None") -> None:
        with self._telling:
            self.watcher.on_end(trial, error)


def _told(code: int, last: str) -> str:
    """Why a process died, as far as it can be seen."""
    said = f": {last[:300]}" if last else ""
    if code == -signal.SIGKILL:
        return (
            f"the process of the trial was killed too often{said}; add memory, or lower"
            " sweep.concurrent"
        )
    how = signal.strsignal(-code) if code < 0 else f"exit code {code}"
    return f"the process of the trial died too often ({how}){said}"
