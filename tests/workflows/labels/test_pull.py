"""What a pull takes and leaves; with a real server it is in tests/system."""

from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.answering import serving
from tests.workflows.labels.test_push import listed, made, names, out, project

__all__ = ["made", "out"]  # fixtures


def answered(unit: str, request: str, label: str, who: int = 1) -> dict[str, Any]:
    """A task as the real server exports it."""
    value = {"choices": [label]}
    result = {"from_name": "class", "to_name": "image", "type": "choices", "value": value}
    said = {"id": 3, "completed_by": who, "result": [result], "was_cancelled": False}
    data = {"image": "x", "rayal_id": unit, "rayal_request": request}
    return {"id": 7, "data": data, "annotations": [{**said, "lead_time": 2.5}], "predictions": []}


def waiting(run: Path) -> int:
    found = Record(Folder(run)).request()
    assert found is not None
    return len(found[2].waiting)


def test_answers_of_other_requests_are_left_alone(out: Path) -> None:
    """A project of several cycles could not be pulled from; or its labels would be mixed up."""
    name, units = names(out)
    tasks = [answered(units[0], name, "3"), answered(units[1], "other", "4")]
    tasks += [{"id": 9, "data": {"image": "x"}, "annotations": []}]
    replies = {
        "/api/projects/7/": (200, project(out)),
        "/api/projects/7/export": (200, tasks),
    }
    with serving(replies) as (url, _):
        looked = rayal.pull_labels(out, url, project=7, check=True)
        first = rayal.pull_labels(out, url, project=7)
        again = rayal.pull_labels(out, url, project=7)

    assert (1, 3, 2) == (looked.added.new, looked.added.waiting, looked.others)
    assert (1, 0, 2) == (first.added.new, first.added.known, first.others)
    assert (0, 1) == (again.added.new, again.added.known)
    assert "nothing new, 1 answer was taken before" in again.lines[0]
    assert 2 == waiting(out) and 1 == len([*out.rglob("accepted/*")])


def test_nothing_is_taken_where_something_is_wrong(out: Path) -> None:
    """Half of the answers would be in the run, and nobody know which half."""
    name, units = names(out)
    tasks = [answered(units[0], name, "3"), answered(units[1], name, "eleven")]
    tasks += [answered("stranger", name, "1")]
    replies = {
        "/api/projects/7/": (200, project(out)),
        "/api/projects/7/export": (200, tasks),
    }
    with serving(replies) as (url, _):
        with pytest.raises(rayal.UsageError, match="2 problems in project-7.json, of"):
            rayal.pull_labels(out, url, project=7)

    assert 3 == waiting(out) and not [*out.rglob("accepted/*")]


def test_a_request_that_was_not_pushed(out: Path) -> None:
    """An empty project would be made, or another one asked."""
    with serving({"/api/projects/": listed()}) as (url, _):
        with pytest.raises(rayal.UsageError, match="no project for this request; give `rayal lab"):
            rayal.pull_labels(out, url)
    export = {"/api/projects/7/export": (200, [])}
    with serving({"/api/projects/7/": (200, project(out)), **export}) as (url, _):
        assert 3 == rayal.pull_labels(out, url, project=7).added.waiting


def test_a_task_that_is_there_twice(out: Path) -> None:
    """Answers to a unit would be lost, or one annotator count as two."""
    name, units = names(out)
    where = {"/api/projects/7/": (200, project(out))}
    same = [answered(units[0], name, "3"), answered(units[0], name, "3")]
    differ = [answered(units[1], name, "3"), answered(units[1], name, "4")]
    with serving({**where, "/api/projects/7/export": (200, same)}) as (url, _):
        assert 1 == rayal.pull_labels(out, url, project=7).added.new
    with serving({**where, "/api/projects/7/export": (200, differ)}) as (url, _):
        with pytest.raises(rayal.UsageError, match="of the same annotator is in this file too"):
            rayal.pull_labels(out, url, project=7)
    differ = [answered(units[1], name, "3"), answered(units[1], name, "4", who=2)]
    with serving({**where, "/api/projects/7/export": (200, differ)}) as (url, _):
        assert 2 == rayal.pull_labels(out, url, project=7).added.new


def test_who_changes_a_mind_blocks_nobody(out: Path) -> None:
    """A shared project could never be pulled from again, or a label change in silence."""
    name, units = names(out)
    tasks = [answered(units[0], name, "3")]
    where = {"/api/projects/7/": (200, project(out))}
    with serving({**where, "/api/projects/7/export": (200, tasks)}) as (url, _):
        rayal.pull_labels(out, url, project=7)
    tasks = [answered(units[0], name, "4"), answered(units[1], name, "4")]
    with serving({**where, "/api/projects/7/export": (200, tasks)}) as (url, _):
        pulled = rayal.pull_labels(out, url, project=7)

    assert (1, 0, 1) == (pulled.added.new, pulled.added.known, pulled.added.left)
    said = "1 answer differs from what was taken before, which stays: left alone"
    assert said == pulled.lines[1] and 1 == waiting(out)
