"""A sweep of a file: as if the file had been read first."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.api.sweep_file import sweep_file
from rayal.engine import forks
from rayal.errors import LockedError, UsageError
from rayal.experiment import config
from rayal.report import curves, parallel
from tests.api.test_sweep import SMALL
from tests.support.finished_sweep import finish

OPTIONS: dict[str, Any] = {"address": None, "on_event": None, "break_lock": False}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes to copy that were begun."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made = list[Any]()
    real = forks.subprocess.Popen

    def popen(*told: Any, **how: Any) -> Any:
        made.append(real(*told, **how))
        return made[-1]

    monkeypatch.setattr(forks.subprocess, "Popen", popen)
    for each in (curves, parallel):  # figures take long
        monkeypatch.setattr(each, "drawn", lambda *_: (b"", b""))
    return made


@pytest.fixture(scope="module")
def made(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the file of a sweep that is complete, beside it in `out`."""
    folder = tmp_path_factory.mktemp("made")
    block = {"seeds": [0], "space": {"strategy": {"grid_search": ["random", "entropy"]}}}
    fields = {**tiny(**SMALL).model_dump(mode="json"), "sweep": block}
    x = rayal.SweptExperiment.model_validate(fields)
    (folder / "swept.yaml").write_text(config.dump(x))
    finish(x, folder / "out")
    return folder


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "copied")) / "swept.yaml"


def test_a_process_begins_before_the_file_is_understood(file: Path, begun: list[Any]) -> None:
    """The command would import torch first, and then let its processes do so."""
    found = sweep_file(file, out=file.parent / "out", **OPTIONS)

    assert found.complete and (0,) == found.experiment.sweep.seeds
    assert [True] == [process.poll() is not None for process in begun]


@pytest.mark.parametrize(
    "setting", ["compute.engine=ray", "sweep.gpus=0.5", "sweep.early_stopping={}"]
)
def test_none_begins_where_none_suffices(file: Path, begun: list[Any], setting: str) -> None:
    """It would import torch for nothing on a busy head node."""
    with suppress(LockedError):  # that the sweep was begun with other settings
        sweep_file(file, [setting], out=file.parent / "out", **OPTIONS)

    assert [] == begun


def test_a_guess_that_was_wrong_costs_no_cluster(file: Path, begun: list[Any]) -> None:
    """What is written as text, as YAML allows it, is a number only once the file is understood."""
    found = sweep_file(file, ['sweep.gpus="0"'], out=file.parent / "out", **OPTIONS)

    assert found.complete and 1 == len(begun)


def test_mistakes_are_told_as_ever(file: Path, begun: list[Any]) -> None:
    """A guess about a file must not hide what is wrong with it."""
    with pytest.raises(UsageError, match="sweep.cpus"):
        sweep_file(file, ["sweep.cpus=many"], out=file.parent / "out", **OPTIONS)
    with pytest.raises(UsageError, match="sweep"):
        sweep_file(file, ["sweep=none"], out=file.parent / "out", **OPTIONS)
    with pytest.raises(UsageError, match="cannot be read"):
        sweep_file(file.parent / "absent.yaml", **OPTIONS)

    assert all(process.poll() is not None for process in begun)
