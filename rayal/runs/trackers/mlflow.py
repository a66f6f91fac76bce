"""Shows runs in MLflow: a parent run per sweep, or per folder of runs of one experiment, and under
it a run per run folder.

Everything is sent from the run folder, in order of step, and MLflow is asked for what it has: so a
killed process, a server that was down and a second `rayal sync` lead to the same runs. All calls
name their ids; `mlflow.set_*` would leak the address into the processes that Ray starts.
"""

import hashlib
import json
import logging
import os
import re
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from pydantic import ConfigDict, Field, field_validator

from rayal.errors import StorageError
from rayal.location import expanded
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.runs.trackers import _view
from rayal.runs.trackers.base import Found, Tracker
from rayal.secrets import hidden, names_user_or_secret
from rayal.storage.file_lock import PATIENCE, alone
from rayal.storage.folder import TEMPORARY
from rayal.storage.lock import SETTLE, STALE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

SQLITE, ARTIFACTS = "sqlite:///", "mlartifacts"
UNFINISHED = re.compile(r"table \S+ already exists")
"""What MLflow says of a database whose tables are not all there."""
PLACES_OF_ARTIFACTS = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
"""Where an MLflow database keeps absolute paths of artifacts: table, column."""
BUSY_SECONDS = 20.0
LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves a local database."""
BATCH, MOST_CHILDREN = 1000, 5000
"""Metrics in one request, and runs in an answer, at most: MLflow's own limits are no lower."""
RUN_NOTE = """\
One run of rayal, from the folder `{folder}`.

- `curve/...`, which is `accuracy` or `miou`: the step is the number of labels bought, so that the
  chart is the learning curve.
- `train/...`: the step is the epoch, counted through all cycles. `seconds/...`: time of each stage.
- Artifacts: `experiment.yaml` repeats the run, `selections/` is what each cycle chose.
"""
PARENT_NOTE = """\
The runs of `{name}` in `{folder}`; those below are one for each strategy, setting and seed.

- `{metric}/ARM`: the mean learning curve of an arm over its complete seeds; the step is the number
  of labels.
- `area/ARM`: the area under that curve, over the labels that all arms share: higher is better.
- To lay curves over one another: open the tab *Model metrics*, or choose runs below and *Compare*.
- Tables with intervals and tests: `rayal report {quoted}`, and the folder `sweep` of the artifacts.
"""
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",  # seconds; 120 without this
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # 7 without this: 4 minutes for a dead server
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # a server may ask for an hour
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout belongs to rayal
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no requests that nobody asked for
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # it tells every table that it creates
}
"""MLflow has no arguments for these. What the user has set stays."""


class Mlflow(Tracker):
    """A local database, or a server; user and password come from MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) in the environment, never from a file."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may hold a password

    uri: str = Field(default=None, validate_default=True)
    """`sqlite:///FILE` or `http(s)://HOST`; null: $MLFLOW_TRACKING_URI, else `mlflow.db` in the
    current folder."""
    experiment: str = Field(default=None, validate_default=True, min_length=1, max_length=500)
    """The MLflow experiment that holds the runs; null: $MLFLOW_EXPERIMENT_NAME, else `rayal`."""
    required: bool = False
    """Whether a run refuses to start where MLflow cannot be reached."""

    @field_validator("uri", mode="before")
    @classmethod
    def _resolve(cls, uri: Any) -> Any:
        """Absolute, since trials and jobs work in other folders than the command."""
        if uri is None:
            named = os.environ.get("MLFLOW_TRACKING_URI")
            try:
                return cls._resolve(named or f"{SQLITE}mlflow.db")
            except ValueError as error:
                raise ValueError(
                    f"{error} (it is $MLFLOW_TRACKING_URI; set tracking.uri to use another)"
                ) from error
        if not isinstance(uri, str):
            return uri
        uri = expanded(uri)
        if uri.startswith(SQLITE):
            uri = f"{SQLITE}{expanded(uri.removeprefix(SQLITE))}"
            return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
        if not uri.startswith(("http://", "https://")):
            raise ValueError(
                f"{uri.partition(':')[0]!r} is neither sqlite:///FILE nor http(s)://HOST; MLflow"
                " refuses file stores (mlflow migrate-filestore makes a database of one), and any"
                " other database needs a server: mlflow server --backend-store-uri ..."
            )
        if names_user_or_secret(uri):
            raise ValueError(
                "holds a user or a secret, which every run folder would show; set the environment"
                " variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        return uri.rstrip("/")

    @field_validator("experiment", mode="before")
    @classmethod
    def _named(cls, name: Any) -> Any:
        return (os.environ.get("MLFLOW_EXPERIMENT_NAME") or "rayal") if name is None else name

    def prepare(self) -> None:
        """Create database and experiment: processes that did so side by side would crash."""
        try:
            self._open()
        except StorageError as error:
            if self.required:
                raise
            logger.warning("tracking: %s; the run goes on without it and tries again", error)

    def address(self) -> str:
        """The server, or the command that shows the local database."""
        if self._database is None:
            return self.uri
        return f"mlflow ui --backend-store-uri {shlex.quote(self._url)}"

    def sync(self, record: Record, *, failed: bool = False) -> None:
        """Bring the run up to date: parameters, metrics, status, artifacts."""
        client, experiment_id = self._open()
        with self._errors(), self._alone():
            run = _run_of(client, experiment_id, record)
        with self._errors():
            _send_params(client, run, record)
            _send_metrics(client, run, record)
            _send_status(client, run, record, failed)
            _send_artifacts(client, run, record)

    def log_artifacts(self, record: Record, files: Iterable[Path]) -> bool:
        """Add files to the folder `analysis` of the MLflow run that shows this run folder.

        False where there is no such run: none is made. A file of the same name is replaced.
        """
        if self._database and not self._database.exists():
            return False
        client, experiment_id = self._open()
        with self._errors():
            run = _tagged(client, experiment_id, "rayal.run", record.run_id)
            if run is None:
                return False
            for file in files:
                client.log_artifact(run.info.run_id, str(file), "analysis")
        return True

    def summarise(self, found: Found) -> None:
        """Curves and areas become metrics of the parent run, the files go into its folder `sweep`,
        the notes into its tags."""
        client, experiment_id = self._open()
        with self._errors(), self._alone():
            parent = _parent_with(client, experiment_id, found)
        with self._errors():
            for file, data in found.files.items():
                _upload(client, parent, f"sweep/{file}", data)
            for key, value in found.notes.items():
                client.set_tag(parent, key, hidden(value))

    def link(self, record: Record) -> str | None:
        try:
            client, experiment_id = self._open()
            with self._errors():
                run = _tagged(client, experiment_id, "rayal.run", record.run_id)
        except StorageError:  # said already
            return None
        if run is None:
            return None
        run_id = run.data.tags.get("mlflow.parentRunId", run.info.run_id)
        host = self.uri if self._database is None else LOCAL
        return f"{host}/#/experiments/{experiment_id}/runs/{run_id}/model-metrics"

    @property
    def _database(self) -> Path | None:
        """The file of a local database; None for a server."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    @property
    def _url(self) -> str:
        """The address as libraries read it: of a file's path every sign is meant."""
        return self.uri if self._database is None else f"{SQLITE}{quote(str(self._database))}"

    def _open(self) -> tuple["MlflowClient", str]:
        """A client, and the id of the experiment, which is made where there is none."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._check_database()
        with self._errors(), self._alone() if self._database else nullcontext():
            from mlflow import MlflowClient  # takes seconds, and only tracking needs it
            from mlflow.exceptions import MlflowException

            if self._database and not self._database.exists():
                _make(self._database, self._artifacts())
            client = MlflowClient(self._url)
            experiment = client.get_experiment_by_name(self.experiment)
            if experiment is None:
                try:
                    return client, client.create_experiment(self.experiment, self._artifacts())
                except MlflowException:
                    experiment = client.get_experiment_by_name(self.experiment)
                    if experiment is None:  # else another process made it at this moment
                        raise
        if self._database is not None:
            self._follow(experiment.artifact_location)
        if experiment.lifecycle_stage == "deleted":
            raise StorageError(
                f"the MLflow experiment {self.experiment!r} was deleted; set tracking.experiment,"
                f" or: MLFLOW_TRACKING_URI={shlex.quote(self._url)} mlflow experiments restore"
                f" --experiment-id {experiment.experiment_id}"
            )
        return client, experiment.experiment_id

    def _check_database(self) -> None:
        """Raises StorageError where a local database cannot be had, which MLflow tries for minutes:
        in a folder where nothing can be written, or in a file that is none."""
        if (file := self._database) is None:
            return
        with self._errors():
            file.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=file.parent):  # whether anything can be written
                pass
            if file.exists():
                with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as database:
                    database.execute("PRAGMA schema_version")

    def _follow(self, kept: str) -> None:
        """Artifacts go where the database is: of a project that was moved or copied, MLflow would
        go on with the old place, and make it again."""
        assert self._database is not None
        here = self._artifacts()
        old = Path(unquote(kept.removeprefix("file://"))).parent / self._database.name
        ours = kept.startswith("file:///") and kept.endswith(f"/{ARTIFACTS}")
        if kept == here or not ours or (old.exists() and old.samefile(self._database)):
            return
        with closing(sqlite3.connect(self._database, timeout=BUSY_SECONDS)) as database, database:
            for table, column in PLACES_OF_ARTIFACTS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, len(kept) + 1, kept, len(kept) + 1, f"{kept}/"),
                )
        logger.warning(
            "tracking: %s was moved here from %s; artifacts are now looked for beside it",
            *(self._database, old.parent),
        )

    def _artifacts(self) -> str | None:
        """Where artifacts go: beside a local database; a server decides itself."""
        return self._database.with_name(ARTIFACTS).as_uri() if self._database else None

    def _alone(self) -> AbstractContextManager[None]:
        """One process of this machine at a time: two would make the same thing twice."""
        if self._database is not None:
            return alone(self._database.with_name(f"{self._database.name}.lock"), PATIENCE)
        name = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        return alone(Path(gettempdir()) / f"rayal-{os.getuid()}-{name}.lock", PATIENCE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except StorageError:
            raise
        except (MlflowException, SQLAlchemyError, CommandError, OSError, sqlite3.Error) as error:
            reason = hidden(_root(error)).strip().split("\n")[0]
            way_out = "check tracking.uri, or start it"
            if self._database is not None:
                way_out = "move that file away, or set tracking.uri to another"
            if re.search(r"\b(401|403)\b", reason):
                way_out = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or _TOKEN"
            if UNFINISHED.search(reason):
                way_out = (
                    "a process was killed while MLflow made these tables: move that file away, and"
                    " the next command makes a new one"
                )
            raise StorageError(f"MLflow at {self.uri} failed ({reason:.200}); {way_out}") from error


def _make(database: Path, artifacts: str | None) -> None:
    """Let MLflow make its tables under another name: with some of them, as a killed process would
    leave it, a database is of no use for ever."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = database.with_name(f"{TEMPORARY}{database.name}")
    for leftover in database.parent.glob(f"{new.name}*"):
        leftover.unlink()
    store: Any = SqlAlchemyStore
    store(f"{SQLITE}{new}", artifacts).engine.dispose()
    try:
        os.link(new, database)  # not over one that somebody else has made meanwhile
        new.unlink()
    except FileExistsError:
        new.unlink()
    except OSError:  # a disk without links
        new.rename(database)


def _root(error: BaseException) -> str:
    """What happened at first: `Connection refused`, below three layers of retries."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {error}"


def _run_of(client: "MlflowClient", experiment_id: str, record: Record) -> "Run":
    """The MLflow run that shows this run folder; of several the oldest."""
    if found := _tagged(client, experiment_id, "rayal.run", record.run_id):
        return found
    x = record.experiment()
    parent = _parent_of(client, experiment_id, x["name"], record.place)
    return client.create_run(
        experiment_id,
        start_time=_view.created(record),
        tags={
            "rayal.run": record.run_id,
            "rayal.folder": hidden(record.folder.url),
            "rayal.strategy": x["strategy"]["name"],
            "rayal.seed": str(x["seed"]),
            "mlflow.parentRunId": parent.info.run_id,
            "mlflow.note.content": RUN_NOTE.format(folder=hidden(record.folder.url)),
            **_view.source(),
        },
        run_name=f"{x['strategy']['name']} {x['scheme']['name']} seed {x['seed']}",
    )


def _parent_of(client: "MlflowClient", experiment_id: str, name: str, place: str) -> "Run":
    """The run that holds all runs of one name in one place together."""
    group = hashlib.sha256(f"{name}\0{place}".encode()).hexdigest()[:32]
    if found := _tagged(client, experiment_id, "rayal.group", group):
        return found
    folder = hidden(place)
    tags = {
        "rayal.group": group,
        "rayal.parent": name,
        "rayal.folder": folder,
        "mlflow.note.content": _parent_note(name, folder, "accuracy"),
        **_view.source(),
    }
    parent = client.create_run(experiment_id, tags=tags, run_name=name)
    client.set_terminated(parent.info.run_id)  # it never runs itself
    time.sleep(SETTLE)
    oldest = _tagged(client, experiment_id, "rayal.group", group) or parent
    if oldest.info.run_id != parent.info.run_id:  # another machine had the same idea
        client.delete_run(parent.info.run_id)
    return oldest


def _parent_with(client: "MlflowClient", experiment_id: str, found: Found) -> str:
    """The id of the parent run, whose metrics are those that were found.

    MLflow forgets no value: where one changed, as a mean does with another seed, a new parent takes
    the place of the old one.
    """
    from mlflow.entities import Metric

    old = _parent_of(client, experiment_id, found.name, found.place)
    points, there = _view.curve_points(found), old.data.metrics
    digest = hashlib.sha256(json.dumps(points).encode()).hexdigest()
    run_id: str = old.info.run_id
    if old.data.tags.get("rayal.curves") == digest:
        return run_id
    if there:
        client.delete_run(run_id)
        run_id = _parent_of(client, experiment_id, found.name, found.place).info.run_id
        children = f"tags.`mlflow.parentRunId` = '{old.info.run_id}'"
        for child in client.search_runs([experiment_id], children, max_results=MOST_CHILDREN):
            client.set_tag(child.info.run_id, "mlflow.parentRunId", run_id)
    metrics = [Metric(point.key, point.value, _now(), point.step) for point in points]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    folder = hidden(found.place)
    note = _parent_note(found.name, folder, found.metric)
    client.set_tag(run_id, "mlflow.note.content", note)
    client.set_tag(run_id, "rayal.curves", digest)
    return run_id


def _parent_note(name: str, folder: str, metric: str) -> str:
    return PARENT_NOTE.format(name=name, folder=folder, quoted=shlex.quote(folder), metric=metric)


def _now() -> int:
    return int(time.time() * 1000)


def _tagged(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> "Run | None":
    found = client.search_runs(
        [experiment_id],
        f"tags.`{tag}` = '{value}'",
        max_results=1,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return found[0] if found else None


def _send_params(client: "MlflowClient", run: "Run", record: Record) -> None:
    """Those that MLflow has cannot be changed there, so they stay as they were at first."""
    from mlflow.entities import Param

    there, now = run.data.params, _view.params(record)
    new = [Param(key, value) for key, value in now.items() if key not in there]
    client.log_batch(run.info.run_id, params=new)


def _send_metrics(client: "MlflowClient", run: "Run", record: Record) -> None:
    """A batch per cycle, in order: what MLflow has of a key is all up to its last step.

    Where an answer got lost and a batch comes twice, MLflow drops the copies, which are equal.
    """
    from mlflow.entities import Metric

    last = {metric.key: metric.step for metric in run.data.to_proto().metrics}
    for batch in (*_view.cycle_points(record), *_view.epoch_points(record)):
        new = [Metric(*point) for point in batch if point.step > last.get(point.key, -1)]
        client.log_batch(run.info.run_id, metrics=new)


def _send_artifacts(client: "MlflowClient", run: "Run", record: Record) -> None:
    """Files of the run folder that changed, and what each cycle chose.

    Tags of the run say what is there, set after the upload.
    """
    run_id, tags = run.info.run_id, run.data.tags
    there = json.loads(tags.get("rayal.files", "{}"))
    files = dict(_view.files(record))
    digests = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in files.items()}
    changed = [name for name, digest in digests.items() if there.get(name) != digest]
    for name in changed:
        _upload(client, run_id, name, files[name])
    if changed:
        client.set_tag(run_id, "rayal.files", json.dumps(digests))
    _send_analysis(client, run, record)
    for cycle in count(int(tags.get("rayal.selections", 0))):
        result = record.result(cycle, Chosen)
        if result is None:
            return
        chosen = stage_folder(record.folder, cycle, "select").read("chosen.csv", result.table)
        _upload(client, run_id, f"selections/cycle-{cycle:03d}.csv", chosen)
        client.set_tag(run_id, "rayal.selections", str(cycle + 1))


def _send_analysis(client: "MlflowClient", run: "Run", record: Record) -> None:
    """What was drawn of the run; all of it anew where any of it changed: it is drawn at once."""
    files = _view.analysis(record)
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\0".encode())
    if not files or run.data.tags.get("rayal.analysis") == digest.hexdigest():
        return
    for name, data in files.items():
        _upload(client, run.info.run_id, f"{_view.ANALYSIS}/{name}", data)
    client.set_tag(run.info.run_id, "rayal.analysis", digest.hexdigest())


def _upload(client: "MlflowClient", run_id: str, path: str, data: bytes) -> None:
    folder, _, name = path.rpartition("/")
    with TemporaryDirectory(prefix="rayal-") as temporary:
        file = Path(temporary) / name
        file.write_bytes(data)
        client.log_artifact(run_id, str(file), folder or None)


def _send_status(client: "MlflowClient", run: "Run", record: Record, failed: bool) -> None:
    status = _status(record, failed, run.info.status)
    if status == run.info.status:
        return
    if status == "RUNNING":
        client.update_run(run.info.run_id, status)
    else:
        client.set_terminated(run.info.run_id, status)


def _status(record: Record, failed: bool, now: str) -> str:
    """RUNNING also while a run waits for labels; KILLED if it stopped and can be continued."""
    if record.complete:
        return "FINISHED"
    silence = record.heartbeat_age()
    if failed or (silence is not None and silence > STALE):
        return "FAILED"
    if silence is not None:
        return "RUNNING"
    return "KILLED" if now == "RUNNING" else now
