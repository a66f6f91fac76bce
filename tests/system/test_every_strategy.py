"""Runs of every strategy: what must not change what it chooses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.experiment.experiment import Experiment
from tests.support.doubles import scheme_for, small_strategy, strategies_for
from tests.support.whole_runs import chosen, stopped_at


def choices(x: Experiment, out: Path) -> list[list[str]]:
    """The ids of both selections, best first; what the second buys is not trained on."""
    return chosen(stopped_at(x, out, 2, "train"))


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
        return choices(x, tmp_path / name)

    whole = run("whole", score_batch=256, shard_rows=1024)

    assert [20, 20] == [len(ids) for ids in whole]
    assert whole == run("parts", score_batch=32, shard_rows=64)
