"""Training on Ray Train: one worker group that trains cycle after cycle.

Starting a group takes 6 to 15 seconds, which is longer than a small training: where the cluster has
room for it beside scoring, the group stays and waits for the next order. Nothing of Ray's
checkpointing is used: a training continues from the checkpoints in its stage folder, as it does in
the local engine, so that there is one mechanism and one place to look.
"""

import asyncio
import tempfile
import threading
import uuid
from typing import Any, NamedTuple

import ray
import ray.train
from ray import cloudpickle
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.config import LoggingConfig

from rayal import errors
from rayal.errors import ClusterError, DataError, RayalError
from rayal.experiment import Compute
from rayal.parts import allow_plugins, allowed_plugins
from rayal.storage import Json
from rayal.training import Place, TrainJob, train

LOOK_SECONDS = 1.0  # between looks at whether the group still lives
CLOSE_SECONDS = 10.0

_Trainer: Any = TorchTrainer  # Ray's annotations describe the classes of Train V1,
_RunConfig: Any = RunConfig  # which these names have not meant since 2.51


class Order(NamedTuple):
    """One training that the group is asked for."""

    number: int
    payload: bytes
    """The pickled TrainJob and plugins: only the workers import what it needs."""


class TrainWorkers:
    """A group of `compute.train_workers` processes that train together, one job after another."""

    def __init__(self, compute: Compute) -> None:
        self.compute, self.number = compute, 0
        self.desk: Any = ray.remote(num_cpus=0)(_Desk).remote(compute.max_failures + 1)
        self.failure: Exception | None = None
        self.thread = threading.Thread(target=self._hold, name="rayal-train", daemon=True)
        self.thread.start()

    def train(self, job: TrainJob) -> Json:
        """Trains on all workers and returns the stage's result.

        Raises what a worker raised, and ClusterError when workers died more often than allowed.
        """
        self.number += 1
        payload = cloudpickle.dumps((job, allowed_plugins()))
        ray.get(self.desk.place.remote(Order(self.number, payload)))
        pending = [self.desk.result.remote(self.number)]
        while not ray.wait(pending, timeout=LOOK_SECONDS)[0]:
            if not self.thread.is_alive():
                raise ClusterError(f"the training workers are gone: {self.failure}")
        result: Json = ray.get(pending[0])
        if "error" in result:
            raise getattr(errors, result["error"])(result["message"])
        return result

    def close(self) -> None:
        """Sends the workers home."""
        self.desk.place.remote(None)
        self.thread.join(CLOSE_SECONDS)

    def _hold(self) -> None:
        """Runs in the thread: starts the group, again where a worker died, until it is closed."""
        with tempfile.TemporaryDirectory(prefix="rayal-train-") as scratch:
            trainer = _Trainer(
                _work,
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
                    failure_config=FailureConfig(max_failures=-1),  # the desk counts, per order
                    logging_config=LoggingConfig(log_level="CRITICAL"),
                ),
            )
            try:
                trainer.fit()
            except Exception as error:  # whatever it is, `train` has to hear of it
                self.failure = error


class _Desk:
    """Where orders lie until they are done. An async actor: workers wait here without polling."""

    def __init__(self, attempts: int) -> None:
        self.attempts, self.tries, self.done = attempts, 0, 0
        self.order: Order | None = None
        self.closed = False
        self.results: dict[int, Json] = {}
        self.changed = asyncio.Condition()

    async def place(self, order: Order | None) -> None:
        """A new order; None closes the desk."""
        async with self.changed:
            self.order, self.closed, self.tries = order, order is None, 0
            self.changed.notify_all()

    async def next(self, after: int, rank: int) -> Order | None:
        """The first order above `after` that is not done, when there is one; None to go home.

        A worker that asks with `after` 0 has just started: where an order lies already, the group
        died over it, and after too many tries the order fails.
        """
        async with self.changed:
            await self.changed.wait_for(lambda: self.closed or self._waits(after))
            order = self.order
            if order is None:
                return None
            self.tries += after == 0 and rank == 0
            if self.tries <= self.attempts:
                return order
        message = f"training workers died {self.attempts} times; see their logs, or add memory"
        await self.deliver(order.number, {"error": "ClusterError", "message": message})
        return await self.next(order.number, rank)

    def _waits(self, after: int) -> bool:
        return self.order is not None and self.order.number > max(after, self.done)

    async def deliver(self, number: int, result: Json) -> None:
        """The result of an order."""
        async with self.changed:
            self.results[number], self.done = result, number
            self.changed.notify_all()

    async def result(self, number: int) -> Json:
        """The result of an order, when it is there."""
        async with self.changed:
            await self.changed.wait_for(lambda: number in self.results)
            return self.results.pop(number)


def _work(config: dict[str, Any]) -> None:
    """What each worker does from its start to its end."""
    context = ray.train.get_context()
    place = Place(
        rank=context.get_world_rank(),
        size=context.get_world_size(),
        device=str(get_device()) if config["device"] == "cuda" else "cpu",
        threads=config["threads"],
    )
    desk, done = config["desk"], 0
    while (order := ray.get(desk.next.remote(done, place.rank))) is not None:
        result = _train(order, place)
        if place.rank == 0:
            ray.get(desk.deliver.remote(order.number, result))
        done = order.number


def _train(order: Order, place: Place) -> Json:
    job, plugins = cloudpickle.loads(order.payload)
    allow_plugins(plugins)
    try:
        return train(job, place)
    except RayalError as error:
        # What is wrong with the data, every worker finds. Of anything else the others know
        # nothing and wait for this one: only a failure of the group frees them.
        if place.size > 1 and not isinstance(error, DataError):
            raise
        return {"error": type(error).__name__, "message": str(error)}
