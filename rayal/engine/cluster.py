"""The Ray engine: checks that a cluster can do the work, and places it there."""

import json
import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import ray

from rayal.cycle.evaluate import EvaluateJob, Outcome, Piece, outcome, test_shards
from rayal.cycle.fit import FitJob
from rayal.cycle.lots import Whole
from rayal.cycle.rounds import Job
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.train import TrainJob
from rayal.data.pool import Images
from rayal.data.store import Split
from rayal.engine.capacity import (
    Node,
    at_once,
    fit_beside_scorers,
    require,
    resolved_compute,
    total,
)
from rayal.engine.failures import raised
from rayal.engine.holding import HeldPool
from rayal.engine.hosts import room
from rayal.engine.reading import blocks_of
from rayal.engine.scorers import Call, Scorers
from rayal.engine.shared_storage import SharedStorage
from rayal.engine.train import TrainWorkers, do_on, packed
from rayal.errors import ClusterError
from rayal.experiment.compute import Compute
from rayal.runs.passes import FastestBatch, ScoredShard
from rayal.runs.result import Result
from rayal.runs.results import Fit, Trained
from rayal.selection.progress import Progress
from rayal.storage.folder import Json

logger = logging.getLogger(__name__)


class TrialShare(NamedTuple):
    """What one trial of a sweep takes for itself, and how many have room at a time."""

    cpus: float
    gpus: float
    concurrent: int


DRIVER_CPUS = 0.01  # cores of a process whose work is done by others: Ray Tune takes no 0


class RayEngine:
    """Trains with Ray Train, reads with Ray Data, scores and evaluates in processes that stay."""

    def __init__(self, compute: Compute, cores: int) -> None:
        """`cores`: those that the cluster really has, as `connect` returns them.

        Raises ClusterError where the cluster can never give what `compute` asks.
        """
        nodes: list[Node] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.nodes, self.compute = nodes, resolved_compute(compute, nodes, cores)
        require(self.compute, nodes)
        self.device: str = self.compute.device
        self.threads: int = self.compute.cpus_per_worker or 1
        self.chosen = compute.scorers is None
        """Whether the number of scoring actors was left to rayal."""
        self.at_once = at_once(self.compute, nodes, cores)
        """Models that can be trained at the same time."""
        self.groups: list[TrainWorkers] = []
        self.scorers = Scorers(self.compute)
        self.storage = SharedStorage()

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Trained]]:
        for place, trained in self._in_groups(jobs, evaluated=True):
            yield place, Trained.from_json(trained)

    def fit(self, jobs: Sequence[FitJob]) -> Iterator[tuple[int, Fit]]:
        for place, fit in self._in_groups(jobs):
            yield place, Fit.from_json(fit)

    def _in_groups(
        self, jobs: Sequence[Job[Result]], *, evaluated: bool = False
    ) -> Iterator[tuple[int, Json]]:
        """Results of jobs that training workers do; `evaluated`: they are evaluated next, by
        processes that begin meanwhile."""
        if not jobs:
            return
        self.storage.check(jobs[0].out, [jobs[0].store])
        payloads = [packed(job) for job in jobs]  # told before any worker starts
        wanted = min(len(jobs), self.at_once)
        if not fit_beside_scorers(self.compute, self.nodes, max(wanted, len(self.groups))):
            self.scorers.close()
        while len(self.groups) < wanted:
            self.groups.append(TrainWorkers(self.compute))
        if evaluated and fit_beside_scorers(self.compute, self.nodes, len(self.groups)):
            self.scorers.begin(self._evaluating(test_shards(jobs[0].experiment, jobs[0].store)))
        try:
            yield from do_on(self.groups, payloads)
        finally:
            if not fit_beside_scorers(self.compute, self.nodes, len(self.groups)):
                self._close_groups()

    def holds(self, size: int) -> bool:
        return size > self.compute.select_bytes

    def has_room(self, whole: Whole) -> bool:
        try:
            room(whole)
        except ClusterError as error:
            logger.info("%s; one process selects from files on its disk instead", error)
            return False
        return True

    @contextmanager
    def hold(self, whole: Whole, progress: Progress) -> Iterator[HeldPool]:
        self.storage.check(whole.lot.folder)
        self.close()  # their memory is wanted
        with closing(HeldPool(whole, progress, self.compute.max_failures)) as pool:
            yield pool

    def close(self) -> None:
        """Sends all workers home, if there are any."""
        self._close_groups()
        self.scorers.close()

    def _close_groups(self) -> None:
        for group in self.groups:
            group.close()
        self.groups = []

    def evaluate(self, job: EvaluateJob) -> Outcome:
        self.storage.check(job.weights.folder, [job.store])
        shards, number, shared = job.shards(), uuid.uuid4().hex, [ray.put(job)]
        calls = [Call("evaluate", (number, shared, shard)) for shard in shards]
        counts = {
            place: raised(counted)["counts"]
            for place, counted in self.scorers.do("evaluation", self._evaluating(shards), calls)
        }
        return outcome(job, [counts[place] for place in range(len(shards))])

    def _evaluating(self, shards: Sequence[Piece]) -> int:
        """How many evaluate; they decode, too. Of no test images, labels are what is evaluated."""
        return min(self.compute.scorers or 1, max(1, len(shards)))

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[ScoredShard]:
        if not tasks:
            return
        self.storage.check(job.out, [job.images.url] if isinstance(job.images, Split) else [])
        number, shared = uuid.uuid4().hex, [ray.put(job)]
        blocks = blocks_of(job.images, tasks)  # closed below: nobody decodes for a pass that failed
        calls = (Call("score", (number, shared, block)) for block in blocks)
        most = self._processes(job.images)
        self.scorers.keep(most)  # evaluation may have left more, and others decode for a pass
        processes = min(most, len(tasks))
        left = {task.shard.index: task for task in tasks}
        try:
            for _, results in self.scorers.do("the scoring pass", processes, calls):
                for result in results:
                    done = ScoredShard.from_json(raised(json.loads(result)))
                    del left[done.shard]
                    yield done
        except ClusterError as error:
            raise ClusterError(f"{error} ({_left(list(left.values()), len(tasks))})") from error
        finally:
            blocks.close()

    def _processes(self, images: Images) -> int:
        """How many score; where images have to be decoded, by default as many as half of what the
        cluster promises, so that decoding gets the rest: a cluster of rayal's own promises twice
        its cores, which both then share."""
        scorers = self.compute.scorers or 1
        if self.chosen and self.device == "cpu" and not images.raw:
            scorers = min(scorers, max(1, int(total(self.nodes, "CPU")) // 2))
        return scorers

    def fastest_batch(self, job: ScoreJob, limit: int, images: int) -> FastestBatch:
        """On one of the processes that score."""
        calls = [Call("fastest_batch", (job, limit, images))]
        ((_, found),) = self.scorers.do("measuring the batch size", 1, calls)
        return FastestBatch.from_json(raised(found))


def _left(tasks: Sequence[ShardTask], of: int) -> str:
    """What is not scored yet, for whoever looks for the image that kills its process."""
    first = (
        f", first {tasks[0].file}: {tasks[0].rows} rows of {tasks[0].shard.file}" if tasks else ""
    )
    return f"{len(tasks)} of {of} shards are left{first}"


def placement(compute: Compute, cores: int, cpus: float, gpus: float) -> TrialShare:
    """Of trials on this cluster: each in one process with so many cores and GPUs where it runs
    there (`engine: local`), else beside the actors that do its work.

    Raises ClusterError where there is no room for one.
    """
    nodes: list[Node] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if compute.engine == "local":
        own = min(total(nodes, "CPU"), cores)  # a cluster of rayal's own promises more
        rooms = [int(own // cpus), *([int(total(nodes, "GPU") // gpus)] if gpus else [])]
        if not min(rooms):
            raise ClusterError(
                f"a trial takes {cpus:g} cores and {gpus:g} GPUs (sweep.cpus, sweep.gpus), but the"
                f" cluster has {own:g} and {total(nodes, 'GPU'):g}; lower them, or add nodes"
            )
        return TrialShare(cpus, gpus, min(rooms))
    asked = resolved_compute(compute, nodes, cores)
    require(asked, nodes)
    workers, scorers = asked.train_workers, asked.scorers or 1
    together = workers * (asked.cpus_per_worker or 1) + scorers + 1
    rooms = [int(total(nodes, "CPU") // together)]
    if asked.device == "cuda":
        rooms.append(int(total(nodes, "GPU") // (workers + scorers)))
    return TrialShare(DRIVER_CPUS, 0.0, max(1, min(rooms)))
