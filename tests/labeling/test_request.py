"""What was asked for and told: in files, so that a process may die at any moment."""

from pathlib import Path

import pytest

from rayal.errors import LabelsPending
from rayal.labeling.oracles.base import Label
from rayal.labeling.oracles.told import Told
from rayal.labeling.request import Request
from rayal.storage.folder import Folder


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "cycle-000" / "label")


def test_what_is_told_is_there_for_the_next_process(out: Folder) -> None:
    """An answer would be asked for twice, or its order be lost."""
    request = Request(out)
    request.ask(["a", "b", "c"])
    request.ask(["x"])  # what was asked for stays
    request.tell({"c": Label(2, 1.0)})
    request.tell({"a": Label(None, 1.0)})
    again = Request(out)

    assert ("a", "b", "c") == request.asked == again.asked
    assert {"c": Label(2, 1.0), "a": Label(None, 1.0)} == request.told == again.told
    assert ["c", "a"] == [*again.told] and ["b"] == request.waiting == again.waiting
    assert "waiting for 1 of 3 labels" == str(again)


def test_more_is_asked(out: Folder) -> None:
    """Units that nobody can label would be all that is ever asked for."""
    request = Request(out)
    request.ask(["a", "b"])
    request.tell({"b": Label(1, 1.0), "a": Label(None, 1.0)})
    request.ask_more(["c"])
    again = Request(out)

    assert (1, ["c"]) == (request.labeled, request.waiting) == (again.labeled, again.waiting)
    assert ("a", "b", "c") == again.asked


def test_the_stage_may_be_deleted(out: Folder) -> None:
    """Whoever does a damaged stage again would need the people again."""
    out.write("labels.parquet", b"damaged")
    Request(out).ask(["a"])
    Request(out).tell({"a": Label(1, 1.0)})
    out.delete()

    assert [] == Request(out).waiting and ("a",) == Request(out).asked


def test_an_oracle_of_what_was_told(out: Folder) -> None:
    """A run would go on with half of the answers, or in the order in which they came."""
    oracle, store = Told(), None
    for told in ({}, {"b": Label(b"mask", 1.0)}):
        Request(out).tell(told)
        with pytest.raises(LabelsPending, match="waiting for . of 2 labels"):
            oracle.answer(store, ["a", "b"], out)  # type: ignore[arg-type]
    Request(out).tell({"a": Label(None, 1.0)})
    answers = oracle.answer(store, ["a", "b"], out)  # type: ignore[arg-type]

    assert [("a", Label(None, 1.0)), ("b", Label(b"mask", 1.0))] == [*answers.items()]
    assert {} == oracle.answer(store, [], out / "x")  # type: ignore[arg-type]
