"""The Ray engine: connects to a cluster, checks that it can do the work, and places it there."""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from rayal.dataset import Shard
from rayal.engine.score import score_on_ray
from rayal.engine.train import TrainWorkers
from rayal.errors import ClusterError
from rayal.evaluation import Counts, EvaluateJob, evaluate, metrics
from rayal.experiment import Compute
from rayal.parts import allow_plugins, allowed_plugins
from rayal.scoring import ScoreJob, ShardTask
from rayal.storage import Json
from rayal.training import TrainJob

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong arrives as an exception, and is said once
}
PROBE_SECONDS = 5.0  # a dead address makes ray.init retry for minutes


class RayEngine:
    """Trains with Ray Train, scores with Ray Data, evaluates in tasks, on one cluster."""

    def __init__(self, compute: Compute, cores: int | None = None) -> None:
        """`cores`: those that the cluster really has, as `connect` returns them; null: as many as
        it says. Raises ClusterError where it can never give what `compute` asks."""
        available = ray.cluster_resources()
        self.compute = _resolved(compute, available, cores or int(available.get("CPU", 1)))
        require(self.compute, available)
        self.keeps_workers = _both_fit(self.compute, available)
        self.workers: TrainWorkers | None = None

    def train(self, job: TrainJob) -> Json:
        self.workers = self.workers or TrainWorkers(self.compute)
        try:
            return self.workers.train(job)
        finally:
            if not self.keeps_workers:
                self.close()

    def close(self) -> None:
        """Sends the training workers home, if there are any."""
        if self.workers is not None:
            self.workers.close()
            self.workers = None

    def evaluate(self, job: EvaluateJob) -> Json:
        shards, workers = job.shards(), self.compute.scorers or 1
        parts = [shards[start::workers] for start in range(min(workers, len(shards)))]
        gpus = 1 if self.compute.device == "cuda" else 0
        remote = _evaluate.options(num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD")
        plugins = allowed_plugins()
        pending = [remote.remote(job, part, self.compute.device, plugins) for part in parts]
        return metrics(job, ray.get(pending))

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[Json]:
        return score_on_ray(job, tasks, self.compute)


@ray.remote
def _evaluate(
    job: EvaluateJob, shards: Sequence[Shard], device: str, plugins: tuple[str, ...]
) -> Counts:
    allow_plugins(plugins)
    return evaluate(job, shards, device)


def connect(address: str | None, *, cores: int | None = None) -> int:
    """Joins the cluster at `address` (host:port), or starts one on this machine for this run.

    Returns the number of its cores. A cluster of its own has `cores`, null for those of the
    machine, and promises twice as many and two: training workers keep theirs while they wait, and
    reading never has to wait for actors that hold the rest, on a small machine for ever.
    Raises ClusterError within seconds where nothing answers at the address.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        cores = cores or os.cpu_count() or 1
        _init("local", num_cpus=2 * cores + 2, include_dashboard=False)
        return cores
    _probe(address)
    try:
        _init(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"the Ray cluster at {address} refused the connection: {error}; with token "
            "authentication, set RAY_AUTH_MODE=token and the token's path"
        ) from error
    return int(ray.cluster_resources().get("CPU", 1))


def _init(address: str, **options: Any) -> None:
    with _silenced_stderr():  # Ray's C++ part announces its log level there
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def disconnect() -> None:
    """Leaves the cluster, and stops it where `connect` started it."""
    with suppress(ConnectionError):
        ray.shutdown()


def require(compute: Compute, available: dict[str, float]) -> None:
    """Raises ClusterError where training or scoring asks for more than the cluster has at all."""
    gpus = 1 if compute.device == "cuda" else 0
    demands = {
        "compute.train_workers": (
            compute.train_workers * (compute.cpus_per_worker or 1),
            compute.train_workers * gpus,
        ),
        "compute.scorers": ((compute.scorers or 1) + 1, (compute.scorers or 1) * gpus),
    }
    for field, (cpus, wanted_gpus) in demands.items():
        for kind, wanted in (("CPU", cpus), ("GPU", wanted_gpus)):
            there = available.get(kind, 0)
            if wanted > there:
                plural = "s" if wanted > 1 else ""
                raise ClusterError(
                    f"{field} needs {wanted} {kind}{plural}, the cluster has {there:g}; "
                    f"lower {field} or add nodes"
                )


def _resolved(compute: Compute, available: dict[str, float], cores: int) -> Compute:
    """The same with every null replaced by what this cluster has."""
    gpus = int(available.get("GPU", 0))
    device = compute.device if compute.device != "auto" else ("cuda" if gpus else "cpu")
    room = max(int(available.get("CPU", 1)) - 1, 1)  # one stays free for reading
    return compute.model_copy(
        update={
            "device": device,
            "scorers": compute.scorers or (max(gpus, 1) if device == "cuda" else min(cores, room)),
            "cpus_per_worker": compute.cpus_per_worker
            or (1 if device == "cuda" else min(cores, _cores_of_largest_node())),
        }
    )


def _both_fit(compute: Compute, available: dict[str, float]) -> bool:
    """Whether training workers can stay while scoring actors and readers work."""
    workers, scorers = compute.train_workers, compute.scorers or 1
    gpus = workers + scorers if compute.device == "cuda" else 0
    cpus = workers * (compute.cpus_per_worker or 1) + scorers + 1
    return cpus <= available.get("CPU", 0) and gpus <= available.get("GPU", 0)


def _cores_of_largest_node() -> int:
    return int(max(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"]))


def _probe(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError(f"{address!r} is not the address of a Ray cluster; give host:port")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {address} ({error}); start a cluster with `ray start --head`, "
            "or leave --address out to run on this machine"
        ) from error
