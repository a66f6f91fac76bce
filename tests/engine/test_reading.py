"""Shards that Ray Data hands out, and what is told where it does not get on; or without it."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.data.exceptions import ExecutionTimeoutError

from rayal.cycle.score import ShardTask
from rayal.data.pool import Shard
from rayal.engine import reading
from rayal.engine.failures import ray_errors
from rayal.engine.shard_rows import decoded_of, row_of, task_of
from rayal.errors import ClusterError


def test_reading_that_stands_still_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Data's own words are of operators; of ten minutes nobody wants to wait for a test."""
    handed: list[Any] = []

    class Stuck:
        def map_batches(self, decoder: Any, **options: Any) -> "Stuck":
            return self

        def iter_internal_ref_bundles(self) -> Iterator[Any]:
            yield SimpleNamespace(block_refs=["a block"])
            raise ExecutionTimeoutError("no operator made progress")

    def from_items(rows: list[Any], **options: Any) -> Stuck:
        handed.extend(rows)
        return Stuck()

    monkeypatch.setattr(reading.ray.data, "from_items", from_items)
    task = ShardTask(Shard(0, "part-0.parquet", 0, 1, 0, 2), ["a", "b"])
    blocks = reading.blocks_of(SimpleNamespace(raw=False), [task])  # type: ignore[arg-type]
    with ray_errors("the scoring pass"):
        assert "a block" == next(blocks)
        with pytest.raises(ClusterError, match="reading stands still: .* 10 minutes; see `ray st"):
            next(blocks)
    assert [row_of(task)] == handed


def test_shards_of_a_raw_pool_need_no_ray_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Data starts two processes of a core second each, to hand on a few numbers."""
    kept = list[Any]()
    monkeypatch.setattr("ray.data.from_items", lambda *_, **__: pytest.fail("Ray Data"))
    monkeypatch.setattr("ray.put", kept.append)
    tasks = [
        ShardTask(Shard(number, "part-0.parquet", 0, number, 0, 2), ids)
        for number, ids in enumerate((["a", "b"], None))
    ]
    blocks = [*reading.blocks_of(SimpleNamespace(raw=True), tasks)]  # type: ignore[arg-type]

    assert 2 == len(blocks) and tasks == [task_of(each) for each in kept]
    assert [None, None] == [decoded_of(each) for each in kept]
