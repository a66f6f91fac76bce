"""One Ray cluster for all tests of the engine, and runs of a whole pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[1] / "support" / "plugins"


@pytest.fixture(scope="session")
def ray_cluster(cache: Path) -> Iterator[None]:
    """A real cluster on this machine, with more logical cores than the tests ask for."""
    from rayal.engine import cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", str(PLUGINS))
        patch.syspath_prepend(str(PLUGINS))
        cluster.connect(None, cores=8)
        yield
        cluster.disconnect()
