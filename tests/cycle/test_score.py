"""What one pass of a run computes, before it is computed."""

from types import SimpleNamespace
from typing import Any

import pytest

from rayal.cycle.score import score_batch
from rayal.experiment.compute import Compute


@pytest.mark.parametrize(
    "asked, pool, batch",
    [(64, 1437, 64), (200_000, 1437, 1437), (10**15, 100_000, 8192), (10**15, 40, 40)],
)
def test_a_batch_is_no_larger_than_a_shard(asked: int, pool: int, batch: int) -> None:
    """Batches are filled up: 200,000 asked of a pool of 1,437 took 3.5 GB."""
    card: Any = SimpleNamespace(image=SimpleNamespace(shape=(3, 8, 8)), group_rows=256, pool=pool)

    assert batch == score_batch(Compute(score_batch=asked, shard_rows=8000), card)


@pytest.mark.parametrize("rows", [1, 100, 256, 8000])
def test_a_usual_batch_is_the_same_however_the_pool_is_divided(rows: int) -> None:
    """Networks would see another shape, and scores differ in their last bits."""
    card: Any = SimpleNamespace(image=SimpleNamespace(shape=(3, 8, 8)), group_rows=1, pool=9000)

    assert 256 == score_batch(Compute(shard_rows=rows), card)
