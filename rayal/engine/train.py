"""Training on Ray Train: one worker group that trains cycle after cycle.

Starting a group takes 6 to 15 seconds, which is longer than a small training: where the cluster has
room for it beside scoring, the group stays and waits for the next order. Nothing of Ray's
checkpointing is used: a training continues from the checkpoints in its stage folder, as it does in
the local engine, so that there is one mechanism and one place to look.
"""

import logging
import pickle
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from typing import Any

import ray
import ray.train
from ray import cloudpickle
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.config import LoggingConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayal.cycle.rounds import Job
from rayal.engine.desk import Desk, Order
from rayal.engine.failures import GOES_ON, raised, ray_errors
from rayal.engine.train_worker import work
from rayal.engine.trainer import Trainer
from rayal.errors import ClusterError, UsageError
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.parts import Component
from rayal.runs.result import Result
from rayal.storage.folder import Json

LOOK_SECONDS = 1.0  # between looks at whether the group still lives
START_SECONDS = 900.0  # a group that has not started by then never will
STARTS = 100
"""Times that a group may fail before its workers are at work, in all of a run. Waiting for room in
a cluster takes one a minute."""
CLOSE_SECONDS = 10.0

logger = logging.getLogger(__name__)

_RunConfig: Any = RunConfig  # Ray's annotations describe the classes of Train V1,
_FailureConfig: Any = FailureConfig  # which these names have not meant since 2.51


class TrainWorkers:
    """A group of `compute.train_workers` processes that train together, one job after another."""

    def __init__(self, compute: Compute) -> None:
        self.compute, self.number = compute, 0
        # On the driver's node, which the run cannot lose anyway.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        desk: Any = ray.remote(num_cpus=0)(Desk)
        self.desk = desk.options(scheduling_strategy=here).remote(compute.max_failures + 1)
        self.failure: BaseException | None = None
        self.training, self.closed = threading.Lock(), False
        self.thread = threading.Thread(target=self._hold, name="rayal-train", daemon=True)
        self.thread.start()

    def do(self, payload: bytes) -> Json:
        """Does on all workers what `packed` made of a job; returns its result.

        Raises what a worker raised, and ClusterError when workers died more often than allowed.
        """
        self.number += 1
        with self.training, ray_errors("training"):
            ray.get(self.desk.place.remote(Order(self.number, payload)))
            pending, started = [self.desk.result.remote(self.number)], time.monotonic()
            while not ray.wait(pending, timeout=LOOK_SECONDS)[0]:
                self._check(time.monotonic() - started)
            return raised(ray.get(pending[0]))

    def _check(self, waited: float) -> None:
        if self.closed:
            raise ClusterError("the training was given up")
        if not self.thread.is_alive():
            reason = " ".join(str(self.failure).split())
            raise ClusterError(f"the training workers are gone: {reason}; {GOES_ON}")
        if waited > START_SECONDS and not ray.get(self.desk.taken.remote()):
            raise ClusterError(
                f"no training worker started in {waited / 60:.0f} minutes: the cluster is busy, or"
                " its nodes lack rayal; see `ray status`"
            )

    def close(self) -> None:
        """Sends the workers home, and ends a wait for them in another thread: one that asked after
        Ray's end would start it again."""
        self.closed = True
        self.desk.place.remote(None)
        self.thread.join(CLOSE_SECONDS)
        if self.thread.is_alive():
            logger.warning(
                "training workers have not ended within %g s; what they work at is given up",
                CLOSE_SECONDS,
            )
            ray.kill(self.desk)  # who asks there for an order, or brings a result, goes home
            self.thread.join(CLOSE_SECONDS)
        if self.training.acquire(timeout=CLOSE_SECONDS):
            self.training.release()
        else:
            logger.warning("the wait for a training goes on until this process ends")

    def _hold(self) -> None:
        """Runs in the thread: starts the group, again where a worker died, until it is closed."""
        with tempfile.TemporaryDirectory(prefix="rayal-train-") as scratch:
            trainer = Trainer(
                work,
                workers=self.compute.train_workers,
                train_loop_config={
                    "desk": self.desk,
                    "device": self.compute.device,
                    "threads": self.compute.cpus_per_worker,
                },
                scaling_config=ScalingConfig(
                    num_workers=self.compute.train_workers,
                    use_gpu=self.compute.device == "cuda",
                    resources_per_worker={"CPU": self.compute.cpus_per_worker or 1},
                ),
                run_config=_RunConfig(
                    name=f"rayal-{uuid.uuid4().hex}",  # a name used before would resume that run
                    storage_path=scratch,
                    failure_config=_FailureConfig(
                        max_failures=-1,  # the desk counts, per order
                        controller_failure_limit=STARTS,  # who never gets there is not counted
                    ),
                    logging_config=LoggingConfig(log_level="CRITICAL"),
                ),
            )
            try:
                trainer.fit()
            except (Exception, SystemExit) as error:  # the latter where Ray is shut down under it
                self.failure = error


def do_on(groups: Sequence[TrainWorkers], payloads: Sequence[bytes]) -> Iterator[tuple[int, Json]]:
    """Does all on whichever group is free; yields the place of a payload and its result.

    Raises the first failure at once; other trainings end when their group is closed.
    """
    if not payloads:
        return
    free: SimpleQueue[TrainWorkers] = SimpleQueue()
    for group in groups:
        free.put(group)

    def do_one(payload: bytes) -> Json:
        group = free.get()
        try:
            return group.do(payload)
        finally:
            free.put(group)

    threads = ThreadPoolExecutor(len(groups), thread_name_prefix="rayal-member")
    try:
        places = {threads.submit(do_one, payload): n for n, payload in enumerate(payloads)}
        for done in as_completed(places):
            yield places[done], done.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def packed(job: Job[Result]) -> bytes:
    """The payload of an order. Raises UsageError for a part that cannot travel."""
    try:
        payload: bytes = cloudpickle.dumps(job)
    except (TypeError, pickle.PicklingError) as error:
        raise UsageError(
            f"{_stuck(job.experiment)} cannot be sent to workers: {error}; make it where it is"
            " used instead of keeping it"
        ) from error
    return payload


def _stuck(x: Experiment) -> str:
    """The attribute of a part that cannot be pickled."""
    for _, held in x:
        for part in held if isinstance(held, tuple) else (held,):
            if isinstance(part, Component):
                for name, value in (vars(part) | (part.__pydantic_private__ or {})).items():
                    try:
                        cloudpickle.dumps(value)
                    except (TypeError, pickle.PicklingError):
                        return f"{part.part_name()}.{name}"
    return f"experiment {x.name!r}"
