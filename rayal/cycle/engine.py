"""The contract of an engine: where the work of runs and of passes over pools is done."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from rayal.cycle.evaluate import EvaluateJob, Outcome
from rayal.cycle.fit import FitJob
from rayal.cycle.lots import HoldsPools
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.train import TrainJob
from rayal.runs.passes import FastestBatch, ScoredShard
from rayal.runs.results import Fit, Trained


class Engine(HoldsPools, Protocol):
    """Places and moves work; what the work computes is the same on all engines.

    Every method raises ClusterError where a worker cannot be had or keeps dying, and what the work
    itself raises as it was raised.
    """

    device: str
    """What the work computes on: cpu or cuda, never auto."""
    threads: int
    """Torch threads of a training on a CPU: its last bits depend on them."""

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Trained]]:
        """The index of a job in `jobs` and its result, as each is done; in any order.

        Without a job there is nothing to do, and nothing is started.
        """

    def fit(self, jobs: Sequence[FitJob]) -> Iterator[tuple[int, Fit]]:
        """As `train`, of companions that are made after a training."""

    def evaluate(self, job: EvaluateJob) -> Outcome:
        """What the whole test split says of a model, or the images that the job names."""

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[ScoredShard]:
        """The results of the tasks, in any order, each as soon as its file is there."""

    def fastest_batch(self, job: ScoreJob, limit: int, images: int) -> FastestBatch:
        """How many of `images` to score at a time, measured on one worker: within `limit` bytes,
        and no more than the job's batch."""

    def close(self) -> None:
        """Lets go of what it holds between stages."""
