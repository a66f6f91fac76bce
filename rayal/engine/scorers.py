"""The processes that score, evaluate and measure: started once, alive from pass to pass.

A process takes seconds to import what it works with, and a pass over a small pool a fraction of
one. Work goes to whichever process is free. Where one dies, another is started and the work is done
again, which changes nothing: a shard's file is written whole or not at all.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from textwrap import shorten
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import ray
from ray.exceptions import OutOfMemoryError, RayActorError

from rayal.blame import BATCHES
from rayal.cycle.batch_size import fastest_batch
from rayal.cycle.evaluate import Evaluation, Piece
from rayal.cycle.score import ScoreJob
from rayal.cycle.scorer import Scorer
from rayal.engine.described import described
from rayal.engine.failures import GOES_ON, first_done, ray_errors
from rayal.engine.shard_rows import decoded_of, task_of
from rayal.errors import OUT, ClusterError
from rayal.experiment.compute import Compute
from rayal.storage.folder import Json

Opened = TypeVar("Opened", Scorer, Evaluation)

IN_FLIGHT = 2
"""Calls per process: one is worked on, one waits."""
NO_PROGRESS_SECONDS = 600.0
"""Work that stands still this long is stuck."""


class Call(NamedTuple):
    """A method of `ScoreProcess` and its arguments."""

    method: str
    arguments: tuple[Any, ...]


class _Running(NamedTuple):
    place: int
    call: Call
    seat: int
    process: Any


class Scorers:
    """As many processes as was asked for since the last `keep`, each with one core, and a GPU on
    `cuda`."""

    def __init__(self, compute: Compute) -> None:
        """`compute`, resolved, says on which device, and how many deaths one work may cost."""
        self.compute = compute
        self.seats = list[Any]()
        """The living processes."""

    def do(self, what: str, processes: int, calls: Iterable[Call]) -> Iterator[tuple[int, Any]]:
        """The place of each call among all and its result, as each is done.

        Raises what a call raised, and ClusterError where processes keep dying.
        """
        self.begin(processes)
        free, running = deque([*range(processes)] * IN_FLIGHT), dict[Any, _Running]()
        deaths, numbered = 0, enumerate(calls)
        try:
            with ray_errors(what):
                while True:
                    while free and (following := next(numbered, None)) is not None:
                        self._hand(*following, free.popleft(), running)
                    if not running:
                        return
                    reference = first_done(what, list(running), NO_PROGRESS_SECONDS)
                    done = running.pop(reference)
                    try:
                        result = ray.get(reference)
                    except (RayActorError, OutOfMemoryError) as error:
                        if done.process is self.seats[done.seat]:  # not replaced for another call
                            deaths += 1
                            if deaths > self.compute.max_failures:
                                raise _given_up(what, deaths, error) from error
                            ray.kill(done.process)  # it may only be out of reach
                            self.seats[done.seat] = self._start()
                        self._hand(done.place, done.call, done.seat, running)
                        continue
                    free.append(done.seat)
                    yield done.place, result
        except BaseException:  # given up: nobody waits any more for what they are at
            self.close()
            raise

    def begin(self, processes: int) -> None:
        """Starts so many, less those that live; they import while others do something else."""
        while len(self.seats) < processes:
            self.seats.append(self._start())

    def keep(self, processes: int) -> None:
        """Ends those that are more, whose cores others need."""
        for process in self.seats[processes:]:
            ray.kill(process)
        self.seats = self.seats[:processes]

    def close(self) -> None:
        """Ends all processes."""
        self.keep(0)

    def _hand(self, place: int, call: Call, seat: int, running: dict[Any, _Running]) -> None:
        process = self.seats[seat]
        reference = getattr(process, call.method).remote(*call.arguments)
        running[reference] = _Running(place, call, seat, process)

    def _start(self) -> Any:
        kind: Any = ray.remote(ScoreProcess)
        gpus = 1 if self.compute.device == "cuda" else 0
        placed = kind.options(num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD")
        return placed.remote(self.compute.device)


def _given_up(what: str, deaths: int, error: Exception) -> ClusterError:
    times = "once" if deaths == 1 else f"{deaths} times"
    reason = shorten(str(error).strip().splitlines()[-1], 160, placeholder=" ...")
    return ClusterError(
        f"{what} failed: a process died {times} (compute.max_failures), for want of memory (lower"
        f" compute.shard_rows or {BATCHES}, with another {OUT}), by a fault in native code, or"
        f" killed from outside; at last: {reason}; {GOES_ON}"
    )


class ScoreProcess:
    """Holds the models of one pass or evaluation; what it is asked for is done one after the other.

    Every result is a Json, and so is the error in its place, described: as itself it would arrive
    as another class.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.models: Any = None
        self.opened = ""

    def score(self, number: str, job: list[Any], block: pa.Table) -> list[str]:
        """The results of a block of shards, in JSON; `number` tells passes apart, and the job lies
        in the object store."""
        rows = [block.slice(row, 1) for row in range(len(block))]
        return [json.dumps(_told(self._score, number, job, row)) for row in rows]

    def _score(self, number: str, job: list[Any], row: pa.Table) -> Json:
        scorer = self._opened(Scorer, number, job)
        task = task_of(row)
        decoded = decoded_of(row)
        if decoded is None:
            decoded = scorer.decode(scorer.read(task))
        return scorer.score(task, decoded).to_json()

    def evaluate(self, number: str, job: list[Any], piece: Piece) -> Json:
        """The `counts` of a piece of an evaluation, a Counted; `number` and `job` as of `score`."""
        return _told(lambda: {"counts": self._opened(Evaluation, number, job).count(piece)})

    def fastest_batch(self, job: ScoreJob, limit: int, images: int) -> Json:
        """A FastestBatch."""
        return _told(lambda: fastest_batch(job, self.device, limit, images).to_json())

    def _opened(self, kind: type[Opened], number: str, job: list[Any]) -> Opened:
        if self.opened != number:
            self.models, self.opened = None, ""  # the memory of the last ones goes first
            self.models, self.opened = kind(ray.get(job[0]), self.device), number
        assert isinstance(self.models, kind)
        return self.models


def _told(work: Callable[..., Json], *arguments: Any) -> Json:
    try:
        return work(*arguments)
    except Exception as error:
        return described(error)
