"""What runs for a training on Ray: the workers, what leads them, and nothing else."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.node import Node
from ray._private.state import actors
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup

from rayal.engine.cluster import RayEngine
from rayal.engine.own_cluster import HELPERS
from rayal.engine.trainer import CLEANER, DATASETS, Trainer
from rayal.experiment.compute import Compute
from tests.engine.test_cluster import COMPUTE, finish

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

PATIENCE_SECONDS = 30.0


def living(but: set[str]) -> dict[str, str]:
    """Class of each actor that is not dead, by id, less those that there were."""
    found = {key: actor for key, actor in actors().items() if key not in but}
    return {key: a["ActorClassName"] for key, a in found.items() if a["State"] != "DEAD"}


def test_a_run_starts_no_process_for_nothing_and_leaves_none(tiny: Any, tmp_path: Path) -> None:
    """Each takes a second of a core before the first training; on a cluster that others use, one
    that is left keeps its place for ever."""
    before, free = {*actors()}, ray.available_resources()["CPU"]
    x = tiny(compute=COMPUTE, budget={"initial": 20, "per_cycle": 20, "total": 40})
    with closing(RayEngine(Compute(cpus_per_worker=1, scorers=1, device="cpu"), cores=2)) as engine:
        finish(x, engine, tmp_path)
        there = sorted(living(before).values())
    until = time.monotonic() + PATIENCE_SECONDS
    while (living(before) or ray.available_resources()["CPU"] < free) and time.monotonic() < until:
        time.sleep(0.1)

    # A raw pool is handed out without the two actors of Ray Data.
    assert there == [
        "Controller",
        "Desk",
        "RayTrainWorker",
        "ScoreProcess",
        "SynchronizationActor",
    ]
    assert {} == living(before)
    assert ray.available_resources()["CPU"] == free


@pytest.mark.parametrize(("workers", "group"), [(1, "BackendConfig"), (2, "TorchConfig")])
def test_ray_still_has_what_is_left_out(workers: int, group: str) -> None:
    """A name that Ray changes would bring its processes back, without a word."""
    scaling = ray.train.ScalingConfig(num_workers=workers)
    trainer = Trainer(print, workers=workers, scaling_config=scaling)
    made = {type(each).__name__ for each in super(Trainer, trainer)._create_default_callbacks()}
    kept = {type(each).__name__ for each in trainer._create_default_callbacks()}

    assert made - kept == {DATASETS, CLEANER}
    assert "AcceleratorSetupCallback" in kept and "BackendSetupCallback" in kept
    assert type(trainer.backend_config).__name__ == group
    assert {"after_controller_start", "_maybe_send_resource_request"} <= {*dir(FixedScalingPolicy)}
    assert TrainController.worker_group_cls is WorkerGroup
    assert "_get_worker_runtime_env" in dir(WorkerGroup)
    assert {*HELPERS} <= {*dir(Node)}
