"""`rayal.sweep` and `rayal.open_sweep`: what a sweep is and has found, in Python."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.api import sweep as module
from rayal.errors import LockedError, UsageError
from rayal.report import curves, parallel
from rayal.report.tables import Summary
from rayal.runs.events import Event
from rayal.workflows import run
from rayal.workflows.sweep.sweeping import start_sweep
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
    monkeypatch.setattr(run, "start_cluster", lambda *_: pytest.fail("Ray was started"))
    for each in (curves, parallel):
        monkeypatch.setattr(each, "drawn", lambda *_: (b"", b""))


def test_python_means_what_a_file_means(x: rayal.Experiment, out: Path, no_cluster: None) -> None:
    """A sweep that a file began could not be continued from a notebook: all would run again."""
    told = list[Event]()
    found = rayal.sweep(x, SPACE, range(2), out=out, on_event=told.append)

    assert found.complete and "4 of 4 trials complete" in found.lines()[0]
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
    assert table["aulc"].is_monotonic_decreasing
    best = found.best()
    assert best is not None and found.lines()[-1] == f"best trial  {best.url}"
    assert best.experiment.strategy.part_name() == table["strategy"][0]
    assert all(line in str(found) for line in found.lines()) and "<pre" in found._repr_html_()
    assert found.url in repr(found) and "4 of 4 trials complete" in repr(found)
    assert found.plot().axes and found.plot_parallel().axes
    assert 2 == len(rayal.compare(found).table())
    assert 2 == len(rayal.compare(best.record.place).table())


def test_a_sweep_that_has_only_begun(x: rayal.Experiment, tmp_path: Path) -> None:
    """Whoever looks into a sweep of last night would get an error of an empty table."""
    opened = start_sweep(
        module._swept(x, SPACE, [0], {}, module.Plugins()), str(tmp_path / "begun")
    )
    with opened:
        found = rayal.open_sweep(tmp_path / "begun")

    assert not found.complete and found.best() is None
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


def test_everything_is_of_the_same_moment(out: Path, tmp_path: Path) -> None:
    """A notebook that watches a sweep would see new trials in one table, and old means beside."""
    copied = Path(shutil.copytree(out, tmp_path / "copied"))
    found = rayal.open_sweep(copied)
    before = found.comparison()
    shutil.rmtree(next((copied / "trials").glob("*random*seed1")))

    assert not found.complete and "3 of 4 trials complete" in found.lines()[0]
    assert [3] * 4 == [
        len(found.runs()),
        len(found.trials()),
        found.table()["n"].sum(),
        len(found.comparison().records),
    ]
    assert 4 == before.table()["n"].sum() == len(before.records)


def test_the_best_of_each_dataset_come_first(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms of the same name on other data would be mixed up, and nobody could tell them apart."""
    found = rayal.open_sweep(out)
    (group,) = found._summary().groups
    other = replace(group, dataset="other", arms=(*reversed(group.arms),))
    monkeypatch.setattr(found, "_summary", lambda: Summary((group, other)))
    table = found.table()

    assert ["digits"] * 2 + ["other"] * 2 == [*table["dataset"]]
    assert [*table["arm"][:2]] == [*table["arm"][2:]]
    assert table["aulc"][:2].is_monotonic_decreasing


def test_what_is_no_space_and_no_list_of_seeds(
    x: rayal.Experiment, out: Path, no_cluster: None
) -> None:
    """A list of strategies, or how many seeds, would end in a traceback of rayal's own."""
    wrong: Any = ["random", "entropy"]
    with pytest.raises(UsageError, match="give a mapping such as {'strategy': "):
        rayal.sweep(x, wrong, range(2), out=out)
    wrong = 2
    with pytest.raises(UsageError, match=r"seeds: 2 is no list of seeds; give range\(3\) or"):
        rayal.sweep(x, SPACE, wrong, out=out)
    assert rayal.sweep(x, SPACE, range(2), out=out).complete


def test_a_folder_without_a_sweep(out: Path) -> None:
    """An empty table would look like a sweep that has not begun."""
    with pytest.raises(UsageError, match="holds no sweep; give the folder that"):
        rayal.open_sweep(out / "trials")
    assert rayal.open_sweep(out).complete
