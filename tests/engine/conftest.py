"""One Ray cluster for all tests of the engine, and runs of a whole pass."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rayal.engine.cluster import RayEngine

PLUGINS = Path(__file__).parents[1] / "support" / "plugins"


@pytest.fixture(scope="session")
def ray_cluster(cache: Path) -> Iterator[None]:
    """A real cluster on this machine, with more logical cores than the tests ask for."""
    from rayal.engine import start

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", str(PLUGINS))
        patch.syspath_prepend(str(PLUGINS))
        start.connect(None, cores=8)
        yield
        start.disconnect()


@pytest.fixture(scope="session")
def workers(ray_cluster: None) -> Iterator["RayEngine"]:
    """An engine whose training workers, who take long to start, wait for the next test's run."""
    from rayal.engine.cluster import RayEngine
    from rayal.experiment.compute import Compute

    compute = Compute(cpus_per_worker=2, scorers=2, device="cpu")
    with closing(RayEngine(compute, cores=2)) as engine:
        yield engine
