"""Runs of every strategy: what must not change what it chooses."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.experiment.experiment import Experiment
from tests.support.branched import AFTER
from tests.support.doubles import models_for, scheme_for, small_strategy, strategies_for
from tests.support.whole_runs import chosen, stopped_at


def choices(x: Experiment, out: Path) -> list[list[str]]:
    """The ids of both selections, best first; what the second buys is not trained on."""
    return chosen(stopped_at(x, out, 2, "train"))


def trained_alike(run: Path, out: Path) -> None:
    """A folder with the first training of a run, which no division of the pool concerns, and
    nothing that came after it."""
    ignored = shutil.ignore_patterns("identity.json", "cycle-001", "cycle-002", *AFTER)
    shutil.copytree(run, out, ignore=ignored)


@pytest.mark.parametrize("strategy", strategies_for("classification"))
def test_batches_and_shards_do_not_choose(
    tiny: Callable[..., Any], tmp_path: Path, strategy: str
) -> None:
    """A larger GPU or another machine would label other images (G11)."""

    asks = small_strategy(strategy)

    def x(**compute: int) -> Experiment:
        made: Experiment = tiny(
            dataset={"name": "digits", "limit_pool": 300, "limit_test": 50},
            model={"name": "small_cnn", "width": 8, "dropout": 0.3},
            scheme={"name": scheme_for(strategy), "epochs": 1, "batch_size": 16, "lr": 0.05},
            strategy=asks,
            ensemble=models_for(asks),
            compute={"engine": "local", "cpus_per_worker": 1, **compute},
        )
        return made

    whole = choices(x(score_batch=256, shard_rows=1024), tmp_path / "whole")
    trained_alike(tmp_path / "whole", tmp_path / "parts")

    assert [20, 20] == [len(ids) for ids in whole]
    assert whole == choices(x(score_batch=32, shard_rows=64), tmp_path / "parts")
