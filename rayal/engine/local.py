"""Everything in this process: for debugging, for small runs, and as the reference of tests."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing

import numpy as np
import torch

from rayal.cycle.batch_size import fastest_batch
from rayal.cycle.evaluate import EvaluateJob, Outcome, evaluate, outcome
from rayal.cycle.fit import FitJob
from rayal.cycle.lots import Machines, Whole
from rayal.cycle.rounds import Job, R, Worker
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.scorer import Scorer
from rayal.cycle.train import TrainJob
from rayal.data.pool import Decoded
from rayal.engine import machine
from rayal.engine.waiting_threads import let_sleep
from rayal.errors import ClusterError
from rayal.experiment.compute import Compute
from rayal.runs.passes import FastestBatch, ScoredShard
from rayal.runs.results import Fit, Trained
from rayal.selection.progress import Progress

AHEAD = 2
"""Shards that are decoded, or wait, while one is scored."""


class LocalEngine:
    """Trains, evaluates and scores here, one thing at a time, on one device."""

    def __init__(self, compute: Compute) -> None:
        """Raises ClusterError where `compute` asks for what one process does not have."""
        if compute.train_workers > 1:
            raise ClusterError(
                f"compute.train_workers is {compute.train_workers}, but the local engine is one "
                "process; use compute.engine: ray"
            )
        self.device = local_device(compute)
        if compute.cpus_per_worker is not None:  # before any work: the last bits depend on it
            torch.set_num_threads(compute.cpus_per_worker)
        self.threads = torch.get_num_threads()
        self.decoders = compute.cpus_per_worker or machine.cores()

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Trained]]:
        yield from self._each(jobs)

    def fit(self, jobs: Sequence[FitJob]) -> Iterator[tuple[int, Fit]]:
        yield from self._each(jobs)

    def _each(self, jobs: Sequence[Job[R]]) -> Iterator[tuple[int, R]]:
        for index, job in enumerate(jobs):
            done = job.run(Worker(device=self.device, threads=self.threads))
            assert done is not None, "the only worker is worker 0"
            yield index, done

    def evaluate(self, job: EvaluateJob) -> Outcome:
        return outcome(job, evaluate(job, job.shards(), self.device))

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[ScoredShard]:
        if not tasks:
            return
        scorer = Scorer(job, self.device)
        with closing(_decoded_ahead(scorer, tasks, self.decoders)) as shards:
            for task, decoded in shards:
                yield scorer.score(task, decoded)

    def fastest_batch(self, job: ScoreJob, limit: int, images: int) -> FastestBatch:
        return fastest_batch(job, self.device, limit, images)

    def holds(self, size: int) -> bool:
        return False

    def has_room(self, whole: Whole) -> bool:
        return False

    def hold(self, whole: Whole, progress: Progress) -> AbstractContextManager[Machines]:
        raise AssertionError("it holds nothing")

    def close(self) -> None:
        """Nothing stays open."""


def _decoded_ahead(
    scorer: Scorer, tasks: Sequence[ShardTask], threads: int
) -> Generator[tuple[ShardTask, Decoded]]:
    """The tasks in order with their images, of which the next ones are decoded meanwhile.

    Rows are read in order by the caller's thread, and decoded in one part per thread; AHEAD shards
    are in memory, and the one that is scored. What is stored as numbers is not divided: to put its
    parts together would take as long as to decode them. Cores that decode are left to it by the
    threads of the model that wait.
    """
    pool, waiting = ThreadPoolExecutor(threads), deque[tuple[ShardTask, list[Future[Decoded]]]]()
    try:
        if not scorer.job.images.raw:
            let_sleep(pool)
        for task in tasks:
            rows = scorer.read(task)
            size = max(1, len(rows) if scorer.job.images.raw else -(-len(rows) // threads))
            starts = range(0, max(1, len(rows)), size)
            parts = [pool.submit(scorer.decode, rows.slice(start, size)) for start in starts]
            del rows  # its memory goes as the parts are decoded
            waiting.append((task, parts))
            if len(waiting) == AHEAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _next(
    waiting: deque[tuple[ShardTask, list[Future[Decoded]]]],
) -> tuple[ShardTask, Decoded]:
    task, parts = waiting.popleft()
    first, *others = done = [part.result() for part in parts]
    if not others:
        return task, first
    sizes = [each.sizes for each in done if each.sizes is not None]
    return task, Decoded(
        [unit for each in done for unit in each.ids],
        np.concatenate([each.images for each in done]),
        {unit: reason for each in done for unit, reason in each.bad.items()},
        np.concatenate(sizes) if sizes else None,
    )


def local_device(compute: Compute) -> str:
    """`cuda` or `cpu`. Raises ClusterError where a GPU is asked for and there is none."""
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise ClusterError("compute.device is 'cuda', but this machine has no GPU; use cpu or auto")
    wants_gpu = compute.device == "cuda" or compute.device == "auto"
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"
