"""Finished runs for tests of the API."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal


@pytest.fixture(scope="session")
def runs(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Complete runs of two strategies with two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    for strategy in ("random", "entropy"):
        for seed in (0, 1):
            x = tiny(
                strategy=strategy,
                seed=seed,
                scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
                budget={"initial": 20, "per_cycle": 20, "total": 40},
            )
            rayal.run(x, folder / f"{strategy}-{seed}")
    return folder


@pytest.fixture
def one_damaged(runs: Path, tmp_path: Path) -> Path:
    """A copy of them, of which `entropy-1` cannot be read."""
    copied = Path(shutil.copytree(runs, tmp_path / "runs"))
    (copied / "entropy-1" / "run.json").write_text("{")
    return copied
