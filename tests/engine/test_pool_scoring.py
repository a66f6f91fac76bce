"""A pool is scored on Ray as it is in one process."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import ray
import torch

from rayal.cycle.score import ShardTask
from rayal.data.pool import Shard
from rayal.engine import cluster
from rayal.engine.cluster import RayEngine
from rayal.engine.described import described
from rayal.engine.scorers import Call
from rayal.experiment.compute import Compute
from rayal.storage.folder import Json
from rayal.workflows.score import start_scoring
from rayal.workflows.score.settings import PoolCompute
from tests.workflows.score.test_score import (
    UNITS,
    Watch,
    png,
    score,
    settings,
    write_pool,
    write_weights,
)


class Split(NamedTuple):
    """In place of a job that evaluates."""

    found: list[int]
    weights: Any = SimpleNamespace(folder="")
    store: str = ""

    def shards(self) -> list[int]:
        return self.found


pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.mark.parametrize("actors", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_actors_write_what_one_process_writes(
    tmp_path: Path, workers: RayEngine, actors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score, or a kept feature, would depend on the worker."""
    weights = write_weights(tmp_path / "mine.safetensors")
    pool = write_pool(tmp_path / "pool.parquet", [png(number) for number in range(UNITS)])
    x = settings(weights, pool)
    score(x, tmp_path / "local")
    compute = PoolCompute(engine="ray", device="cpu", scorers=actors, shard_rows=8)
    on_ray = x.model_copy(update={"compute": compute})
    asked = workers.compute.model_copy(update={"scorers": actors})
    monkeypatch.setattr(workers, "compute", asked)
    with start_scoring(on_ray, str(tmp_path / "ray")) as opened:
        opened.run(lambda: nullcontext(workers), Watch())

    for file in sorted((tmp_path / "local/scores").glob("shard-*.parquet")):
        assert file.read_bytes() == (tmp_path / "ray/scores" / file.name).read_bytes()


@pytest.mark.parametrize("scorers", [None, 7])
def test_half_the_cores_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorers: int | None
) -> None:
    """On a cluster that somebody else has started one core would decode for all that score."""
    cores = int(ray.cluster_resources()["CPU"])
    engine = RayEngine(Compute(engine="ray", device="cpu", scorers=scorers), cores)
    asked, kept = list[int](), list[int]()
    monkeypatch.setattr(engine.scorers, "keep", kept.append)
    monkeypatch.setattr(cluster, "blocks_of", lambda images, tasks: (each for each in ()))
    monkeypatch.setattr(
        engine.scorers, "do", lambda what, count, calls: asked.append(count) or iter(())
    )
    tasks = [ShardTask(Shard(n, "pool.parquet", 0, 1, 0, 1)) for n in range(100)]
    for raw in (False, True):
        job = SimpleNamespace(images=SimpleNamespace(raw=raw), out=str(tmp_path))
        assert [] == list(engine.score(job, tasks))

    assert [scorers or cores // 2, scorers or cores - 1] == asked == kept


def test_all_processes_evaluate_shard_by_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test split of ten minutes would stand still for a process that has it in one piece, and
    half of the cores would wait for nobody: who evaluates also decodes."""
    cores = int(ray.cluster_resources()["CPU"])
    engine = RayEngine(Compute(engine="ray", device="cpu"), cores)
    shards, asked = list(range(100)), list[tuple[int, list[int]]]()

    def do(what: str, count: int, calls: list[Call]) -> Iterator[tuple[int, Json]]:
        asked.append((count, [call.arguments[-1] for call in calls]))
        return ((place, {"counts": place}) for place in reversed(range(len(calls))))

    monkeypatch.setattr(cluster, "outcome", lambda job, counts: counts)
    monkeypatch.setattr(engine.scorers, "do", do)
    monkeypatch.setattr(engine.storage, "check", lambda *_: None)
    for found in (shards, shards[:2]):
        job: Any = Split(found)
        assert found == engine.evaluate(job)

    assert [(cores - 1, shards), (2, shards[:2])] == asked


def test_ways_out_of_full_memory_are_those_of_the_command() -> None:
    """`rayal score` has no compute.score_batch."""
    said = described(torch.OutOfMemoryError())["message"]

    assert "of `rayal score`: batch), or scheme.batch_size where it trains, and use another" in said
