"""Nodes that come and go, and a head that dies: the same picks as in one process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.experiment import config
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support.doubles import Silent
from tests.support.head import ray_head

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


OPEN = {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def started(tmp_path):
    """`started(seed, *arguments)`: a run of x.yaml in a process of its own."""

    runs: list[subprocess.Popen[str]] = []

    def start(seed: int, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rayal", "run", "x.yaml", "--out", f"run-{seed}"]
        runs.append(
            subprocess.Popen(
                [*command, "--set", f"seed={seed}", *arguments],
                env=os.environ | OPEN,
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return runs[-1]

    yield start
    for run_there in runs:
        with run_there:
            run_there.kill()


def alone(x, seed: int, out: Path) -> list[bytes]:
    """What a run in this process ends with."""
    compute = x.compute.model_copy(update={"engine": "local"})
    local = x.model_copy(update={"compute": compute, "seed": seed})
    with Ledger(Folder(out), local.identity()) as ledger:
        run(local, x.dataset.open(), ledger, LocalEngine(compute), Silent())
    return endings(out)


@pytest.mark.timeout(600)
def test_a_head_that_dies_ends_the_run_which_goes_on_elsewhere(tiny, tmp_path, started):
    """A driver would wait for its cluster for ever, or what it had done be lost (A09)."""
    x = tiny(
        strategy="random",
        scheme={"name": "supervised", "epochs": 200, "batch_size": 16, "lr": 0.05},
        compute={"engine": "ray", "cpus_per_worker": 1, "checkpoint_seconds": 0},
    )
    (tmp_path / "x.yaml").write_text(config.dump(x))
    with ray_head(tmp_path / "head.log", OPEN, cpus=4) as (address, group):
        there = started(0, "--address", address)
        while not list((tmp_path / "run-0").glob("cycle-000/train/checkpoint-*.json")):
            assert there.poll() is None, there.communicate()[1]
            time.sleep(0.1)
        found = subprocess.run(["pgrep", "-g", str(group), "gcs_server"], capture_output=True)
        os.kill(int(found.stdout), signal.SIGKILL)
        _, said = there.communicate(timeout=60)
    here = started(0, "--set", "compute.engine=local")
    _, rest = here.communicate(timeout=120)

    assert (5, 0) == (there.returncode, here.returncode), said + rest
    assert "; the same command goes on where it stopped" in said.splitlines()[-1]
    assert alone(x, 0, tmp_path / "alone") == endings(tmp_path / "run-0")


@pytest.mark.timeout(600)
def test_two_runs_on_one_cluster(tiny, tmp_path, started):
    """Two users of one cluster would be given each other's processes (C12)."""
    x = tiny(
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        compute={"engine": "ray", "cpus_per_worker": 1, "scorers": 1, "shard_rows": 64},
    )
    (tmp_path / "x.yaml").write_text(config.dump(x))
    with ray_head(tmp_path / "head.log", OPEN, cpus=8) as (address, _):
        runs = [started(seed, "--address", address) for seed in (0, 1)]
        said = [run.communicate(timeout=300)[1] for run in runs]

    assert [0, 0] == [run.returncode for run in runs], said
    for seed in (0, 1):
        assert alone(x, seed, tmp_path / f"alone-{seed}") == endings(tmp_path / f"run-{seed}")
    assert endings(tmp_path / "run-0") != endings(tmp_path / "run-1")
