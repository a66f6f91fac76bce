"""A replay on Ray: its workers ask the models, and what is chosen is as in one process."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import rayal
from tests.support.whole_runs import go

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_workers_of_ray_ask_the_models(
    tiny: Callable[..., Any], tmp_path: Path, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay on a cluster would choose otherwise, or the workers lack what was made for it: the
    fit, and what the model before said."""
    x = tiny(
        dataset={"name": "digits", "limit_pool": 200, "limit_test": 100},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        strategy="margin",
        compute={"engine": "local", "shard_rows": 64, "cpus_per_worker": 1},
    )
    go(x, tmp_path / "run")
    names = ["entropy", "cod", "core_set", "uncertain_gcn"]
    here = rayal.replay(tmp_path / "run", cycle=1, strategy=names, forward=True)
    with monkeypatch.context() as patch:
        patch.setattr("rayal.workflows.replay.start_engine", lambda *_: nullcontext(workers))
        there = rayal.replay(
            tmp_path / "run", cycle=1, strategy=names, forward=True, out=tmp_path / "out"
        )

    assert [each.asked for each in there.others] == [True] * len(names)
    assert [each.bought.ids for each in here.others] == [each.bought.ids for each in there.others]
