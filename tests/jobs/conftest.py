"""Two small finished runs that differ in their seed, and how to analyse them."""

import csv
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

JOBS = Path(__file__).parents[2] / "jobs"
for folder in ("analyse", "bench", "reproduce"):
    sys.path.insert(
        0, str(JOBS / folder)
    )  # as for `python jobs/bench/x.py`, which imports siblings

from mlflow import MlflowClient  # noqa: E402

from rayal.runs.trackers.mlflow import Mlflow  # noqa: E402
from rayal.workflows import run as session  # noqa: E402

Rows = list[dict[str, str]]


@pytest.fixture(scope="session")
def finished(
    tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Builds a run of these fields, to its end, and returns its folder."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str, **fields: Any) -> str:
        compute = {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1}
        x = tiny(compute=compute, **fields)
        with session.start_run(x, str(folder / name)) as opened:
            opened.run(lambda: session.start_engine(x.compute))
        return str(folder / name)

    return run


@pytest.fixture(scope="session")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Mlflow:
    return Mlflow(uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


@pytest.fixture(scope="session")
def runs(finished: Callable[..., str], tracker: Mlflow) -> list[str]:
    """Folders of two seeds of cod, with observers; passes 0 to 2, four trainings."""
    fields = {
        "observers": ["entropy", "least_confidence"],
        "budget": {"initial": 20, "per_cycle": 20, "total": 80},
        "tracking": tracker.model_dump(),
    }
    return [finished(f"cod-{seed}", seed=seed, **fields) for seed in (0, 1)]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `analyse/x.py` of jobs/ with a command line, in this process; returns its exit code."""

    def run(name: str, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", [str(JOBS / name), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(JOBS / name), run_name="__main__")
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def rows() -> Callable[[Path], Rows]:
    """The rows of a CSV file."""

    def read(path: Path) -> Rows:
        with path.open() as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture
def assert_drawn() -> Callable[[Path], None]:
    """A figure is there as pixels and as vectors, and something is on it."""

    def check(path: Path) -> None:
        pixels = np.asarray(Image.open(path.with_suffix(".png")).convert("RGB"))
        coloured = (np.ptp(pixels, axis=2) > 60).sum()  # axes and text are grey

        assert coloured > 200, path
        assert "<svg" in path.with_suffix(".svg").read_text()

    return check


@pytest.fixture
def artifacts(tracker: Mlflow) -> Callable[[str], set[str]]:
    """What MLflow has of the analyses of a run folder."""

    def listed(run_id: str) -> set[str]:
        client, experiment = tracker._open()
        assert isinstance(client, MlflowClient)
        (run,) = client.search_runs([experiment], f"tags.`rayal.run` = '{run_id}'")
        return {Path(a.path).name for a in client.list_artifacts(run.info.run_id, "analysis")}

    return listed
