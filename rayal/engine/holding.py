"""A pool held by processes on the machines of a cluster, for selecting from it.

Each machine has one of them. It reads its own shards, keeps what they hold of a unit in float16,
and does what a strategy asks of it. Where one dies another is started, on any machine with room: it
reads the same shards and is brought up to date by what was picked, and nothing else is lost.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.exceptions import (
    ActorUnschedulableError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayal.cycle.lots import Lot, Whole
from rayal.engine.failures import GOES_ON, first_done, raised, ray_errors
from rayal.engine.holder_process import HolderProcess
from rayal.engine.hosts import Host, hosts, needed, room
from rayal.errors import ClusterError
from rayal.selection.distances import Numbers
from rayal.selection.holders import Holder, Holders, Places
from rayal.selection.progress import Progress

WHAT = "selecting"
NO_PROGRESS_SECONDS = 3600.0
"""An answer that is not there by then will not come."""
DEATHS = (RayActorError, OutOfMemoryError, ActorUnschedulableError, ObjectLostError)
"""Errors in place of an answer where a process, or its machine, is gone."""

logger = logging.getLogger(__name__)


class HeldPool:
    """Processes that hold a pool: `Machines`."""

    def __init__(
        self, whole: Whole, progress: Progress, max_failures: int, per_host: int = 1
    ) -> None:
        """`max_failures`: deaths after which it is given up."""
        lots, there = room(whole, per_host)
        self.seats = Seats(lots, needed(whole, lots), there, max_failures)
        self.progress = progress

    def listed(self) -> list[pa.Table]:
        every: dict[int, tuple[Any, ...]] = dict.fromkeys(range(len(self.seats.lots)), ())
        return self.seats.ask("listed", (), every)

    def rows(self, chosen: Mapping[int, NDArray[np.intp]]) -> list[Mapping[str, Numbers]]:
        return self.seats.ask("rows", (), {lot: (rows,) for lot, rows in chosen.items()})

    def spread(self, positions: Sequence[NDArray[np.intp]]) -> "HeldSpread":
        return HeldSpread(self.seats, positions, self.progress)

    def close(self) -> None:
        """Ends all processes."""
        self.seats.close()


class HeldSpread:
    """A pool that processes hold: a `Spread`."""

    def __init__(
        self, seats: "Seats", positions: Sequence[NDArray[np.intp]], progress: Progress
    ) -> None:
        self.seats, self.positions, self.progress = seats, positions, progress

    def holders(self, order: Places, kind: type[Holder], *arguments: Any) -> Holders:
        place_of = np.full(len(order) + 1, -1, np.intp)  # the last is that of position -1
        place_of[order] = np.arange(len(order))
        places = [np.sort(place_of[at[at >= 0]]) for at in self.positions]

        def open_(of: Sequence[int]) -> None:
            own = {number: (place_of[self.positions[number]],) for number in of}
            self.seats.ask("open", (kind, arguments), own)

        return _Holders(self.seats, places, self.progress, open_)


class _Holders(Holders):
    """What the processes of a pool hold, in one order and for one strategy."""

    def __init__(
        self,
        seats: "Seats",
        places: Sequence[Places],
        progress: Progress,
        open_: Callable[[Sequence[int]], None],
    ) -> None:
        super().__init__(places, progress)
        self.seats, self.open = seats, open_
        seats.renewed = self._renewed
        open_(range(len(places)))

    def _renewed(self, number: int) -> None:
        self.open([number])
        if self._catch_up is not None:
            self._catch_up([number])

    def _answers(
        self, method: str, shared: tuple[Any, ...], own: Mapping[int, tuple[Any, ...]]
    ) -> list[Any]:
        told = {number: (method, *each) for number, each in own.items()}
        return self.seats.ask("do", shared, told)


class Seats:
    """One process for each lot, and another where it dies."""

    def __init__(
        self, lots: Sequence[Lot], size: int, there: Sequence[Host], max_failures: int
    ) -> None:
        self.lots, self.size, self.max_failures = lots, size, max_failures
        self.deaths = 0
        self.renewed: Callable[[int], None] = lambda number: None
        """Brings a new process to where those are whose place it takes."""
        self.nodes = [there[number % len(there)].node for number in range(len(lots))]
        self.processes: list[Any] = [self._start(number) for number in range(len(lots))]

    def ask(
        self, method: str, shared: tuple[Any, ...], own: Mapping[int, tuple[Any, ...]]
    ) -> list[Any]:
        """What the processes with these numbers answer, in this order; each is told what all are
        told, and what is its own. Raises what one raised, and ClusterError where they keep dying.
        """
        with ray_errors(WHAT):
            sent = ray.put(shared)  # once for all on a machine
            answers: dict[int, tuple[Any, Any]] = {}  # whose it is, and what
            # while one is replaced another is asked, and may be replaced, too: it is brought to
            # before this call, which it has to be told then, though another has answered it
            while late := [n for n in own if n not in answers or self._is_gone(n, answers[n][0])]:
                self._hear(late, method, sent, own, answers)
            return [answers[number][1] for number in own]

    def close(self) -> None:
        for process in self.processes:
            ray.kill(process)
        self.processes = []

    def _hear(
        self,
        numbers: Sequence[int],
        method: str,
        sent: Any,
        own: Mapping[int, tuple[Any, ...]],
        answers: dict[int, tuple[Any, Any]],
    ) -> None:
        """Adds what these answer, of whom each is told once; not of those that die."""
        waiting: dict[Any, tuple[int, Any]] = {}
        for number in numbers:
            process = self.processes[number]
            waiting[getattr(process, method).remote(sent, *own[number])] = number, process
        while waiting:
            done = first_done(WHAT, list(waiting), NO_PROGRESS_SECONDS)
            number, process = waiting.pop(done)
            try:
                answers[number] = process, raised(ray.get(done))["answer"]
            except DEATHS as error:
                if not self._is_gone(number, process):
                    self._replace(number, error)

    def _is_gone(self, number: int, process: Any) -> bool:
        """Whether another one took the place of this one since."""
        return process is not self.processes[number]

    def _replace(self, number: int, error: Exception) -> None:
        self.deaths += 1
        if self.deaths > self.max_failures:
            reason = str(error).strip().splitlines()[-1]
            raise ClusterError(
                f"{WHAT} failed: a process that holds a part of the pool died {self.deaths} times"
                f" (compute.max_failures), at last: {reason}; {GOES_ON}"
            ) from error
        logger.warning("a process that holds a part of the pool died; another one reads it again")
        ray.kill(self.processes[number])  # it may only be out of reach
        self.nodes[number] = self._another_node(number)
        self.processes[number] = self._start(number)
        self.renewed(number)

    def _another_node(self, number: int) -> str:
        """With room for one more: where memory is free rather than still to be let go, another than
        it was on, of which Ray may not know yet that it is lost, and with the fewest of these."""
        busy = Counter(node for other, node in enumerate(self.nodes) if other != number)
        fit = [host for host in hosts() if (busy[host.node] + 1) * self.size <= host.memory]
        if not fit:
            raise ClusterError(
                f"{WHAT} lost a machine, and no other has {self.size / 2**30:.2f} GB of memory for"
                f" what it held; add one, or in a run raise compute.select_bytes, and {GOES_ON}"
            )
        lost = self.nodes[number]
        return min(fit, key=lambda h: (h.free < self.size, h.node == lost, busy[h.node])).node

    def _start(self, number: int) -> Any:
        kind: Any = ray.remote(HolderProcess)
        node = self.nodes[number]
        cores = next((host.cores for host in hosts() if host.node == node), 1)
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        placed = kind.options(num_cpus=0, memory=self.size, scheduling_strategy=there)
        return placed.remote(self.lots[number], max(1, int(cores) // self.nodes.count(node)))
