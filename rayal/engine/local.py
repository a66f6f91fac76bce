"""Everything in this process: for debugging, for small runs, and as the reference of tests."""

from collections.abc import Iterator, Sequence

import torch

from rayal.errors import ClusterError
from rayal.evaluation import EvaluateJob, evaluate, metrics
from rayal.experiment import Compute
from rayal.scorer import Scorer
from rayal.scoring import ScoreJob, ShardTask
from rayal.storage import Json
from rayal.training import Place, TrainJob, train


class LocalEngine:
    """Trains, evaluates and scores here, one thing at a time, on one device."""

    def __init__(self, compute: Compute) -> None:
        """Raises ClusterError where `compute` asks for what one process does not have."""
        if compute.train_workers > 1:
            raise ClusterError(
                f"compute.train_workers is {compute.train_workers}, but the local engine is one "
                "process; use compute.engine: ray"
            )
        self.device, self.threads = local_device(compute), compute.cpus_per_worker

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Json]]:
        for place, job in enumerate(jobs):
            yield place, train(job, Place(device=self.device, threads=self.threads))

    def evaluate(self, job: EvaluateJob) -> Json:
        return metrics(job, evaluate(job, job.shards(), self.device))

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[Json]:
        if not tasks:
            return
        scorer = Scorer(job, self.device)
        for task in tasks:
            yield scorer.score(task, scorer.decode(task))

    def close(self) -> None:
        """Nothing stays open."""


def local_device(compute: Compute) -> str:
    """`cuda` or `cpu`. Raises ClusterError where a GPU is asked for and there is none."""
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise ClusterError("compute.device is 'cuda', but this machine has no GPU; use cpu or auto")
    wants_gpu = compute.device == "cuda" or compute.device == "auto"
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"
