"""What every engine promises: on Ray and in this process the same is done."""

from collections.abc import Callable
from contextlib import closing

import pytest

from rayal.cycle import batch_size
from rayal.cycle.shared_training import SharedTraining
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.experiment.compute import Compute
from rayal.storage.folder import Folder
from rayal.testing import EngineContract
from rayal.testing.contract import scratch


class TestLocal(EngineContract):
    part = LocalEngine

    @pytest.fixture(autouse=True)
    def _in_haste(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch_size, "SECONDS", 0.0)  # how long it measures


class TestShared(TestLocal):
    """What trains once for all trials of a sweep is an engine like any other."""

    @staticmethod
    def part(compute: Compute) -> SharedTraining:
        return SharedTraining(LocalEngine(compute), Folder(scratch()))


@pytest.fixture(scope="module")
def opened(workers: RayEngine) -> Callable[[Compute], RayEngine]:
    """The engine of other tests: workers of its own would take long to start."""
    return lambda compute: workers


@pytest.mark.ray
class TestRay(EngineContract):
    """Results are joined whatever their order (C02), and mistakes are neither tried again nor
    blamed on the cluster (C11, G06). Workers that die: see test_cluster.py."""

    compute = EngineContract.compute.model_copy(update={"cpus_per_worker": 2})

    @pytest.fixture(autouse=True)
    def _on_ray(self, opened: Callable[[Compute], RayEngine]) -> None:
        self.part = opened

    def test_starts_nothing_for_nothing(self) -> None:
        """A sweep whose first training another trial has done would die of it."""
        with closing(RayEngine(self.compute, cores=2)) as engine:
            assert [] == list(engine.train([]))
            assert [] == engine.groups
