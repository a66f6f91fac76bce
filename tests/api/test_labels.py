"""`rayal.add_labels`, `rayal.label_status` and `Run.votes` in Python."""

from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import UsageError
from tests.support.people import answer, asks, requests, table, truthful


def test_from_python(tiny: Any, tmp_path: Path) -> None:
    """A notebook could not do what the command does, or would see other votes."""
    x = tiny(strategy="random", oracle={"name": "people", "votes": 2})
    run = tmp_path / "run"
    with pytest.raises(rayal.LabelsPending) as caught:
        rayal.run(x, run)
    said = str(caught.value)
    file = tmp_path / "answers.csv"
    file.write_text(table(requests(run)[-1], truthful(x)))
    with pytest.raises(UsageError, match="nobody is named, and 2 annotators are asked for each un"):
        rayal.add_labels(run, file)
    added = rayal.add_labels(run, file, annotator="žofie")
    frame = rayal.open_run(run).votes()

    assert f"rayal labels add {run} FILE" in said and f"rayal labels status {run}" in said
    assert isinstance(added, rayal.Added) and (20, 20) == (added.new, added.waiting)
    assert {"žofie"} == {*frame["annotator"]} and {-1} == {*frame["cycle"]}
    assert {2.5} == {*frame["seconds"]} and frame["id"].is_unique
    status = rayal.label_status(run)
    assert isinstance(status, rayal.LabelStatus) and 20 == status.requests[0].missing


def test_labels_that_were_there_are_votes_too(tiny: Any, tmp_path: Path) -> None:
    """Who counts what was said of the labeled set would miss its beginning."""
    budget = {"initial": 0, "per_cycle": 5, "total": 25}
    truth = truthful(tiny())
    units = tiny().dataset.open().pool.ids()[:20]
    file, run = tmp_path / "labels.csv", tmp_path / "run"
    file.write_text("".join(["id,label\n", *(f"{unit},{truth(unit)}\n" for unit in units)]))
    x = tiny(strategy="random", oracle="people", labeled=str(file), budget=budget)
    assert asks(x, run)
    answer(run, truth, "ann")
    frame = rayal.open_run(run).votes()

    assert [*units] == [*frame["id"][:20]] and {-1} == {*frame["cycle"][:20]}
    assert {"labeled"} == {*frame["source"][:20]} and {""} == {*frame["annotator"][:20]}
    assert 25 == len(frame) and {"ann"} == {*frame["annotator"][20:]}
    assert [truth(unit) for unit in frame["id"]] == [*frame["label"].astype(str)]


def test_what_is_no_name(tiny: Any, tmp_path: Path) -> None:
    """An annotator given as a number would be another one in the file's own column."""
    x = tiny(strategy="random", oracle="people")
    assert asks(x, tmp_path / "run")
    with pytest.raises(UsageError, match="annotator: 3 is no name; give a text"):
        rayal.add_labels(tmp_path / "run", "x.csv", annotator=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="add_labels: 3 is no path; give a text or a pathlib.Path"):
        rayal.add_labels(3, "x.csv")  # type: ignore[arg-type]

    assert 20 == answer(tmp_path / "run", truthful(x), "3").new
