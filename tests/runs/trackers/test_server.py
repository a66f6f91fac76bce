"""A real MLflow server, with PostgreSQL and with passwords, and many processes that write to it."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from rayal.errors import StorageError
from rayal.runs.record import Record
from rayal.runs.trackers import mlflow as module
from rayal.runs.trackers.base import Background, Found
from rayal.runs.trackers.mlflow import Mlflow
from rayal.storage.folder import Folder
from tests.runs.trackers.serving import (
    artifact,
    assert_nothing_twice,
    free_port,
    points,
    postgres,
    server,
    shown,
)
from tests.support.doubles import NEWS
from tests.support.forks import FORKS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

PROCESSES = 8


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock files of servers go with the test."""
    monkeypatch.setattr(module, "gettempdir", lambda: str(tmp_path))


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """PostgreSQL."""
    pytest.importorskip("psycopg2")
    if not (shutil.which("initdb") and shutil.which("postgres")):
        pytest.skip("PostgreSQL is not installed")
    with postgres() as url:
        yield url


class Served:
    """A server on PostgreSQL that can go away and come back."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def there(self) -> Iterator[None]:
        with server(self.folder, self.port, database=self.database):
            yield


@pytest.fixture(scope="module")
def served(database: str, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Not there yet."""
    return Served(tmp_path_factory.mktemp("server"), database)


@pytest.fixture(scope="module")
def running(served: Served) -> Iterator[Served]:
    """There for all tests that do not stop it."""
    with served.there():
        yield served


def copied(record: Record, into: Path, count: int) -> list[Path]:
    """The same finished run under other ids."""
    source = Path(record.folder.url)
    made = []
    for number in range(count):
        shutil.copytree(source, into / f"copy-{number}")
        folder = Folder(into / f"copy-{number}")
        run = folder.read_sealed("run.json")
        folder.write_sealed("run.json", {**run, "id": f"{number:032x}"})
        experiment = {**record.experiment(), "seed": number}
        folder.write("experiment.yaml", json.dumps(experiment).encode())
        made.append(into / f"copy-{number}")
    return made


def _sync(uri: str, experiment: str, folder: Path, locks: str) -> None:
    """A process of a trial; others with the same `locks` are on the same machine."""
    tempfile.tempdir = locks
    Mlflow(uri=uri, experiment=experiment).sync(Record(Folder(folder)))


@pytest.mark.parametrize("machines", [1, PROCESSES])
def test_eight_trials_at_a_time(running: Served, run: Any, tmp_path: Path, machines: int) -> None:
    """Trials that begin together would make parents or runs twice, or lose points."""
    run.finish()
    folders = copied(run.record, tmp_path / "copies", PROCESSES)
    tracker = Mlflow(uri=running.url, experiment=f"eight on {machines}")
    tracker.prepare()
    processes = []
    for number, folder in enumerate(folders):
        place = tmp_path / f"machine-{number % machines}"
        place.mkdir(exist_ok=True)
        arguments = (tracker.uri, tracker.experiment, folder, str(place))
        processes.append(FORKS.Process(target=_sync, args=arguments))
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)

    assert [0] * PROCESSES == [process.exitcode for process in processes]

    client, experiment = tracker._open()
    runs = list(client.search_runs([experiment]))
    (parent,) = [r for r in runs if "rayal.parent" in r.data.tags]
    children = [r for r in runs if "rayal.run" in r.data.tags]

    assert PROCESSES == len(children) == len({r.data.tags["rayal.run"] for r in children})
    assert {parent.info.run_id} == {r.data.tags["mlflow.parentRunId"] for r in children}
    for folder in folders:
        record = Record(Folder(folder))
        found = points(tracker, record)
        assert_nothing_twice(found)
        assert [(2, 0.5), (4, 0.6), (6, 0.7)] == found["accuracy"]
        assert [(n, 1 / n) for n in range(1, 10)] == found["train/loss"]
        assert "FINISHED" == shown(tracker, record).info.status
        assert "rank,id\n1,unit-1\n" == artifact(
            tracker, record, "selections/cycle-001.csv", tmp_path / folder.name
        )


def test_fifty_cycles_of_a_thousand_classes(running: Served, run: Any, tmp_path: Path) -> None:
    """A page of thousands of charts does not open (D11)."""
    for cycle in range(50):
        run.train(cycle)
        run.evaluate(cycle, per_class_accuracy=[cycle / 50] * 1000)
    tracker = Mlflow(uri=running.url, experiment="thousand classes")
    started = time.monotonic()
    tracker.sync(run.record)
    took = time.monotonic() - started
    table = artifact(tracker, run.record, "per_class_accuracy.csv", tmp_path).splitlines()

    assert len(shown(tracker, run.record).data.metrics) < 60
    assert (51, 1001) == (len(table), len(table[-1].split(",")))
    assert 50 == len(points(tracker, run.record)["accuracy"])
    assert took < 120


def test_a_summary_in_postgres(running: Served, run: Any, tmp_path: Path) -> None:
    """What a sweep found would be shown by a local database only."""
    tracker = Mlflow(uri=running.url, experiment="summary")
    found = Found("digits-al", str(tmp_path))
    tracker.summarise(found._replace(files={"sweep.csv": b"old"}, notes={"rayal.best_arm": "cod"}))
    tracker.sync(run.record)
    files = {"sweep.csv": b"new"}
    tracker.summarise(found._replace(files=files, notes={"rayal.best_arm": "epmcm"}))
    parent = shown(tracker, run.record).data.tags["mlflow.parentRunId"]
    client = MlflowClient(tracker.uri)
    table = client.download_artifacts(parent, "sweep/sweep.csv", str(tmp_path))

    assert "new" == Path(table).read_text()
    assert "epmcm" == client.get_run(parent).data.tags["rayal.best_arm"]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """The address of a server that asks for the password of `admin`."""
    pytest.importorskip("flask_wtf")
    folder, port = tmp_path / "guarded", free_port()
    folder.mkdir()
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder}/users.db",
        "admin_username": "admin",
        "admin_password": "correct horse battery",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    lines = [f"{key} = {value}" for key, value in settings.items()]
    (folder / "auth.ini").write_text("\n".join(["[mlflow]", *lines, ""]))
    with server(
        folder,
        port,
        *("--app-name", "basic-auth"),
        MLFLOW_AUTH_CONFIG_PATH=str(folder / "auth.ini"),
        MLFLOW_FLASK_SERVER_SECRET_KEY="of these tests",
    ):
        yield f"http://127.0.0.1:{port}"


def test_user_and_password(
    guarded: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guarded server would be of no use, or the password be shown in a message (D13)."""
    run.finish()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse battery")
    tracker = Mlflow(uri=guarded, required=True)
    tracker.prepare()
    tracker.sync(run.record)
    found = points(tracker, run.record)

    assert [(2, 0.5), (4, 0.6), (6, 0.7)] == found["accuracy"]
    assert "rank,id\n1,unit-1\n" == artifact(
        tracker, run.record, "selections/cycle-001.csv", tmp_path
    )
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-secret")
    for attempt in (tracker.prepare, lambda: tracker.sync(run.record)):
        with pytest.raises(StorageError, match="401.*MLFLOW_TRACKING_PASSWORD") as caught:
            attempt()
        assert "wrong-secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse battery")
    tracker.sync(run.record)


def test_a_server_that_is_away(served: Served, run: Any, tmp_path: Path, caplog: Any) -> None:
    """A minute without the server would leave a gap in the curves for ever (D02)."""
    away = Served(tmp_path, served.database)
    tracker, steps = Mlflow(uri=away.url, experiment="away"), list(run.steps())
    with away.there():
        tracker.prepare()
        background = Background(tracker, run.record, every=0.5)
        for step in steps[:3]:
            step()
        background.on(NEWS)
        until(lambda: "accuracy" in points(tracker, run.record))
    for step in steps[3:8]:
        step()
        background.on(NEWS)
    until(lambda: "the run goes on" in caplog.text)
    with away.there():
        for step in steps[8:]:
            step()
        background.close(60)
        found, sent = points(tracker, run.record), shown(tracker, run.record)

    assert_nothing_twice(found)
    assert [(2, 0.5), (4, 0.6), (6, 0.7)] == found["accuracy"]
    assert [(n, 1 / n) for n in range(1, 10)] == found["train/loss"]
    assert "FINISHED" == sent.info.status


def until(condition: Callable[[], Any]) -> None:
    """Wait for the tracker's thread, at most a minute."""
    end = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except ValueError:  # the server does not know the run yet
            pass
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
