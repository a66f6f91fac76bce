"""`rayal.sweep` and `rayal.open_sweep`: what a sweep is and has found, in Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.api import sweep as module
from rayal.errors import LockedError, UsageError
from rayal.report import curves, parallel
from rayal.runs.events import Event
from tests.support.finished_sweep import finish

SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "limit_pool": 60, "limit_test": 20},
    "model": {"name": "small_cnn", "width": 4},
    "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
    "budget": {"initial": 20, "per_cycle": 20, "total": 40},
    "strategy": "random",
}
SPACE = {"strategy": ["random", "entropy"]}


@pytest.fixture(scope="module")
def x(tiny: Callable[..., Any]) -> rayal.Experiment:
    made: rayal.Experiment = tiny(**SMALL)
    return made


@pytest.fixture(scope="module")
def out(x: rayal.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two arms and two seeds, as a file would describe it."""
    folder = tmp_path_factory.mktemp("sweep")
    block = {"seeds": [0, 1], "space": {"strategy": {"grid_search": ["random", "entropy"]}}}
    fields = {**x.model_dump(mode="json"), "sweep": block}
    finish(rayal.SweptExperiment.model_validate(fields), folder)
    return folder


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not started, and the figures, which take long, are not drawn again."""
    monkeypatch.setattr(module, "start_cluster", lambda *_: pytest.fail("Ray was started"))
    for each in (curves, parallel):
        monkeypatch.setattr(each, "drawn", lambda *_: (b"", b""))


def test_python_means_what_a_file_means(x: rayal.Experiment, out: Path, no_cluster: None) -> None:
    """A sweep that a file began could not be continued from a notebook: all would run again."""
    told = list[Event]()
    found = rayal.sweep(x, SPACE, range(2), out=out, on_event=told.append)

    assert found.complete and (4, 4) == (found.result.complete, found.result.trials)
    assert [("opened", "sweep", str(out), "complete already")] == [
        (event.what, event.stage, event.url, event.note) for event in told
    ]
    assert rayal.sweep(found.experiment, out=out).complete
    assert rayal.sweep(found.experiment, objective="final", out=out).experiment.sweep.seeds == (
        0,
        1,
    )
    with pytest.raises(LockedError, match=r"sweep.seeds: \[0, 1\] -> \[0\]"):
        rayal.sweep(found.experiment, seeds=[0], out=out)


def test_what_was_found(x: rayal.Experiment, out: Path) -> None:
    """The best arm would be another than the command's, or a trial be missing."""
    found = rayal.open_sweep(out)
    table, trials, runs = found.table(), found.trials(), found.runs()

    assert 2 == len(table) and [2] * 2 == [*table["n"]] == [*table["complete"]]
    assert [*trials["folder"]] == [run.url for run in runs] and 4 == len(runs)
    assert ["folder", "strategy", "seed", "complete", "labels"] == [*trials.columns[:5]]
    (ranking,) = found.result.rankings
    assert [each.arm.label for each in ranking] == [*table["arm"]]
    assert found.best is not None and found.best.url == ranking[0].trial.url
    assert found.lines[-1] == f"best trial  {found.best.url}"
    assert all(line in str(found) for line in found.lines) and "<pre" in found._repr_html_()
    assert found.url in repr(found) and "4 of 4 trials complete" in repr(found)
    assert found.plot().axes and found.plot_parallel().axes
    assert 2 == len(rayal.compare(found).table())
    assert 2 == len(rayal.compare(found.best.record.place).table())


def test_a_sweep_that_has_only_begun(x: rayal.Experiment, tmp_path: Path) -> None:
    """Whoever looks into a sweep of last night would get an error of an empty table."""
    opened = module.start_sweep(
        module._swept(x, SPACE, [0], {}, module.Plugins()), str(tmp_path / "begun")
    )
    with opened:
        found = rayal.open_sweep(tmp_path / "begun")

    assert not found.complete and found.best is None
    assert 0 == len(found.table()) == len(found.trials()) == len(found.runs())
    assert "0 of 2 trials complete" in found._repr_html_()


def test_what_is_wrong_is_said_before_anything_starts(
    x: rayal.Experiment, tmp_path: Path, no_cluster: None
) -> None:
    """A cluster would be started for a typo."""
    with pytest.raises(UsageError, match="not told what to vary; give space="):
        rayal.sweep(x, out=tmp_path)
    with pytest.raises(UsageError, match="sweep.sampels: there is no such key; did you mean 'samp"):
        rayal.sweep(x, SPACE, out=tmp_path, sampels=3)
    with pytest.raises(UsageError, match="there is no 'codd' in strategies"):
        rayal.sweep(x, {"strategy": ["codd"]}, out=tmp_path)
    assert [] == [*tmp_path.iterdir()]


def test_a_folder_without_a_sweep(out: Path) -> None:
    """An empty table would look like a sweep that has not begun."""
    with pytest.raises(UsageError, match="holds no sweep; give the folder that"):
        rayal.open_sweep(out / "trials")
    assert rayal.open_sweep(out).complete
