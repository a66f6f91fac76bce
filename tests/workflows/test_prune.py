"""rayal/workflows/prune.py: what goes, what is left, and who is not disturbed."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import LockedError, PrunedError, StorageError, UsageError
from rayal.experiment.keep import KeepInSweep
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.storage.lock import Lock
from tests.support.finished_sweep import finish
from tests.support.whole_runs import chosen, files_of, go, outcome, stopped_at

SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "limit_pool": 60, "limit_test": 20},
    "model": {"name": "small_cnn", "width": 4},
    "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
    "budget": {"initial": 20, "per_cycle": 10, "total": 40},
}


@pytest.fixture(scope="module")
def x(tiny: Callable[..., Any]) -> Any:
    return tiny(**SMALL)


@pytest.fixture(scope="module")
def finished(x: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    go(x, folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A complete run of three cycles."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def swept(tiny: Callable[..., Any]) -> SweptExperiment:
    block = {"space": {"strategy": {"grid_search": ["random", "cod"]}}, "seeds": [0]}
    fields = tiny(**SMALL).model_dump(mode="json", exclude={"keep"})
    return SweptExperiment.model_validate({**fields, "sweep": block})


def large(run: Path) -> dict[str, int]:
    """Weights and shards, with their bytes."""
    found = files_of(run).items()
    return {name: len(data) for name, data in found if "shard-" in name or ".safetens" in name}


@pytest.mark.parametrize(
    ("choices", "weights", "shards", "goes_on"),
    [
        ({}, (1, 2), (1,), True),
        ({"weights": "all", "shards": "all"}, (0, 1, 2), (0, 1), True),
        ({"weights": "none"}, (), (1,), False),
        ({"shards": "none"}, (1, 2), (), False),
    ],
    ids=str,
)
def test_what_goes_by_hand(
    run: Path,
    choices: dict[str, Any],
    weights: tuple[int, ...],
    shards: tuple[int, ...],
    goes_on: bool,
) -> None:
    """COD compares with the last cycle's model and reads its predictions. A dry run says the same
    and writes nothing; what is said to be freed is; all that was found stays."""
    before, whole, said = large(run), files_of(run), outcome(run)
    dry = rayal.prune(run, dry_run=True, **choices)
    assert whole == files_of(run)
    done = rayal.prune(run, **choices)
    after = large(run)

    assert dry.runs == done.runs
    assert (weights, shards, goes_on) == done.runs[0][-3:]
    assert len(before) - len(after) == done.files
    assert sum(before.values()) - sum(after.values()) == done.bytes
    assert set(after) == {
        name for name in before if int(name[6:9]) in (weights if "safetensors" in name else shards)
    }
    assert said["curve"] == outcome(run)["curve"] and 2 == len(chosen(run))
    assert Record(Folder(run)).complete
    again = rayal.prune(run, **choices)
    assert (0, 0) == (again.files, again.bytes)
    json.dumps(done.to_dict())


def test_whether_it_goes_on_is_true(x: Any, finished: Path, tmp_path: Path) -> None:
    """Whoever believes it would stand there without the labels, or not try."""
    budget = {"initial": 20, "per_cycle": 10, "total": 50}
    more = x.model_copy(update={"budget": rayal.Budget(**budget)})
    for number, choices in enumerate([{}, {"weights": "none"}, {"shards": "none"}]):
        place = Path(shutil.copytree(finished, tmp_path / str(number)))
        if rayal.prune(place, **choices).runs[0].goes_on:
            go(more, place)
            assert 3 == len(chosen(place))
        else:
            with pytest.raises(PrunedError, match="cannot go on"):
                go(more, place)


def test_a_run_that_stopped_keeps_what_it_needs(x: Any, tmp_path: Path) -> None:
    """`none` would cost an unfinished run all of its work."""
    go(x, tmp_path / "whole")
    for stage in ("evaluate", "select", "label"):
        stopped_at(x, tmp_path / "stopped", 1, stage)
        found = rayal.prune(tmp_path / "stopped", weights="none", shards="none")
        assert found.runs[0].goes_on
    go(x, tmp_path / "stopped")

    assert chosen(tmp_path / "whole") == chosen(tmp_path / "stopped")


def test_what_a_killed_prune_left_goes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files would stay for ever that nobody reads any more."""

    class Killed(Exception):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove_all", die)
        with pytest.raises(Killed):
            rayal.prune(run)
    assert Record(Folder(run)).pruned(0, "train")
    assert (run / "cycle-000/train/weights.safetensors").exists()
    rayal.prune(run)

    assert not (run / "cycle-000/train/weights.safetensors").exists()


def test_a_run_that_is_written_is_left_alone(run: Path) -> None:
    """A file would go under the hands of a stage that reads it."""
    before = large(run)
    lock = Lock(Folder(run))
    lock.acquire()
    try:
        with pytest.raises(LockedError, match="is locked by"):
            rayal.prune(run)
        assert rayal.prune(run, dry_run=True).files
    finally:
        lock.release()

    assert before == large(run)
    assert rayal.prune(run).files


def test_a_sweep(swept: SweptExperiment, tmp_path: Path) -> None:
    """By default a sweep leaves the newest files of its trials; while it goes on, none of its
    trials is pruned; afterwards all of them are."""
    finish(swept, tmp_path / "sweep")
    trials = sorted((tmp_path / "sweep" / "trials").iterdir())
    cod, random = trials
    assert {"cycle-001", "cycle-002"} == {name.split("/")[0] for name in large(cod)}
    assert ["cycle-001", "cycle-002"] == sorted(name.split("/")[0] for name in large(random))
    lock = Lock(Folder(tmp_path / "sweep"))
    lock.acquire()
    try:
        with pytest.raises(LockedError, match="sweep is locked by"):
            rayal.prune(tmp_path / "sweep")
        with pytest.raises(LockedError, match="sweep is locked by"):
            rayal.prune(cod)
    finally:
        lock.release()
    found = rayal.prune(tmp_path, weights="none", shards="none")

    assert 2 == len(found.runs) and not any(run.goes_on for run in found.runs[:1])
    assert {} == large(cod) == large(random)
    finish(swept, tmp_path / "sweep")


def test_defaults_of_a_sweep_are_its_own(x: Any, swept: SweptExperiment) -> None:
    """What a single run keeps would fill the disk of a sweep, or the other way round."""
    from rayal.api.sweep import _swept

    space = {"strategy": ["random", "cod"]}
    some = x.model_copy(update={"keep": rayal.Keep(weights="all")})

    assert ("all", "all") == (x.keep.weights, x.keep.shards)
    assert swept.keep == KeepInSweep(weights="last", shards="last")
    assert swept.keep == _swept(x, space, [0], {}, rayal.Plugins()).keep
    made = _swept(some, space, [0], {}, rayal.Plugins()).keep
    assert ("all", "last") == (made.weights, made.shards)
    with pytest.raises(UsageError, match="keep: cannot be varied"):
        finish(
            SweptExperiment.model_validate(
                {
                    **swept.model_dump(mode="json"),
                    "sweep": {"space": {"keep": {"weights": "all"}}},
                }
            ),
            Path("nowhere"),
        )


def test_at_a_url(x: Any) -> None:
    """Runs on an object storage are the large ones."""
    url = f"memory://{uuid.uuid4().hex}/run"
    rayal.run(x, url)
    record = Record(Folder(url))
    shards = [name for name in (Folder(url) / "cycle-000" / "score").names() if "shard" in name]
    found = rayal.prune(url, shards="none")

    assert shards and found.files == len(shards) + 2
    assert ["done.json", "started.json"] == (Folder(url) / "cycle-000" / "score").names()
    assert ["done.json", "epochs.jsonl", "started.json"] == (
        Folder(url) / "cycle-000" / "train"
    ).names()
    assert record.complete and rayal.open_run(url).model()
    with pytest.raises(PrunedError, match="nothing is damaged"):
        rayal.open_run(url).scores(0)


def test_one_bad_run_does_not_hide_the_others(run: Path, tmp_path: Path) -> None:
    """A damaged run would keep the disk full."""
    shutil.copytree(run, tmp_path / "bad")
    (tmp_path / "bad" / "run.json").write_text("{")
    found = rayal.prune(tmp_path)

    assert [str(run)] == [each.run for each in found.runs] and found.files
    with pytest.raises(StorageError, match="bad/run.json"):
        found.check()
    with pytest.raises(StorageError, match="bad/run.json"):
        rayal.prune(tmp_path / "bad")


def test_what_is_no_choice(run: Path) -> None:
    """Nothing would go, or all; the word that is proposed works."""
    with pytest.raises(UsageError, match="weights: 'newest' is not known; use all, last or none"):
        rayal.prune(run, weights="newest")  # type: ignore[arg-type]
    assert rayal.prune(run, weights="last").files


def test_how_it_is_shown(run: Path) -> None:
    """Cycles in spans; in words what was freed."""
    from rayal.api.prune import _cycles

    found = rayal.prune(run, dry_run=True)

    assert ["none", "4", "0-2, 4, 6-7"] == [*map(_cycles, [(), (4,), (0, 1, 2, 4, 6, 7)])]
    assert "would free" in str(found) and "would free" in repr(found)
    assert "1-2" in found._repr_html_()
    assert [(1, 2)] == found.table()["weights"].to_list()


def test_a_run_that_is_open_sees_what_was_pruned_since(run: Path) -> None:
    """What is known of a stage is remembered, and that its files went came later."""
    opened = rayal.open_run(run)
    opened.pictures(0)
    rayal.prune(run, weights="none", shards="none")

    opened.pictures(0)
    with pytest.raises(PrunedError):
        opened.model(0)
