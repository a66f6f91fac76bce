"""Runs that nothing disturbed, and a small disk."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayal.experiment.experiment import Experiment
from tests.support.whole_runs import BRIEF, ONE_THREAD, Guessing, go, stopped_at


@pytest.fixture(scope="module")
def guessing(tiny: Callable[..., Experiment]) -> Experiment:
    return tiny(
        scheme={**BRIEF, "epochs": 2},
        strategy=Guessing(),
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        compute=ONE_THREAD,
    )


@pytest.fixture(scope="module")
def whole(guessing: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    go(guessing, out)
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("may not mount a disk here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def before_select(guessing: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped between scoring and selecting."""
    return stopped_at(guessing, tmp_path_factory.mktemp("stopped"), 0, "select")
