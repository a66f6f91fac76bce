"""A pool that machines hold is the one that this process would load."""

from pathlib import Path

import numpy as np
import pytest

from rayal.cycle import lots, shard_file
from rayal.cycle.lots import Whole, held
from rayal.errors import LostError
from rayal.selection.candidates import Candidates
from rayal.selection.progress import Progress
from rayal.strategies.badge import Badge
from rayal.strategies.base import Strategy
from rayal.strategies.core_gcn import CoreGcn
from rayal.strategies.core_set import CoreSet
from rayal.workflows.select.finished_pass import FinishedPass
from tests.support.kept_pass import kept_pass
from tests.support.local_machines import Local


def picks(strategy: Strategy, pool: Candidates) -> list[str]:
    return list(strategy.select(pool, 40, np.random.default_rng(1)))


@pytest.mark.parametrize(
    "strategy", [CoreSet(), Badge(), CoreGcn()], ids=["core_set", "badge", "core_gcn"]
)
@pytest.mark.parametrize("count", [1, 2, 4, 99])
def test_the_pool_is_the_one_that_is_loaded(tmp_path: Path, strategy: Strategy, count: int) -> None:
    """Rows would be given to other units, labeled ones be picked, bad images have features."""
    done, name = FinishedPass(kept_pass(tmp_path, 120)), strategy.part_name()
    labeled = [f"unit-{n:06d}" for n in range(0, 120, 9)]
    keeps = strategy.kept_names()
    here = shard_file.load(done.folder, done.result, keeps, labeled, [name])[name]
    whole = Whole.of(done.folder, done.result, strategy, name, labeled)

    assert 2 * sum(rows.shape[1] for rows in here.kept.values()) == whole.row_bytes
    with held(Local(count), whole, labeled, Progress()) as there:
        assert list(here.ids) == list(there.ids) and list(here.labeled_ids) == list(
            there.labeled_ids
        )
        if strategy.scans_labeled:
            (signal,) = strategy.kept()
            np.testing.assert_array_equal(here.labeled[signal], there.labeled[signal])
        assert picks(strategy, here) == picks(strategy, there)


def test_lots_are_all_shards_in_order_and_of_like_size(tmp_path: Path) -> None:
    """A shard would be held twice or by nobody, or one machine hold most of the pool."""
    done = FinishedPass(kept_pass(tmp_path, 400, shards=40))
    whole = Whole.of(done.folder, done.result, CoreSet(), "core_set", ())
    for count in (1, 2, 7, 100):
        dealt = whole.lots(count)

        assert whole.lot.shards == tuple(record for lot in dealt for record in lot.shards)
        assert min(count, 41) == len(dealt)
        largest = max(record.bytes for record in whole.lot.shards)
        assert max(lot.bytes for lot in dealt) <= whole.lot.bytes / count + largest
        assert 441 <= sum(whole.units_of(lot) for lot in dealt) < 441 + count


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    """Distances to what a disk has garbled would be picks."""
    done = FinishedPass(kept_pass(tmp_path, 60))
    whole = Whole.of(done.folder, done.result, CoreSet(), "core_set", ())
    path = tmp_path / "scores/shard-00003.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(LostError, match="shard-00003"):
        lots.read(whole.lot)
