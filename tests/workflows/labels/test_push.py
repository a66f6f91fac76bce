"""What a push refuses before a task is imported; with a real server it is in tests/system."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import LabelsPending
from rayal.labeling.label_studio.server import TOKEN
from rayal.labeling.outgoing import read_request
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.answering import Reply, refused, serving
from tests.support.whole_runs import ONE_THREAD

SECRET = "0123456789abcdef0123456789abcdef01234567"


def waiting_run(out: Path, **fields: Any) -> Path:
    """A run that waits for people."""
    x = rayal.Experiment(
        name="digits",
        dataset={"name": "digits", "limit_pool": 60, "limit_test": 10},
        model="small_cnn",
        scheme={"epochs": 1},
        strategy="random",
        budget={"initial": 3, "per_cycle": 3, "total": 6},
        oracle={"name": "people", "format": "label_studio", **fields},
        compute=ONE_THREAD,
        tracking="none",
    )
    with pytest.raises(LabelsPending):
        rayal.run(x, out)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return waiting_run(tmp_path_factory.mktemp("waits") / "run")


@pytest.fixture
def out(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.setenv(TOKEN, SECRET)
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def config(out: Path) -> str:
    (file,) = out.rglob("config.xml")
    return file.read_text()


def names(out: Path) -> tuple[str, list[str]]:
    """The request's name, and its units."""
    found = Record(Folder(out)).request()
    assert found is not None
    asked = read_request(found[2].folder)
    assert asked is not None
    return asked.name, [item.unit for item in asked.items]


def project(out: Path, number: int = 7, **fields: Any) -> dict[str, Any]:
    """As the real server describes one."""
    return {"id": number, "title": "mine", "label_config": config(out), **fields}


def listed(*projects: dict[str, Any]) -> Reply:
    return 200, {"count": len(projects), "next": None, "results": [*projects]}


def task(number: int, unit: str, request: str) -> dict[str, Any]:
    return {"id": number, "data": {"image": "x", "rayal_id": unit, "rayal_request": request}}


def there(out: Path, *numbers: int) -> dict[str, Reply]:
    """Answers of a server on which all tasks are, in projects of these numbers."""
    name, units = names(out)
    tasks = [task(number, unit, name) for number, unit in enumerate(units)]
    return {
        **{f"/api/projects/{number}/": (200, project(out, number)) for number in numbers},
        "/api/tasks": (200, {"total": len(tasks), "tasks": tasks}),
        "/api/dm/views/": (200, []),
    }


def test_a_project_without_the_classes(out: Path) -> None:
    """People would label with other classes, and all their answers be refused."""
    other = project(out, label_config="<View></View>")
    with serving({"/api/projects/7/": (200, other)}) as (url, seen):
        with pytest.raises(rayal.UsageError, match=r"project 7, 'mine', cannot take.*put .*config"):
            rayal.push_labels(out, url, project=7)
    assert not any("import" in path for path, _ in seen)

    with serving(there(out, 7)) as (url, _):  # with the request's configuration in its settings
        assert 3 == rayal.push_labels(out, url, project=7).known


def test_two_projects_of_a_title(out: Path) -> None:
    """One of them would be taken by chance, and the next time the other."""
    both = listed(project(out), project(out, 8))
    with serving({"/api/projects/": both, **there(out, 8)}) as (url, _):
        with pytest.raises(rayal.UsageError, match="2 projects with the title 'mine'.*: 7, 8"):
            rayal.push_labels(out, url, title="mine")
        assert 8 == rayal.push_labels(out, url, project=8).project


@pytest.mark.parametrize("title", ["ab", "x" * 51])
def test_titles_that_the_server_refuses(out: Path, title: str) -> None:
    """Its own words name no option."""
    with serving({}) as (url, _):
        with pytest.raises(rayal.UsageError, match="Label Studio takes 3 to 50"):
            rayal.push_labels(out, url, title=title)


def test_a_project_that_is_gone(out: Path) -> None:
    """The number of a deleted project is kept: the message must say what to do."""
    with serving({"/api/projects/7/": refused(404, "Not found.")}) as (url, _):
        with pytest.raises(rayal.UsageError, match="is not there .*check --server and --project"):
            rayal.push_labels(out, url, project=7)


def test_tasks_that_are_there_twice(out: Path) -> None:
    """A push that was cut off can leave some: nobody would know."""
    name, units = names(out)
    tasks = [task(number, unit, name) for number, unit in enumerate([*units, units[0]])]
    foreign = [task(9, units[0], "another request"), {"id": 10, "data": {"image": "x"}}]
    pages = {"/api/tasks": (200, {"total": 6, "tasks": [*tasks, *foreign]})}
    views = {"/api/dm/views/": (200, [])}
    with serving({"/api/projects/7/": (200, project(out)), **pages, **views}) as (url, _):
        pushed = rayal.push_labels(out, url, project=7)

    assert (0, 3, 0, 1) == (pushed.tasks, pushed.known, pushed.images, pushed.doubled)
    assert "1 task is there more than once" in pushed.lines[1]
    assert SECRET.encode() not in b"".join(
        file.read_bytes() for file in out.rglob("*") if file.is_file()
    )


def test_the_project_is_remembered(out: Path) -> None:
    """A pull would look for another one, or every command need its number."""
    with serving(there(out, 7)) as (url, _):
        rayal.push_labels(out, url, project=7)
        assert f"{url}/projects/7" == rayal.push_labels(out, url).address


def test_an_upload_that_fails(out: Path) -> None:
    """Tasks would be there whose images are not."""
    replies: dict[str, Reply] = {
        "/api/projects/7/": (200, project(out)),
        "/api/tasks": (200, {"total": 0, "tasks": []}),
        "/api/projects/7/file-uploads": (200, []),
        "/api/projects/7/import": (500, b"<html>"),
    }
    with serving(replies) as (url, seen):
        with pytest.raises(rayal.StorageError, match="give the command again later"):
            rayal.push_labels(out, url, project=7)

    sent = [path for path, _ in seen if "import" in path]
    assert ["/api/projects/7/import?commit_to_project=false"] == sent


def test_a_request_for_another_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers could not be read when they come back."""
    monkeypatch.setenv(TOKEN, SECRET)
    out = waiting_run(tmp_path / "csv", format="csv")
    for call in (rayal.push_labels, rayal.pull_labels):
        with pytest.raises(rayal.UsageError, match="written for csv; set oracle.format: label_st"):
            call(out, "http://127.0.0.1:9")
    (file,) = out.rglob("to_label.csv")
    header, first, *_ = file.read_text().splitlines()
    answer = tmp_path / "answers.csv"
    before, _, request = first.rpartition(",,,")
    answer.write_text(f"{header}\n{before}3,,,{request}\n")
    assert 1 == rayal.add_labels(out, answer).new
