"""Rules that end a run early: each of them, and what a run does that was ended or goes on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rayal.cycle.evaluate import Outcome
from rayal.data.store import Store
from rayal.engine.local import LocalEngine
from rayal.errors import StorageError
from rayal.experiment.experiment import Experiment
from rayal.runs.events import Event
from rayal.runs.ledger import STOPPED
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.doubles import Silent
from tests.support.whole_runs import Interrupted, chosen, go

BUDGET = {"initial": 20, "per_cycle": 20, "total": 160}
CURVE = (0.5, 0.7, 0.8, 0.85, 0.87, 0.875, 0.876, 0.876)
"""What the models of these runs are said to reach."""


class Said(LocalEngine):
    """Evaluates to what CURVE has, so that a test knows which rule applies when."""

    def evaluate(self, job: Any) -> Outcome:
        cycle = (len(Store(job.store).card.classes), job.weights.folder.split("cycle-")[1][:3])[1]
        said = super().evaluate(job)
        return said._replace(metrics={**said.metrics, "accuracy": CURVE[int(cycle)]})


class Ends(Silent):
    """Writes down what ends a run; and dies there, if it is to."""

    def __init__(self, dies: bool = False) -> None:
        self.notes, self.dies = list[str](), dies

    def on(self, event: Event) -> None:
        if event.stage == "stop":
            self.notes.append(event.note)
        if event.stage == "evaluate" and event.what == "ended" and event.cycle == 2 and self.dies:
            raise Interrupted


@pytest.fixture(scope="module")
def made(tiny: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """An experiment of up to eight cycles, each of which takes a moment."""

    def build(stop: dict[str, Any], **fields: Any) -> Experiment:
        scheme = {"name": "supervised", "epochs": 1, "batch_size": 64}
        dataset = {"name": "digits", "limit_pool": 200, "limit_test": 50}
        given = {"scheme": scheme, "dataset": dataset, "strategy": "margin", "budget": BUDGET}
        return tiny(stop=stop, **{**given, **fields})

    return build


@pytest.fixture(scope="module")
def whole(made: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no rule ends."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    go(made({}), folder, engine=Said)
    return folder


RULES = [
    ({"target": 0.8}, 2, "stop.target: accuracy 0.8000 is 0.8 or more"),
    (
        {"plateau": {"points": 1, "cycles": 2}},
        6,
        "stop.plateau: accuracy the best of the last 2 cycles is +0.60 points from the best before,"
        " less than 1",
    ),
    (
        {"price": {"per_label": 1, "per_point": 13}},
        4,
        "stop.price: accuracy the next purchase costs",
    ),
]


@pytest.mark.parametrize(("stop", "cycle", "told"), RULES, ids=["target", "plateau", "price"])
def test_each_rule_ends_a_run_after_an_evaluation(
    made: Callable[..., Experiment],
    whole: Path,
    tmp_path: Path,
    stop: dict[str, Any],
    cycle: int,
    told: str,
) -> None:
    """Labels would be bought that nobody wants, or the run end without saying why; what was bought
    before is what it is without rules."""
    ends = Ends()
    go(made(stop), tmp_path / "stopped", ends, engine=Said)
    record = Record(Folder(tmp_path / "stopped"))

    assert record.complete and record.cycles()[-1]["cycle"] == cycle
    assert str(record.stopped).startswith(told) and ends.notes == [record.stopped]
    assert chosen(tmp_path / "stopped") == chosen(whole)[:cycle]
    assert Record(Folder(whole)).stopped is None


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    yield from (
        (str(p.relative_to(folder)), p.read_bytes()) for p in folder.glob("cycle-*/*/done.*")
    )


def test_a_run_that_a_rule_ended_stays_ended_until_the_rule_changes(
    made: Callable[..., Experiment], whole: Path, tmp_path: Path
) -> None:
    """The same command would go on buying; or one with another rule, or none, be refused; or the
    run that goes on would choose other units than one that was never ended."""
    stop = {"target": 0.8}
    go(made(stop), tmp_path / "a", engine=Said)
    before = dict(files(tmp_path / "a"))
    ends = Ends()
    go(made(stop), tmp_path / "a", ends, engine=Said)
    go(made(stop, budget={**BUDGET, "total": 180}), tmp_path / "a", ends, engine=Said)

    assert (dict(files(tmp_path / "a")), ends.notes) == (before, [])

    go(made({"target": 0.87}), tmp_path / "a", ends, engine=Said)
    record = Record(Folder(tmp_path / "a"))

    assert ends.notes == ["stop.target: accuracy 0.8700 is 0.87 or more"] == [record.stopped]
    assert len(record.cycles()) == 5

    go(made({}), tmp_path / "a", engine=Said)

    assert Record(Folder(tmp_path / "a")).stopped is None and len(record.cycles()) == 8
    assert not (tmp_path / "a" / STOPPED).exists()
    assert chosen(tmp_path / "a") == chosen(whole)


def test_killed_between_the_evaluation_and_the_end(
    made: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The run would go on although its target was reached, or never be complete."""
    x = made({"target": 0.8})
    with pytest.raises(Interrupted):
        go(x, tmp_path, Ends(dies=True), engine=Said)

    assert not Record(Folder(tmp_path)).complete and not (tmp_path / STOPPED).exists()

    go(x, tmp_path, engine=Said)

    assert Record(Folder(tmp_path)).complete and len(chosen(tmp_path)) == 2


def test_a_rule_that_comes_later_looks_at_the_last_cycle_alone(
    made: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Labels that are bought already would be left unused, or the folder be one that no command
    continues."""
    with pytest.raises(Interrupted):
        go(made({}), tmp_path, Late(5), engine=Said)
    go(made({"target": 0.6}), tmp_path, engine=Said)
    record = Record(Folder(tmp_path))

    assert len(record.cycles()) == 6 and record.stopped is not None
    assert json.loads((tmp_path / STOPPED).read_text())["cycle"] == 5


class Late(Silent):
    """Interrupts the training of a cycle."""

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle

    def stage(self, cycle: int | None, stage: str) -> None:
        if (cycle, stage) == (self.cycle, "train"):
            raise Interrupted


def test_a_damaged_record_of_the_end_is_said(
    made: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A run would be taken for complete, or for one that goes on, by chance; deleted, the rules
    are looked at again."""
    go(made({"target": 0.8}), tmp_path, engine=Said)
    (tmp_path / STOPPED).write_text("{")
    with pytest.raises(StorageError, match="delete it: the run's own command"):
        assert Record(Folder(tmp_path)).complete
    (tmp_path / STOPPED).unlink()
    go(made({"target": 0.8}), tmp_path, engine=Said)

    assert Record(Folder(tmp_path)).stopped is not None


@pytest.mark.parametrize("real", [LocalEngine])
def test_a_real_target(
    made: Callable[..., Experiment], tmp_path: Path, real: type[LocalEngine]
) -> None:
    """The rules above are met by made-up metrics; this one is met by models."""
    go(made({"target": 0.05}), tmp_path, engine=real)

    assert Record(Folder(tmp_path)).complete and chosen(tmp_path) == []
