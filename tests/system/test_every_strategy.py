"""Whole runs of every strategy: what must not change what it chooses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.experiment.experiment import Experiment
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from rayal.workflows.run import start_engine, start_run
from tests.support.doubles import scheme_for, small_strategy, strategies_for


def chosen(x: Experiment, out: Path) -> list[list[str]]:
    """The ids of every selection of a run, best first."""
    with start_run(x, str(out)) as opened:
        pool = opened.run(lambda: start_engine(x.compute))
    record = Record(Folder(out))
    results = [record.result(cycle, Chosen) for cycle in range(pool.cycle)]
    return [result.ids for result in results if result is not None]


@pytest.mark.parametrize("strategy", strategies_for("classification"))
def test_batches_and_shards_do_not_choose(
    tiny: Callable[..., Any], tmp_path: Path, strategy: str
) -> None:
    """A larger GPU or another machine would label other images (G11)."""

    def run(name: str, **compute: int) -> list[list[str]]:
        x = tiny(
            dataset={"name": "digits", "limit_pool": 300, "limit_test": 50},
            model={"name": "small_cnn", "width": 8, "dropout": 0.3},
            scheme={"name": scheme_for(strategy), "epochs": 2, "batch_size": 16, "lr": 0.05},
            strategy=small_strategy(strategy),
            ensemble=2,
            compute={"engine": "local", "cpus_per_worker": 1, **compute},
        )
        return chosen(x, tmp_path / name)

    whole = run("whole", score_batch=256, shard_rows=1024)

    assert [20, 20] == [len(ids) for ids in whole]
    assert whole == run("parts", score_batch=32, shard_rows=64)
