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
from ray.train.torch import TorchConfig
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NEEDLESS = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
"""Of Ray Train's callbacks those that start an actor each."""


class Trainer(DataParallelTrainer):
    """Starts a group of workers, and keeps it while their function runs."""

    def __init__(self, work: Any, *, workers: int, **settings: Any) -> None:
        """`work` is what each of the `workers` runs; `settings` those of Ray's trainers.

        One worker alone needs no process group, and its controller then imports no torch.
        """
        together = TorchConfig() if workers > 1 else BackendConfig()
        super().__init__(work, backend_config=together, **settings)

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()
        return [each for each in made if type(each).__name__ not in NEEDLESS]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """As Ray's, but the controller is an actor like any other: with a runtime environment of
        its own, it and its workers would wait for new processes beside idle ones."""
        if type(settings["scaling_policy"]) is FixedScalingPolicy:
            scaling: Any = self.scaling_config  # annotated as that of Train V1
            settings["scaling_policy"] = _Reserved(scaling)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        kind: Any = ray.remote(num_cpus=0)(TrainController)
        controller = kind.options(scheduling_strategy=here).remote(**settings)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())


class _Reserved(FixedScalingPolicy):
    """A group of one size, whose reservation is all that an autoscaler has to see."""

    def after_controller_start(self, *_: Any) -> None:
        """Tells nobody."""

    def _maybe_send_resource_request(self) -> None:
        pass
