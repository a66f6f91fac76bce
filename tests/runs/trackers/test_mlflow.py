import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import threading
import time
import warnings
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from rayal.engine.local import LocalEngine
from rayal.errors import StorageError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.report.at_end import page_of
from rayal.runs.events import Event
from rayal.runs.record import Record
from rayal.runs.trackers import _mlflow_sending
from rayal.runs.trackers import mlflow as module
from rayal.runs.trackers.base import Background, Found
from rayal.runs.trackers.mlflow import Mlflow
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run
from rayal.workflows.tracking import show
from tests.runs.trackers.serving import (
    Points,
    artifact,
    assert_nothing_twice,
    free_port,
    points,
    server,
    shown,
)
from tests.support import made_up
from tests.support.doubles import NEWS, Silent
from tests.support.forks import FORKS
from tests.support.killed_run import Runs

# MLflow 3.17 meets SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

NewRun = Callable[..., Any]


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock files of servers go with the test."""
    monkeypatch.setattr(module, "gettempdir", lambda: str(tmp_path))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests: a new one takes seconds."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    Mlflow(uri=uri).prepare()
    return uri


@pytest.fixture
def tracker(database: str, request: pytest.FixtureRequest) -> Mlflow:
    """An MLflow experiment of the test's own."""
    return Mlflow(uri=database, experiment=request.node.name)


def test_a_whole_run(tracker: Mlflow, run: Any) -> None:
    """The hand case: steps are labels for cycles, and epochs through all cycles for training."""
    run.finish()
    tracker.sync(run.record)
    found, sent = points(tracker, run.record), shown(tracker, run.record)

    assert [(2, 0.5), (4, 0.6), (6, 0.7)] == found["accuracy"] == found["curve/accuracy"]
    assert [(2, 2.0), (4, 4.0), (6, 6.0)] == found["labels"]
    assert [(n, 1 / n) for n in range(1, 10)] == found["train/loss"]
    assert [2, 4] == [step for step, _ in found["seconds/label"]]
    assert "FINISHED" == sent.info.status
    assert "cod supervised seed 0" == sent.info.run_name
    assert ("cod", "0.1", "[10, 20]") == tuple(
        sent.data.params[key] for key in ("strategy", "scheme.lr", "scheme.milestones")
    )


def test_runs_of_one_name_share_a_parent(tracker: Mlflow, new_run: NewRun) -> None:
    """Seeds and strategies of one question would lie scattered among all others."""
    records = [new_run(f"seed-{seed}", seed=seed).record for seed in range(3)]
    for record in records:
        tracker.sync(record)
    (parent,) = {shown(tracker, record).data.tags["mlflow.parentRunId"] for record in records}

    assert "digits-al" == MlflowClient(tracker.uri).get_run(parent).data.tags["rayal.parent"]


def test_after_every_stage_as_well_as_once(tracker: Mlflow, new_run: NewRun) -> None:
    """What is shown must not depend on how often, or when, it was sent."""
    often, once = new_run("often"), new_run("once")
    for step in often.steps():
        step()
        tracker.sync(often.record)
        tracker.sync(often.record)
    once.finish()
    tracker.sync(once.record)

    def comparable(run: Any) -> Points:
        found = points(tracker, run.record)
        return {key: v for key, v in found.items() if not key.startswith("seconds/")}

    assert_nothing_twice(points(tracker, often.record))
    assert comparable(once) == comparable(often)
    assert points(tracker, once.record).keys() == points(tracker, often.record).keys()


def test_an_answer_that_got_lost(
    tracker: Mlflow, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has the batch, the client does not know: kill -9, a time-out, a retry."""
    run.finish()
    send = MlflowClient.log_batch

    def lose_answer(*args: Any, **kwargs: Any) -> None:
        send(*args, **kwargs)
        raise MlflowException("connection reset")

    monkeypatch.setattr(MlflowClient, "log_batch", lose_answer)
    for _ in range(4):
        with pytest.raises(StorageError, match="connection reset"):
            tracker.sync(run.record)
    monkeypatch.undo()
    stale = shown(tracker, run.record)  # what a second process saw before the first one sent
    tracker.sync(run.record)
    _mlflow_sending.send_metrics(MlflowClient(tracker.uri), stale, run.record)

    assert_nothing_twice(points(tracker, run.record))
    assert 9 == len(points(tracker, run.record)["train/loss"])


def test_values_that_are_not_numbers(tracker: Mlflow, run: Any) -> None:
    """A diverged metric must show as such, and not stop what follows."""
    run.train(0)
    run.evaluate(0, nll=float("nan"), margin=float("inf"))
    tracker.sync(run.record)
    tracker.sync(run.record)

    assert "[(2, nan)]" == str(points(tracker, run.record)["nll"])
    assert [2] == [step for step, _ in points(tracker, run.record)["margin"]]


def test_a_resumed_run_is_the_same_run(tracker: Mlflow, new_run: NewRun) -> None:
    """Every restart would leave a half run behind."""
    run, told = new_run(), []
    for failed in (False, True, False):
        tracker.sync(run.record, failed=failed)
        told.append(shown(tracker, run.record))
    run.finish()
    tracker.sync(run.record)
    told.append(shown(tracker, run.record))

    assert ["RUNNING", "FAILED", "RUNNING", "FINISHED"] == [sent.info.status for sent in told]
    assert 1 == len({sent.info.run_id for sent in told})


@pytest.mark.parametrize(
    ("silence", "before", "after"),
    [
        (1.0, "KILLED", "RUNNING"),
        (500.0, "RUNNING", "FAILED"),
        (None, "RUNNING", "KILLED"),
        (None, "FAILED", "FAILED"),
    ],
)
def test_status_of_a_run_without_a_driver(
    silence: float | None, before: str, after: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 MLflow says RUNNING until `rayal sync` looks at the run's last sign of life."""
    monkeypatch.setattr(Record, "heartbeat_age", lambda self: silence)

    assert after == _mlflow_sending._status(run.record, False, before)


def test_artifacts(tracker: Mlflow, run: Any, tmp_path: Path) -> None:
    """Tables and figures are what people open; a changed one must replace the old one."""
    for step in run.steps():
        step()
        tracker.sync(run.record)

    def read(path: str) -> str:
        return artifact(tracker, run.record, path, tmp_path)

    assert "cycle\n0\n0\n0\n" == read("curve.csv")
    assert "labels,0,1\n2,0.25,0.75\n4,0.25,0.75\n6,0.25,0.75\n" == read("per_class_accuracy.csv")
    assert "rank,id\n1,unit-1\n" == read("selections/cycle-001.csv")
    assert "name: digits-al" in read("experiment.yaml")


def test_pictures_that_were_drawn_afterwards(
    tracker: Mlflow, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rayal report --pictures` puts them into the run folder; new ones replace old ones, once."""
    run.finish()
    tracker.sync(run.record)
    assert "rayal.analysis" not in shown(tracker, run.record).data.tags
    for text in (b"old", b"new"):
        (run.folder / "analysis").write("cycle-000.png", text)
        (run.folder / "analysis").write("notes.txt", b"not a picture")
        tracker.sync(run.record)
        assert text.decode() == artifact(tracker, run.record, "analysis/cycle-000.png", tmp_path)

    sent: list[Any] = []
    monkeypatch.setattr(MlflowClient, "log_artifact", lambda *args: sent.append(args))
    tracker.sync(run.record)
    assert [] == sent


def test_what_is_there_is_not_sent_again(
    tracker: Mlflow, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at a training would send the whole run."""
    run.finish()
    tracker.sync(run.record)
    sent: list[Any] = []
    monkeypatch.setattr(MlflowClient, "log_artifact", lambda *args: sent.append(args))
    monkeypatch.setattr(
        MlflowClient,
        "log_batch",
        lambda self, run_id, metrics=(), params=(): sent.extend([*metrics, *params]),
    )
    tracker.sync(run.record)

    assert [] == sent


def test_broken_artifact_store_keeps_metrics(
    tracker: Mlflow, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk on the server must not cost the curves, and is made up for later."""

    def full(*args: Any) -> None:
        raise OSError("No space left on device")

    run.finish()
    monkeypatch.setattr(MlflowClient, "log_artifact", full)
    with pytest.raises(StorageError, match="No space left"):
        tracker.sync(run.record)
    monkeypatch.undo()
    before = shown(tracker, run.record)
    tracker.sync(run.record)

    assert ("FINISHED", 0.7) == (before.info.status, before.data.metrics["accuracy"])
    assert "2" == shown(tracker, run.record).data.tags["rayal.selections"]


def test_a_thousand_classes(tracker: Mlflow, run: Any) -> None:
    """A chart per class brings the MLflow page down."""
    run.train(0)
    run.evaluate(0, per_class_accuracy=[0.5] * 1000, per_class_f1=[0.5] * 1000)
    tracker.sync(run.record)

    assert len(shown(tracker, run.record).data.metrics) < 20


def test_deleted_experiment(tracker: Mlflow, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow neither finds nor creates it; only the id gets it back."""
    client, experiment_id = tracker._open()
    client.delete_experiment(experiment_id)

    with pytest.raises(StorageError, match=f"restore --experiment-id {experiment_id}$") as told:
        tracker.sync(run.record)
    tracker.model_copy(update={"experiment": "another"}).sync(run.record)

    place, program, *arguments = shlex.split(str(told.value).partition(", or: ")[2])
    name, _, uri = place.partition("=")
    monkeypatch.setenv(name, uri)
    with warnings.catch_warnings(action="ignore"):  # of MLflow about itself
        command = import_module(f"{program}.cli").cli
    ended = CliRunner().invoke(command, arguments)
    assert 0 == ended.exit_code, ended.output
    tracker.sync(run.record)


def test_a_changed_parameter_does_not_stop_the_run(tracker: Mlflow, new_run: NewRun) -> None:
    """A run may be resumed with more workers; MLflow refuses a second value."""
    run = new_run(compute={"scorers": 1})
    tracker.sync(run.record)
    changed = {**run.experiment, "compute": {"scorers": 8, "device": "cpu"}}
    run.folder.write("experiment.yaml", json.dumps(changed).encode())
    tracker.sync(run.record)
    params = shown(tracker, run.record).data.params

    assert ("1", "cpu") == (params["compute.scorers"], params["compute.device"])


def test_address_does_not_leak_into_other_processes(tracker: Mlflow, run: Any) -> None:
    """Ray workers inherit the environment; their own use of MLflow would write into our runs."""
    tracker.sync(run.record)

    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"} & os.environ.keys()


def test_default_is_a_database_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials work in other folders; a relative path would give each its own database."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)

    assert "rayal" == Mlflow().experiment
    assert f"sqlite:///{tmp_path}/mlflow.db" == Mlflow().uri == Mlflow(uri=None).uri
    assert f"sqlite:///{tmp_path}/a/b.db" == Mlflow(uri="sqlite:///a/b.db").uri
    assert (tmp_path / "mlartifacts").as_uri() == Mlflow()._artifacts()


@pytest.mark.parametrize("uri", ["file:./mlruns", "./mlruns", "postgresql://me:secret@db/x"])
def test_stores_that_are_refused(uri: str) -> None:
    """MLflow fails on file stores only when the first metric is written."""
    with pytest.raises(UsageError, match="neither sqlite:///FILE nor http") as caught:
        Mlflow(uri=uri)

    assert "migrate" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("user", ["me:s3cret", "s3cret", "me:se/s3cret"])
def test_passwords_in_addresses_are_refused(user: str) -> None:
    """They would be saved in every run folder and shown in every message."""
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        Mlflow(uri=f"http://{user}@host:5000")

    assert "s3cret" not in str(caught.value)
    assert "http://host:5000" == Mlflow(uri="http://host:5000").uri


def test_a_path_is_no_user() -> None:
    """A server behind a proxy could not be used."""
    assert "http://host:5000/team@site" == Mlflow(uri="http://host:5000/team@site").uri


def test_unreachable_server(caplog: pytest.LogCaptureFixture, database: str) -> None:
    """With MLflow's own defaults a dead server costs four minutes."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        started = time.monotonic()
        Mlflow(uri=uri).prepare()
        with pytest.raises(StorageError, match="refused.*; check tracking.uri, or start it$"):
            Mlflow(uri=uri, required=True).prepare()

        assert time.monotonic() - started < 10
    assert "the run goes on" in caplog.text
    Mlflow(uri=database, required=True).prepare()


def test_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server behind a firewall answers nothing at all; the user's time-out is respected."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(StorageError, match="timed out"):
            Mlflow(uri=f"http://127.0.0.1:{silent.getsockname()[1]}", required=True).prepare()

        assert time.monotonic() - started < 10


def test_rejected_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are pasted into issues."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Basic {b64encode(b'me:right').decode()}":
                return self.send_error(401)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tracker = Mlflow(uri=f"http://127.0.0.1:{server.server_port}", required=True)
        with pytest.raises(StorageError, match="401.*; check MLFLOW_TRACKING_USERNAME") as caught:
            tracker.prepare()
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "right")
        tracker.prepare()
        server.shutdown()

    assert "secret" not in str(caught.value)


def test_unusable_databases(tmp_path: Path, database: str) -> None:
    """Errors of the database libraries are no StorageError by themselves, and would end the run."""
    (tmp_path / "damaged.db").write_bytes(b"not a database" * 100)
    with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute("CREATE TABLE alembic_version (version_num)")
        newer.execute("INSERT INTO alembic_version VALUES ('from a later MLflow')")
        newer.commit()

    for name, message in (("damaged", "not a database"), ("newer", "from a later MLflow")):
        with pytest.raises(StorageError, match=f"{message}.*; move that file away, or set track"):
            Mlflow(uri=f"sqlite:///{tmp_path}/{name}.db", required=True).prepare()
    Mlflow(uri=database, required=True).prepare()  # another one
    (tmp_path / "damaged.db").rename(tmp_path / "away.db")
    Mlflow(uri=f"sqlite:///{tmp_path}/damaged.db", required=True).prepare()


def test_a_database_that_was_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed at that moment would leave a database that never works again."""
    (tmp_path / ".tmp-mlflow.db").write_bytes(b"of a process that was killed")
    made = list[Path]()

    def table_by_table(uri: str, artifacts: str) -> None:
        made.append(Path(uri.removeprefix("sqlite:///")))
        raise KeyboardInterrupt

    tracker = Mlflow(uri=f"sqlite:///{tmp_path}/mlflow.db", required=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", table_by_table)
        tracker.prepare()
    assert [tmp_path / ".tmp-mlflow.db"] == made
    assert not (tmp_path / "mlflow.db").exists()


def test_a_database_with_some_of_its_tables(tmp_path: Path) -> None:
    """An older rayal, or `mlflow ui`, that was killed there: the way out has to be said."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as unfinished:
        unfinished.execute("CREATE TABLE webhooks (id)")
    tracker = Mlflow(uri=f"sqlite:///{tmp_path}/mlflow.db", required=True)
    with pytest.raises(StorageError, match="already exists.*move that file away"):
        tracker.prepare()
    (tmp_path / "mlflow.db").rename(tmp_path / "away.db")
    (tmp_path / "same").symlink_to(tmp_path)  # MLflow holds on to the file of an address
    Mlflow(uri=f"sqlite:///{tmp_path}/same/mlflow.db", required=True).prepare()
    assert (tmp_path / "mlflow.db").exists()


def test_a_held_database_stops_nothing(
    tracker: Mlflow,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One process that was stopped would stop every other run of the project."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with tracker._alone():
        tracker.prepare()
        with pytest.raises(StorageError, match=f"held for 0 s by pid {os.getpid()}") as told:
            tracker.sync(run.record)

    assert 4 == told.value.exit_code
    assert "the run goes on without it" in caplog.text
    tracker.sync(run.record)


@pytest.mark.slow
def test_many_processes_on_a_new_database(tmp_path: Path) -> None:
    """Without a lock all of them create the tables, and most of them crash."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    processes = [FORKS.Process(target=_prepare, args=(uri,)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [0] * 8 == [process.exitcode for process in processes]


def _prepare(uri: str) -> None:
    Mlflow(uri=uri, required=True).prepare()


@pytest.mark.slow
def test_server_that_dies_and_comes_back(
    tmp_path: Path, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on at its own pace, and afterwards every point is there once."""
    port = free_port()
    folder = tmp_path / "server"
    folder.mkdir()
    tracker, steps = Mlflow(uri=f"http://127.0.0.1:{port}"), list(run.steps())
    with server(folder, port):
        tracker.prepare()
        with Background(tracker, run.record, every=0.5) as background:
            for step in steps[:6]:
                step()
                background.on(NEWS)
    with Background(tracker, run.record, every=0.2) as background:
        for step in steps[6:]:
            started = time.monotonic()
            step()
            background.on(NEWS)
            assert time.monotonic() - started < 5
    with server(folder, port):
        tracker.sync(run.record)
        tracker.sync(run.record)
        found, sent = points(tracker, run.record), shown(tracker, run.record)
        text = artifact(tracker, run.record, "selections/cycle-001.csv", tmp_path)

    assert f"rayal sync {run.folder.url}" in caplog.text
    assert_nothing_twice(found)
    assert [(2, 0.5), (4, 0.6), (6, 0.7)] == found["accuracy"]
    assert [(n, 1 / n) for n in range(1, 10)] == found["train/loss"]
    assert "FINISHED" == sent.info.status
    assert "rank,id\n1,unit-1\n" == text


def parents(tracker: Mlflow, name: str) -> list[Run]:
    """The runs that hold all runs of a name together."""
    client, experiment_id = tracker._open()
    return list(client.search_runs([experiment_id], f"tags.`rayal.parent` = '{name}'"))


def test_what_a_sweep_found(tracker: Mlflow, run: Any, tmp_path: Path) -> None:
    """Its best arm, tables and figures would not be where all its trials are, or not replace those
    of the time before."""
    found = Found("digits-al", str(tmp_path))
    files = {"sweep.csv": b"old", "a.png": b"x"}
    tracker.summarise(found._replace(files=files, notes={"rayal.best_arm": "cod"}))
    tracker.sync(run.record)
    files = {"sweep.csv": b"new"}
    tracker.summarise(found._replace(files=files, notes={"rayal.best_arm": "epmcm"}))
    (parent,) = parents(tracker, "digits-al")
    client = MlflowClient(tracker.uri)
    files = client.list_artifacts(parent.info.run_id, "sweep")
    table = client.download_artifacts(parent.info.run_id, "sweep/sweep.csv", str(tmp_path))

    assert parent.info.run_id == shown(tracker, run.record).data.tags["mlflow.parentRunId"]
    assert ["sweep/a.png", "sweep/sweep.csv"] == [file.path for file in files]
    assert "new" == Path(table).read_text()
    assert "epmcm" == parent.data.tags["rayal.best_arm"]


def test_the_first_click_shows_curves(tracker: Mlflow, new_run: NewRun, tmp_path: Path) -> None:
    """MLflow would open as an empty page: a parent without a number. A mean that changes with
    another seed would draw a zigzag: MLflow forgets nothing."""
    records = [new_run(f"seed-{seed}", seed=seed).record for seed in range(2)]
    for record in records:
        tracker.sync(record)
    found = Found("digits-al", str(tmp_path), "accuracy", {"cod (x=1)": {2: 0.5, 4: 0.75}})
    found = found._replace(areas={"cod (x=1)": 0.6})
    tracker.summarise(found)
    tracker.summarise(found)
    (first,) = parents(tracker, "digits-al")
    tracker.summarise(found._replace(curves={"cod (x=1)": {2: 0.25, 4: 0.75}}))
    (parent,) = parents(tracker, "digits-al")
    client = MlflowClient(tracker.uri)
    history = client.get_metric_history(parent.info.run_id, "accuracy/cod _x_1_")
    children = {shown(tracker, each).data.tags["mlflow.parentRunId"] for each in records}

    assert {"accuracy/cod _x_1_": 0.75, "area/cod _x_1_": 0.6} == first.data.metrics
    assert [(2, 0.25), (4, 0.75)] == [(point.step, point.value) for point in history]
    assert {parent.info.run_id} == children != {first.info.run_id}
    assert str(tmp_path) in parent.data.tags["mlflow.note.content"]
    assert parent.data.tags["mlflow.source.name"].startswith("rayal 0.")
    assert f"/runs/{parent.info.run_id}/model-metrics" in (tracker.link(records[0]) or "")


def test_the_parent_has_the_page(tracker: Mlflow, tmp_path: Path) -> None:
    """Whoever opens MLflow would see means without their bands, and no verdict; and of ten seeds
    ten curves in place of one."""
    records = [
        made_up.run(tmp_path / f"{strategy}-{seed}", strategy=strategy, seed=seed, height=height)
        for strategy, height in (("margin", 0.6), ("random", 0.5))
        for seed in range(3)
    ]
    made_up.run(tmp_path / "another", name="another")
    show(tracker, records[:1])
    (parent,) = parents(tracker, "made_up")
    client = MlflowClient(tracker.uri)
    files = [file.path for file in client.list_artifacts(parent.info.run_id, "runs")]
    page = Path(client.download_artifacts(parent.info.run_id, "runs/report.html", str(tmp_path)))
    curve = client.get_metric_history(parent.info.run_id, "accuracy/margin")

    assert ["runs/curves.png", "runs/report.html"] == files
    assert page_of(records) == page.read_bytes()
    assert {"accuracy/margin", "accuracy/random", "area/margin", "area/random"} == {
        *parent.data.metrics
    }
    assert [(10, 0.601), (20, 0.701), (30, 0.801)] == [
        (point.step, pytest.approx(point.value)) for point in curve
    ]
    assert "folder `runs` of the artifacts" in parent.data.tags["mlflow.note.content"]


def test_two_folders_of_one_name_are_apart(tracker: Mlflow, new_run: NewRun) -> None:
    """Two sweeps of one name would share a parent, and its tables be those of the later one."""
    records = [new_run(place, seed=0).record for place in ("a/run", "b/run", "b/other")]
    for record in records:
        tracker.sync(record)
    one, other, same = (shown(tracker, each).data.tags["mlflow.parentRunId"] for each in records)

    assert one != other == same


def test_the_variables_of_mlflow_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has set them for all tools would search the runs there in vain (K05)."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://10.0.0.9:5000/")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert ("http://10.0.0.9:5000", "mine") == (Mlflow().uri, Mlflow().experiment)
    assert "rayal" == Mlflow(uri="sqlite:///x.db", experiment="rayal").experiment

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:./mlruns")
    with pytest.raises(UsageError, match=r"\$MLFLOW_TRACKING_URI; set tracking.uri to use"):
        Mlflow()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
    with pytest.raises(UsageError, match=r"MLFLOW_TRACKING_URI") as raised:
        Mlflow()
    assert "secret@" not in str(raised.value)
    assert "sqlite:////x.db" == Mlflow(uri="sqlite:////x.db").uri


def test_a_project_that_was_moved_keeps_its_artifacts(
    database: str, new_run: NewRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New artifacts would go to the old path, which MLflow makes again; in a folder whose name
    means something in an address, nothing would be tracked at all."""
    old = Path(database.removeprefix("sqlite:///"))
    new = tmp_path / "pct%20x#?y z"
    new.mkdir()
    shutil.copy(old, new / "mlflow.db")
    tracker = Mlflow(uri=f"sqlite:///{new}/mlflow.db", experiment="moved")
    client, experiment = tracker._open()
    run_of_old = client.create_run(experiment).info.run_id
    gone = (tmp_path / "gone" / "mlartifacts").as_uri()
    with closing(sqlite3.connect(new / "mlflow.db")) as opened, opened:
        for table, column, end in (
            ("experiments", "artifact_location", ""),
            ("runs", "artifact_uri", "/of-old"),
        ):
            value = (f"{gone}{end}", experiment)
            opened.execute(f"UPDATE {table} SET {column}=? WHERE experiment_id=?", value)
    run = new_run()
    run.finish()
    tracker.sync(run.record)
    tracker.sync(run.record)
    here = (new / "mlartifacts").as_uri()

    assert not (tmp_path / "gone").exists()
    assert client.get_run(run_of_old).info.artifact_uri == f"{here}/of-old"
    assert any((new / "mlartifacts").rglob("experiment.yaml"))
    assert 1 == caplog.text.count("was moved here from")
    assert f"'sqlite:///{quote(str(new))}/mlflow.db'" not in tracker.address()  # nothing to quote
    assert shlex.split(tracker.address())[-1] == f"sqlite:///{quote(str(new))}/mlflow.db"


def test_a_place_without_room_for_a_database_is_found_out_at_once(tmp_path: Path) -> None:
    """MLflow tries for minutes to make a database where nothing can be made."""
    (tmp_path / "file").write_text("")
    began = time.monotonic()
    for uri in ("sqlite:////proc/mlflow.db", f"sqlite:///{tmp_path}/file/mlflow.db"):
        with pytest.raises(StorageError, match="MLflow at sqlite:.* failed"):
            Mlflow(uri=uri, required=True).prepare()

    assert time.monotonic() - began < 10


def test_a_summary_for_a_dead_server() -> None:
    """A sweep of days would end in a traceback of the client."""
    tracker = Mlflow(uri=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageError, match="Connection refused"):
        tracker.summarise(Found("digits-al", "/x", files={"sweep.csv": b""}))


def test_machines_that_begin_at_the_same_moment(
    tracker: Mlflow, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials on several machines, which share no lock, would each make a parent of their own."""
    monkeypatch.setattr(Mlflow, "_alone", lambda self: nullcontext())
    barrier, create = threading.Barrier(3), MlflowClient.create_run

    def together(self: MlflowClient, *args: Any, **kwargs: Any) -> Run:
        if "rayal.parent" in kwargs["tags"]:
            barrier.wait(60)  # none has seen another's
        return create(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", together)
    records = [new_run(f"seed-{seed}", seed=seed).record for seed in range(3)]
    threads = [threading.Thread(target=tracker.sync, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (parent,) = parents(tracker, "digits-al")

    assert {parent.info.run_id} == {
        shown(tracker, record).data.tags["mlflow.parentRunId"] for record in records
    }


class Seen(Silent):
    """Notes when each stage begins, and does something at one of them."""

    def __init__(self, at: tuple[int, str] = (-1, ""), act: Callable[[], None] | None = None):
        self.at, self.act, self.times = at, act, dict[tuple[int, str], float]()

    def stage(self, cycle: int, stage: str) -> None:
        self.times[cycle, stage] = time.monotonic()
        if (cycle, stage) == self.at and self.act is not None:
            self.act()

    def ended(self, cycle: int | None, result: Any) -> None:
        self.end = time.monotonic()


def go(x: Any, out: Path, seen: Seen | None = None) -> Record:
    """A whole run in this process."""
    with start_run(x, str(out)) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)), [seen or Seen()])
        return opened.record


def until(condition: Callable[[], Any]) -> None:
    """Wait for another process, at most a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def expected_points(record: Record) -> dict[str, list[int]]:
    """The steps that MLflow must have of the metrics of a finished run."""
    labels = [row["labels"] for row in record.cycles()]
    epochs = sum(len(record.epochs(cycle)) for cycle in range(len(labels)))
    return {"accuracy": labels, "nll": labels, "train/loss": list(range(1, epochs + 1))}


def assert_complete_and_once(tracker: Mlflow, record: Record) -> None:
    found = points(tracker, record)
    steps = {key: [step for step, _ in values] for key, values in found.items()}

    assert_nothing_twice(found)
    assert expected_points(record).items() <= steps.items()
    assert "FINISHED" == shown(tracker, record).info.status


@pytest.mark.slow  # servers that answer wrongly or not at all are there by default
def test_a_run_outlives_its_server(
    tiny: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that dies in the middle of a run would stop it, slow it down, or leave a gap or a
    double point in its curves for ever (D01, D02)."""
    port = free_port()
    folder = tmp_path / "server"
    folder.mkdir()
    x = tiny(tracking={"name": "mlflow", "uri": f"http://127.0.0.1:{port}"})
    alive = server(folder, port)

    def sent() -> bool:
        with suppress(ValueError):  # the server does not know the run yet
            there = points(x.tracking, Record(Folder(tmp_path / "run")))
            return there.get("accuracy") == [(20, value)]
        return False

    def die() -> None:
        until(sent)
        alive.__exit__(None, None, None)

    alive.__enter__()
    value = go(tiny(), tmp_path / "untracked").cycles()[0]["accuracy"]
    seen = Seen((1, "train"), die)
    record = go(x, tmp_path / "run", seen)
    ended = time.monotonic()

    assert record.complete
    assert seen.end - seen.times[1, "evaluate"] < 10  # without the server
    assert ended - seen.end < 25  # the last attempt to send the rest
    assert f"rayal sync {record.folder.url}" in caplog.text

    with server(folder, port):
        for _ in range(2):
            x.tracking.sync(record)
        assert_complete_and_once(x.tracking, record)


class Kill:
    """Kills this process in the second pass, once MLflow has all of the first training."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def on(self, event: Event) -> None:
        while (event.cycle, event.stage) == (1, "score"):
            client = MlflowClient(self.uri)
            runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
            if any(20 < run.data.metrics.get("labels", 0) for run in runs):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.05)


def _killed(out: str, fields: str, point: str) -> None:
    x = Experiment.model_validate(json.loads(fields))
    with start_run(x, out) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)), [Kill(x.tracking.uri)])


def test_a_killed_run_is_one_mlflow_run(
    tiny: Callable[..., Any], tracker: Mlflow, tmp_path: Path
) -> None:
    """After kill -9 a run would be RUNNING for ever, start a second one when it is resumed, or log
    its steps again (D04, D05, A01)."""
    x = tiny(tracking=tracker.model_dump())
    killed = Runs(tmp_path / "stderr", _killed)(x, tmp_path / "run")
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    folder, told = Folder(tmp_path / "run"), [shown(tracker, Record(Folder(tmp_path / "run")))]
    holder = folder.read_sealed("lock.json")
    elsewhere = {**holder, "began": None}  # as an earlier rayal, or another machine, left it
    long_ago = {**elsewhere, "heartbeat": "2020-01-01T00:00:00.000+00:00"}
    for state in (elsewhere, long_ago, holder):
        folder.write_sealed("lock.json", state)
        tracker.sync(Record(folder))
        told.append(shown(tracker, Record(folder)))
    record = go(x, tmp_path / "run")
    told.append(shown(tracker, record))

    states = ["RUNNING", "RUNNING", "FAILED", "FAILED", "FINISHED"]
    assert states == [run.info.status for run in told]
    assert 1 == len({run.info.run_id for run in told})
    assert_complete_and_once(tracker, record)


class Broken(BaseHTTPRequestHandler):
    """A server that is there and of no use, each in its own way."""

    way = ""

    def do_GET(self) -> None:
        if self.way == "slow":
            time.sleep(5)
        elif self.way == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"experiment": {')
        elif self.way.isdigit():
            self.send_response(int(self.way))
            self.send_header("Retry-After", "3600")
            self.end_headers()
        self.close_connection = True  # "reset": without a word

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("way", ["500", "429", "cut", "reset", "slow"])
def test_a_run_beside_a_broken_server(
    tiny: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    """A run would wait for a server that is slow, overloaded or broken, or end with it (D03)."""
    if not way.isdigit():  # the numbers show what happens without any settings
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    handler = type("Handler", (Broken,), {"way": way})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as broken:
        threading.Thread(target=broken.serve_forever, daemon=True).start()
        started, seen = time.monotonic(), Seen()
        x = tiny(tracking={"name": "mlflow", "uri": f"http://127.0.0.1:{broken.server_port}"})
        record = go(x, tmp_path, seen)
        ended = time.monotonic()
        broken.shutdown()
    begun = min(seen.times.values())

    assert record.complete
    assert begun - started < 10
    assert seen.end - begun < 10
    assert ended - seen.end < 25
    assert f"rayal sync {record.folder.url}" in caplog.text


def test_a_run_without_a_place_for_its_database(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Where nothing can be tracked the run would stop, though its own disk is well (B01)."""
    nowhere = Mlflow(uri="sqlite:////dev/full/mlflow.db")

    assert go(tiny(tracking=nowhere.model_dump()), tmp_path).complete


def test_fifty_cycles_of_a_thousand_classes(tracker: Mlflow, run: Any, tmp_path: Path) -> None:
    """Charts by the thousand bring the MLflow page down, and a request per class the run (D11)."""
    for cycle in range(50):
        run.train(cycle)
        run.evaluate(cycle, per_class_accuracy=[cycle / 50] * 1000)
    started = time.monotonic()
    tracker.sync(run.record)
    took = time.monotonic() - started
    table = artifact(tracker, run.record, "per_class_accuracy.csv", tmp_path).splitlines()

    assert len(shown(tracker, run.record).data.metrics) < 60
    assert (51, 1001) == (len(table), len(table[-1].split(",")))
    assert 50 == len(points(tracker, run.record)["accuracy"])
    assert took < 30
