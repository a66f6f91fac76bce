"""A pool is scored on Ray as it is in one process."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from rayal import pool_scoring
from rayal.engine.cluster import RayEngine
from rayal.pool_scoring.settings import PoolCompute
from tests.test_pool_scoring import UNITS, Watch, png, score, settings, write_pool, write_weights

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.mark.parametrize("actors", [1, 3])
def test_actors_write_what_one_process_writes(tmp_path: Path, actors: int) -> None:
    """A score, or a kept feature, would depend on the worker."""
    weights = write_weights(tmp_path / "mine.safetensors")
    pool = write_pool(tmp_path / "pool.parquet", [png(number) for number in range(UNITS)])
    x = settings(weights, pool)
    score(x, tmp_path / "local")
    compute = PoolCompute(engine="ray", device="cpu", scorers=actors, shard_rows=8)
    on_ray = x.model_copy(update={"compute": compute})
    with pool_scoring.opened(on_ray, str(tmp_path / "ray")) as opened:
        engine = RayEngine(compute.for_engine(), cores=8)
        opened.run(lambda: nullcontext(engine), Watch())

    for file in sorted((tmp_path / "local/scores").glob("shard-*.parquet")):
        assert file.read_bytes() == (tmp_path / "ray/scores" / file.name).read_bytes()
