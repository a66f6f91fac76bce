"""A cluster that others use is left as it was found: after a run, a sweep, Ctrl-C and kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rayal.experiment import config
from tests.support.head import ray_head

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
OPEN = {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
SWEEP = """
extends: x.yaml
sweep:
  seeds: [0, 1]
  space: {strategy: {grid_search: [random, entropy]}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head") / "log", OPEN, cpus=6) as (address, _):
        yield address


@pytest.fixture
def start(tiny: Any, tmp_path: Path, cluster: str) -> Callable[..., subprocess.Popen[str]]:
    """Starts a command of rayal on the cluster, on an experiment of two short cycles."""
    x = tiny(
        scheme={"name": "supervised", "epochs": 20, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 60},
        compute={"engine": "ray", "cpus_per_worker": 1, "scorers": 1, "checkpoint_seconds": 0},
    )
    (tmp_path / "x.yaml").write_text(config.dump(x))
    (tmp_path / "sweep.yaml").write_text(SWEEP)

    def begin(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "rayal", *words, "--out", "out", "--address", cluster],
            cwd=tmp_path,
            env=os.environ | OPEN,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return begin


def left(address: str) -> dict[str, Any]:
    """What a later job finds there."""
    command = [sys.executable, "-m", "tests.support.cluster_left", address]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | OPEN, check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("words", [("run", "x.yaml"), ("sweep", "sweep.yaml")])
def test_after_the_end(start: Any, cluster: str, words: tuple[str, ...]) -> None:
    process = start(*words)
    said, _ = process.communicate()

    assert 0 == process.returncode, said
    assert {"actors": [], "groups": [], "cores": 0.0} == left(cluster)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_in_the_middle(start: Any, cluster: str, tmp_path: Path, sent: signal.Signals) -> None:
    process = start("run", "x.yaml")
    while not list(tmp_path.glob("out/cycle-001/train/checkpoint-*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(sent)
    said, _ = process.communicate()

    assert process.returncode == (130 if sent == signal.SIGINT else -sent), said
    assert {"actors": [], "groups": [], "cores": 0.0} == left(cluster)
