"""`rayal labels add`: into the run that waits, alone, all or nothing."""

from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import LockedError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder
from rayal.storage.lock import Lock
from rayal.workflows.labels.add import Added
from tests.support.people import answer, asks, requests, table, truthful


@pytest.fixture
def x(tiny: Any) -> Experiment:
    made: Experiment = tiny(
        strategy="random", oracle="people", scheme={"name": "supervised", "epochs": 1}
    )
    return made


@pytest.fixture
def waiting(x: Experiment, tmp_path: Path) -> Path:
    """The folder of a run that waits for its first labels."""
    assert asks(x, tmp_path / "run")
    return tmp_path / "run"


def files(run: Path) -> set[str]:
    return {str(path) for path in run.rglob("*-asked/**/*") if path.is_file()}


def test_look_only(x: Experiment, waiting: Path, tmp_path: Path) -> None:
    """A check would take what somebody wants to look at first."""
    before = files(waiting)
    file = tmp_path / "answers.csv"
    file.write_text(table(requests(waiting)[-1], truthful(x)))
    looked = rayal.add_labels(waiting, file, check=True)

    assert before == files(waiting) and (20, 20, True) == (looked.new, looked.of, looked.checked)
    assert "answers.csv: would take 20 answers" == looked.lines[0]
    assert [
        "answers.csv: took 20 answers",
        "nothing is missing: the run's own command goes on",
    ] == (rayal.add_labels(waiting, file).lines)
    assert (
        "answers.csv: took 0 answers, 20 were there already"
        == (rayal.add_labels(waiting, file).lines[0])
    )


def test_one_bad_row_and_nothing_is_taken(x: Experiment, waiting: Path, tmp_path: Path) -> None:
    """The good half of a file would be in, and be refused as told already when it is mended."""
    before, file = files(waiting), tmp_path / "answers.csv"
    file.write_text(table(requests(waiting)[-1], truthful(x)).replace(",2.5", ",soon", 1))
    with pytest.raises(UsageError, match="row 2: seconds are 'soon'; give a number such as 12.5"):
        rayal.add_labels(waiting, file)

    assert before == files(waiting)


def test_while_somebody_writes(x: Experiment, waiting: Path, tmp_path: Path) -> None:
    """Answers would come in while the run counts them, or two files at once take one place."""
    lock = Lock(Folder(waiting))
    lock.acquire()
    try:
        with pytest.raises(LockedError, match="is locked by pid"):
            answer(waiting, truthful(x))
    finally:
        lock.release()

    assert 20 == answer(waiting, truthful(x)).new


def test_runs_that_wait_for_nobody(tiny: Any, x: Experiment, waiting: Path, tmp_path: Path) -> None:
    """An answer that nobody asked for would be lost in silence."""
    file = tmp_path / "x.csv"
    file.write_text(table(requests(waiting)[-1], truthful(x)))
    (waiting / "cycle-000/initial-asked/request/request.json").unlink()
    with pytest.raises(UsageError, match="its request for the first units is not written yet; gi"):
        rayal.add_labels(waiting, file)
    assert asks(x, waiting) and rayal.add_labels(waiting, file).enough
    few = {"initial": 20, "per_cycle": 20, "total": 20}
    simulated = tiny(strategy="random", budget=few, scheme={"name": "supervised", "epochs": 1})
    rayal.run(simulated, tmp_path / "simulated")
    with pytest.raises(
        UsageError, match="its oracle is simulated, which asks nobody; set oracle: "
    ):
        rayal.add_labels(tmp_path / "simulated", file)
    small = tiny(
        strategy="random",
        oracle="people",
        budget=few,
        scheme={"name": "supervised", "epochs": 1},
    )
    assert asks(small, tmp_path / "small") and answer(tmp_path / "small", truthful(x)).enough
    assert not asks(small, tmp_path / "small")
    with pytest.raises(UsageError, match="is complete and buys no more labels; raise budget.total"):
        rayal.add_labels(tmp_path / "small", file)
    more = small.model_copy(update={"budget": rayal.Budget(initial=20, per_cycle=20, total=40)})
    assert asks(more, tmp_path / "small") and answer(tmp_path / "small", truthful(x)).enough


def test_another_runs_file(x: Experiment, waiting: Path, tmp_path: Path) -> None:
    """Two runs of one seed ask for the same first units: labels would go to the wrong one."""
    other = tmp_path / "other"
    assert asks(x, other)
    file = tmp_path / "x.csv"
    file.write_text(table(requests(other)[-1], truthful(x)))
    with pytest.raises(UsageError, match="20 problems in x.csv, of which nothing was taken\n"):
        rayal.add_labels(waiting, file)


def test_between_two_requests(x: Experiment, waiting: Path, tmp_path: Path) -> None:
    """Answers that come while a run was stopped in a training would be lost without a word."""
    file = tmp_path / "answers.csv"
    file.write_text(table(requests(waiting)[-1], truthful(x)))
    rayal.add_labels(waiting, file)

    def stop(event: rayal.Event) -> None:
        if (event.what, event.stage) == ("begun", "train"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rayal.run(x, waiting, on_event=stop)
    with pytest.raises(
        UsageError, match="asks for no labels at the moment; give the run's own com"
    ):
        rayal.add_labels(waiting, file)
    assert asks(x, waiting)

    assert 20 == rayal.add_labels(waiting, file).known


def test_words_for_people() -> None:
    """Late or disputed answers would be taken without a word."""
    added = Added("x.csv", 7, 2, 3, 20, False, late=4, disputed=1, again="/run/disputed")

    assert [
        "x.csv: took 7 answers, 2 were there already, 4 of them late ones to an earlier request",
        "3 of 20 labels missing",
        "1 unit is disputed: /run/disputed",
    ] == added.lines
    assert (
        "that is enough: the run's own command goes on"
        == (added._replace(enough=True, again=None).lines[-1])
    )
