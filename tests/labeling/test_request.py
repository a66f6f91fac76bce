"""What was asked for and told: in files, so that a process may die at any moment."""

from pathlib import Path

import pytest

from rayal.errors import LabelsPending, StorageError
from rayal.labeling.agreement import Agreement
from rayal.labeling.oracles.base import Label
from rayal.labeling.oracles.told import Told
from rayal.labeling.request import Request
from rayal.labeling.votes import Vote
from rayal.storage.folder import Folder


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "cycle-000" / "label")


def test_what_is_told_is_there_for_the_next_process(out: Folder) -> None:
    """An answer would be asked for twice, or its order be lost."""
    request = Request(out)
    request.ask(["a", "b", "c"])
    request.ask(["x"])  # what was asked for stays
    request.tell([Vote("c", 2)])
    request.tell([Vote("a", None)])
    again = Request(out)

    assert ("a", "b", "c") == request.asked == again.asked
    assert {"c": Label(2, 1.0), "a": Label(None, 1.0)} == request.told == again.told
    assert ["c", "a"] == [*again.told] and ["b"] == request.waiting == again.waiting
    assert "waiting for 1 of 3 labels" == str(again)


def test_more_is_asked(out: Folder) -> None:
    """Units that nobody can label would be all that is ever asked for."""
    request = Request(out)
    request.ask(["a", "b"])
    request.tell([Vote("b", 1), Vote("a", None)])
    request.ask_more(["c"])
    again = Request(out)

    assert (1, ["c"]) == (request.labeled, request.waiting) == (again.labeled, again.waiting)
    assert ("a", "b", "c") == again.asked


def test_the_stage_may_be_deleted(out: Folder) -> None:
    """Whoever does a damaged stage again would need the people again."""
    out.write("labels.parquet", b"damaged")
    Request(out).ask(["a"])
    Request(out).tell([Vote("a", 1)])
    out.delete()

    assert [] == Request(out).waiting and ("a",) == Request(out).asked


def test_an_oracle_of_what_was_told(out: Folder) -> None:
    """A run would go on with half of the answers, or in the order in which they came."""
    oracle, store = Told(), None
    for told in ([], [Vote("b", b"mask")]):
        Request(out).tell(told)
        with pytest.raises(LabelsPending, match="waiting for . of 2 labels"):
            oracle.answer(store, ["a", "b"], out)  # type: ignore[arg-type]
    Request(out).tell([Vote("a", None)])
    answers = oracle.answer(store, ["a", "b"], out)  # type: ignore[arg-type]

    assert [("a", Label(None, 1.0)), ("b", Label(b"mask", 1.0))] == [*answers.items()]
    assert {} == oracle.answer(store, [], out / "x")  # type: ignore[arg-type]


def test_what_is_enough_may_change(out: Folder) -> None:
    """Who waits for the last of 500 labels for a week could not decide to go on without it."""
    request = Request(out)
    request.ask(["a", "b", "c"], Agreement(), needed=3)
    request.tell([Vote("a", 1), Vote("b", None)])
    before = request.enough, str(request)
    request.ask(["x"], needed=2)
    again = Request(out)

    assert (False, "waiting for 1 label, 2 in") == before
    assert (True, "waiting for 1 label, 2 in; 2 are enough") == (again.enough, str(again))
    assert ("a", "b", "c") == again.asked and ["c"] == again.waiting


def test_votes_become_a_label_when_there_are_enough(out: Folder) -> None:
    """One vote of two would train, or two that differ be taken for a label."""
    request = Request(out)
    request.ask(["a", "b"], Agreement(votes=2), needed=2)
    request.tell([Vote("a", 1, "ann"), Vote("b", 1, "ann")])
    none = request.told
    request.tell([Vote("a", 1, "bob"), Vote("b", 2, "bob")])
    one, word = request.told, str(request)
    request.tell([Vote("b", 2, "cid")])

    assert {} == none and {"a": Label(1, 1.0)} == one
    assert "waiting for 1 label, 1 in, 1 disputed" == word and [] == request.waiting
    assert {"a": Label(1, 1.0), "b": Label(2, 1.0)} == Request(out).told


def test_what_a_run_went_on_without_is_taken_over(tmp_path: Path) -> None:
    """The first of two votes would be lost with the request that it was given for, or count twice
    after a crash between two writes."""
    rule = Agreement(votes=2)
    first, second = (Request(Folder(tmp_path / f"cycle-00{n}/label")) for n in (0, 1))
    initial = Request(Folder(tmp_path / "cycle-000/initial"))
    initial.ask(["z"], rule, needed=1)
    initial.tell([Vote("z", 3, "ann"), Vote("z", 3, "bob")])
    first.ask(["a", "b"], rule, needed=1)
    first.tell([Vote("a", 1, "ann"), Vote("a", 1, "bob"), Vote("b", 2, "ann", 7.0)])
    second.take_over(["c"])
    Request(Folder(tmp_path / "cycle-001/label")).take_over(["c"])  # as after a crash
    second.ask(["c"], rule, needed=1)
    second.tell([Vote("b", 2, "bob")])
    again = Request(Folder(tmp_path / "cycle-001/label"))

    assert [Vote("b", 2, "ann", 7.0), Vote("b", 2, "bob")] == again.votes["b"]
    assert ["b"] == again.late and ["c"] == again.waiting and not again.enough
    assert {"z": "the first units", "a": "cycle 0"} == {
        unit: by.stage for unit, (by, _) in again.settled.items()
    }


def test_requests_have_names_of_their_own(tmp_path: Path) -> None:
    """Two runs of one seed ask for the same first units: the file of one would be taken for the
    other's."""
    names = []
    for run in ("a", "b"):
        Folder(tmp_path / run).write_sealed("run.json", {"id": run})
        for cycle in ("cycle-000", "cycle-001"):
            request = Request(Folder(tmp_path / run / cycle / "label"))
            request.ask(["a", "b"])
            names.append(request.name)

    assert 4 == len({*names}) and all(len(name) == 16 for name in names)


def test_damaged_answers_are_told(out: Folder) -> None:
    """A flipped bit would train on another label."""
    request = Request(out)
    request.ask(["a"])
    request.tell([Vote("a", 1)])
    (told,) = (request.folder / "told").names()
    (request.folder / "told").write(told, b"damaged")

    with pytest.raises(StorageError, match=r"is damaged; restore it from a copy, or delete it and"):
        _ = Request(out).votes


def test_a_labeled_unit_that_is_asked_again(tmp_path: Path) -> None:
    """A second opinion that came too late would count for a label that nobody asks about, or be
    lost when somebody does."""
    rule = Agreement(votes=2)
    first, second = (Request(Folder(tmp_path / f"cycle-00{n}/label")) for n in (0, 1))
    first.ask(["a"], rule, needed=1)
    first.tell([Vote("a", 1, "ann"), Vote("a", 1, "bob")])
    second.ask(["a", "b"], rule, needed=1)
    second.tell([Vote("a", 2, "cid"), Vote("b", 3, "ann"), Vote("b", 3, "bob")])
    for units, expected in ((["c"], []), (["a"], [Vote("a", 2, "cid")])):
        third = Request(Folder(tmp_path / "cycle-002/label"))
        third.take_over(units)

        assert expected == third.votes.get("a", [])
