"""Features are the same bytes, whoever computes them."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from rayal.engine.cluster import RayEngine
from rayal.runs.events import Observers
from rayal.workflows.features import start_features
from rayal.workflows.score.settings import PoolCompute
from tests.workflows.features.test_features import made, settings, weights
from tests.workflows.features.test_killed import FEW, bytes_of

__all__ = ["weights"]  # a fixture

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_actors_keep_what_one_process_keeps(
    weights: str, workers: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study would depend on how many machines looked at its images."""
    made(settings(weights, **FEW), tmp_path / "local")
    whole = bytes_of(tmp_path / "local")
    for actors in (2, 3, 1):  # those that there are, one more, one of them
        compute = PoolCompute(engine="ray", device="cpu", scorers=actors, shard_rows=256)
        x = settings(weights, **{**FEW, "compute": compute})
        asked = workers.compute.model_copy(update={"scorers": actors})
        monkeypatch.setattr(workers, "compute", asked)
        with start_features(x, str(tmp_path / f"{actors}")) as work:
            work.run(lambda: nullcontext(workers), Observers([]))

        assert whole == bytes_of(tmp_path / f"{actors}")
