"""Several nodes that come and go: the same picks as in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.experiment import config
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support.doubles import Silent

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def endings(out: Path) -> list[bytes]:
    """All picks, and the weights of every cycle."""
    return [
        path.read_bytes()
        for pattern in ("cycle-*/select/chosen.csv", "cycle-*/train/weights.safetensors")
        for path in sorted(out.glob(pattern))
    ]


@pytest.mark.parametrize("lost", ["scoring", "training", "scoring,training"])
def test_nodes_that_are_lost_and_added_change_nothing(tiny, tmp_path, lost, monkeypatch):
    """A07, A08: spot machines leave in the middle of a pass and of a training, others come."""
    x = tiny(
        scheme={"name": "supervised", "epochs": 40, "batch_size": 16, "lr": 0.05},
        compute={
            "engine": "ray",
            "shard_rows": 64,
            "scorers": 2,
            "cpus_per_worker": 1,
            "checkpoint_seconds": 0,
        },
    )
    (tmp_path / "x.yaml").write_text(config.dump(x))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.run_on_nodes",
            tmp_path / "x.yaml",
            tmp_path / "nodes",
            lost,
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"lost while {lost}" in done.stdout

    local = x.model_copy(update={"compute": x.compute.model_copy(update={"engine": "local"})})
    with Ledger(Folder(tmp_path / "local"), x.identity()) as ledger:
        run(local, x.dataset.open(), ledger, LocalEngine(local.compute), Silent())
    assert endings(tmp_path / "nodes") == endings(tmp_path / "local")
    assert len(endings(tmp_path / "local")) == 5
