"""Ray's trainer less the processes that have nothing to do for rayal.

Beside its controller and its workers Ray Train 2.60 starts an actor that hands out the datasets of
Ray Data, one that tells an autoscaler what is wanted, and one that removes the reservation of a
controller that was killed. Here no dataset is handed out; the reservation itself tells the
autoscaler, and ends with the job. Each is a Python process of more than a core second, and the
first worker waits for two of them. Where a version of Ray has no such actor, nothing changes.
"""

from typing import Any

import ray
from ray.train import BackendConfig
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayal.engine.own_cluster import inherits

DATASETS, CLEANER = "DatasetsCallback", "PlacementGroupCleanerCallback"
"""Of Ray Train's callbacks those that start an actor each."""


class Trainer(DataParallelTrainer):
    """Starts a group of workers, and keeps it while their function runs."""

    def __init__(self, work: Any, *, workers: int, **settings: Any) -> None:
        """`work` is what each of the `workers` runs; `settings` those of Ray's trainers.

        One worker alone needs no process group, and its controller then imports no torch: it takes
        classes of this module.
        """
        super().__init__(work, backend_config=_backend(workers), **settings)

    def _create_default_callbacks(self) -> list[Any]:
        # In a sweep's trial the job, and with it a reservation, goes on when this process dies.
        alone = ray.get_runtime_context().get_actor_id() is None
        needless = {DATASETS, CLEANER} if alone else {DATASETS}
        made = super()._create_default_callbacks()
        return [each for each in made if type(each).__name__ not in needless]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """As Ray's, but controller and workers have runtime environments of their own only where
        they need them: else they wait for new processes beside idle ones."""
        if type(settings["scaling_policy"]) is FixedScalingPolicy:
            scaling: Any = self.scaling_config  # annotated as that of Train V1
            settings["scaling_policy"] = _Reserved(scaling)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        own = inherits()
        kind: Any = ray.remote(num_cpus=0)(Controller if own else TrainController)
        environment = None if own else {"env_vars": get_env_vars_to_propagate()}
        placed = kind.options(scheduling_strategy=here, runtime_env=environment)
        controller = placed.remote(**settings)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())


def _backend(workers: int) -> BackendConfig:
    """How they find each other."""
    if workers == 1:
        return BackendConfig()
    from ray.train.torch import TorchConfig  # imports torch

    return TorchConfig()


class Workers(WorkerGroup):
    """Workers without a runtime environment of their own, which need no new process each."""

    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: Any) -> Any:
        return custom_runtime_env


class Controller(TrainController):
    """Starts such workers."""

    worker_group_cls = Workers


class _Reserved(FixedScalingPolicy):
    """A group of one size, whose reservation is all that an autoscaler has to see."""

    def after_controller_start(self, *_: Any) -> None:
        """Tells nobody."""

    def _maybe_send_resource_request(self) -> None:
        pass
