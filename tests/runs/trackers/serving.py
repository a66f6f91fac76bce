"""MLflow servers on this machine, PostgreSQL for one, and what MLflow shows of a run folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from rayal.runs.record import Record
from rayal.runs.trackers.mlflow import Mlflow

Points = dict[str, list[tuple[int, float]]]


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def server(
    folder: Path, port: int, *options: str, database: str = "", **environment: str
) -> Iterator[None]:
    """`mlflow server` in a process group of its own, killed whole at the end.

    Its database is in `folder` unless another is named.
    """
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", database or f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts"), *options),
    ]
    told = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment}
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            command, env=told, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:  # it asks for a password
            return
        except OSError:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}: {log.read_text()[-2000:]}")


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a database of PostgreSQL, which is started for it and removed with it.

    It names psycopg2: SQLAlchemy 2.1 takes psycopg 3 for `postgresql://`, which MLflow does not ask
    for.
    """
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="rayal-pg-", dir="/tmp")), free_port()
    if user:
        shutil.chown(folder, "nobody", "nogroup")
    made = ["initdb", "--pgdata", folder / "data", "--username", "mlflow", "--auth", "trust"]
    started = ["postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
    try:
        subprocess.run(
            [*made, "--no-sync"], check=True, cwd=folder, stdout=subprocess.DEVNULL, **user
        )
        with open(folder / "log", "wb") as log:
            running = subprocess.Popen([*started, "-F"], cwd=folder, stdout=log, stderr=log, **user)
        try:
            while not (folder / f".s.PGSQL.{port}").exists():
                assert running.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            running.send_signal(signal.SIGINT)  # fast shutdown
            running.wait(60)
    finally:
        shutil.rmtree(folder)


def shown(tracker: Mlflow, record: Record) -> Run:
    """The MLflow run of a run folder."""
    client, experiment_id = tracker._open()
    (run,) = client.search_runs([experiment_id], f"tags.`rayal.run` = '{record.run_id}'")
    return run


def points(tracker: Mlflow, record: Record) -> Points:
    """All that MLflow has of each metric, in order; NaN as a word, to compare."""
    client, run = MlflowClient(tracker.uri), shown(tracker, record)
    return {
        key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }


def artifact(tracker: Mlflow, record: Record, path: str, into: Path) -> str:
    run_id = shown(tracker, record).info.run_id
    return Path(MlflowClient(tracker.uri).download_artifacts(run_id, path, str(into))).read_text()


def assert_nothing_twice(found: Points) -> None:
    for key, values in found.items():
        assert not [step for step, n in Counter(step for step, _ in values).items() if n > 1], key
