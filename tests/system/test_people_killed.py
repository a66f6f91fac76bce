"""Killed at every write, of the run and of `rayal labels add`: no answer is lost or doubled."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import LockedError, StorageError
from rayal.experiment.experiment import Experiment
from tests.support import killed_labels
from tests.support.killed_labels import Given
from tests.support.killed_run import Runs
from tests.support.people import answer, asks, requests, run_with, table, truthful

ASKING = (
    "cycle-000/*/request/images/*",
    "cycle-000/*/request/to_label.csv",
    "cycle-000/*/request/request.json",
)
ADDING = ("lock.json", "cycle-000/*/accepted/*", "cycle-000/*/told/*")
BUYING = ("cycle-000/*/votes.parquet", "cycle-000/*/labels.parquet")


@pytest.fixture
def adding(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("adding") / "stderr", killed_labels.main)


@pytest.fixture
def x(tiny: Any) -> Experiment:
    made: Experiment = tiny(
        strategy="margin",
        oracle={"name": "people", "votes": 2},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    return made


def votes(run: Path) -> list[tuple[Any, ...]]:
    found = rayal.open_run(run).votes()
    return [*found[["cycle", "id", "label", "annotator", "seconds"]].itertuples(index=False)]


def ending(run: Path) -> list[bytes]:
    names = "select/chosen.csv", "initial/labels.parquet", "label/labels.parquet"
    weights = (run / "cycle-001/train/weights.safetensors").read_bytes()
    return [*((run / "cycle-000" / name).read_bytes() for name in names), weights]


@pytest.mark.slow  # thirty processes
def test_killed_at_every_write(x: Experiment, process: Any, adding: Runs, tmp_path: Path) -> None:
    """People would answer again what they had answered, or twice count as two annotators."""
    truth, whole, run = truthful(x), tmp_path / "whole", tmp_path / "killed"
    run_with(x, whole, lambda: [answer(whole, truth, who) for who in ("ann", "bob")])
    asking = "cycle-000/*/suggested.parquet", "cycle-000/*/asked.json", *ASKING
    for stage, points in (("initial", ASKING), ("label", asking)):
        for point in points:
            point = point.replace("*", f"{stage}-asked", 1)
            assert -signal.SIGKILL == process(x, run, point).returncode, point
        assert "LabelsPending" in process(x, run).stderr
        for who in ("ann", "bob"):
            file = tmp_path / f"{who}.csv"
            file.write_text(table(requests(run)[-1], truth, who))
            for point in ADDING:
                point = point.replace("*", f"{stage}-asked", 1)
                killed = adding(Given(str(file)), run, point)
                assert -signal.SIGKILL == killed.returncode, (point, killed.stderr)
            assert 20 == rayal.add_labels(run, file).known
        for point in BUYING:
            killed = process(x, run, point.replace("*", stage, 1))
            assert -signal.SIGKILL == killed.returncode, point
    assert 0 == process(x, run).returncode

    assert votes(whole) == votes(run) and 80 == len(votes(run))
    assert ending(whole) == ending(run)
    assert 4 == len([*run.glob("cycle-*/*/accepted/*")])


def test_a_stage_done_again_keeps_the_answers(x: Experiment, tmp_path: Path) -> None:
    """Who deletes a damaged stage would ask two people for a week's work again."""
    run, truth = tmp_path, truthful(x)
    run_with(x, run, lambda: [answer(run, truth, who) for who in ("ann", "bob")])
    before = ending(run), votes(run)
    (run / "cycle-000/label/labels.parquet").write_bytes(b"damaged")
    with pytest.raises(StorageError, match="delete the folder .*/label to do that stage again"):
        rayal.run(x, run)
    for path in (run / "cycle-000/label").iterdir():
        path.unlink()
    (run / "cycle-000/label").rmdir()

    assert not asks(x, run) and before == (ending(run), votes(run))


def test_damage_is_told_with_a_way_out(x: Experiment, tmp_path: Path) -> None:
    """A flipped bit in what people told would train, or end in a traceback."""
    run = tmp_path
    assert asks(x, run)
    answer(run, truthful(x), "ann")
    (told,) = run.glob("cycle-000/initial-asked/told/*.parquet")
    told.write_bytes(told.read_bytes()[:-1])
    for read in (rayal.label_status, lambda run: rayal.run(x, run)):
        with pytest.raises(
            StorageError, match="damaged; restore it from a copy, or delete it and t"
        ):
            read(run)
    told.unlink()
    (run / "cycle-000/initial-asked/request/request.json").write_text("{}")
    with pytest.raises(StorageError, match="request.json is damaged"):
        answer_again(run, x)
    (run / "cycle-000/initial-asked/request/request.json").unlink()

    assert asks(x, run) and 20 == answer_again(run, x)


def answer_again(run: Path, x: Experiment) -> int:
    return rayal.add_labels(run, run.parent / "ann.csv").new


def test_two_at_once(x: Experiment, tmp_path: Path) -> None:
    """Of two files that come in at once one would be lost, or a vote be there twice."""
    run, truth = tmp_path / "run", truthful(x)
    assert asks(x, run)
    refused, took = list[str](), list[int]()

    def add(who: str) -> None:
        file = tmp_path / f"{who}.csv"
        file.write_text(table(requests(run)[-1], truth, who))
        for _ in range(50):
            try:
                took.append(rayal.add_labels(run, file).new)
                return
            except LockedError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=add, args=(who,)) for who in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [20, 20] == took and rayal.label_status(run).requests[0].labeled == 20
    assert 40 == len(votes(run)) and all("is locked by pid" in said for said in refused)
