"""Shows runs in MLflow: a parent run per sweep, or per folder of runs of one experiment, and under
it a run per run folder.

Everything is sent from the run folder, in order of step, and MLflow is asked for what it has: so a
killed process, a server that was down and a second `rayal sync` lead to the same runs. All calls
name their ids; `mlflow.set_*` would leak the address into the processes that Ray starts.
"""

import hashlib
import logging
import os
import re
import shlex
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from pydantic import ConfigDict, Field, field_validator

from rayal.errors import StorageError
from rayal.location import expanded
from rayal.runs.record import Record
from rayal.runs.trackers._mlflow_runs import parent_with, run_of, tagged
from rayal.runs.trackers._mlflow_sending import (
    send_artifacts,
    send_metrics,
    send_params,
    send_status,
    upload,
)
from rayal.runs.trackers.base import Found, Tracker
from rayal.secrets import hidden, names_user_or_secret
from rayal.storage.file_lock import PATIENCE, alone
from rayal.storage.local_files import TEMPORARY

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

SQLITE, ARTIFACTS = "sqlite:///", "mlartifacts"
UNFINISHED = re.compile(r"table \S+ already exists")
"""What MLflow says of a database whose tables are not all there."""
PLACES_OF_ARTIFACTS = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
"""Where an MLflow database keeps absolute paths of artifacts: table, column."""
BUSY_SECONDS = 20.0
LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves a local database."""
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

    def is_required(self) -> bool:
        return self.required

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
            run = run_of(client, experiment_id, record)
        with self._errors():
            send_params(client, run, record)
            send_metrics(client, run, record)
            send_status(client, run, record, failed)
            send_artifacts(client, run, record)

    def log_artifacts(self, record: Record, files: Iterable[Path]) -> bool:
        """Add files to the folder `analysis` of the MLflow run that shows this run folder.

        False where there is no such run: none is made. A file of the same name is replaced.
        """
        if self._database and not self._database.exists():
            return False
        client, experiment_id = self._open()
        with self._errors():
            run = tagged(client, experiment_id, "rayal.run", record.run_id)
            if run is None:
                return False
            for file in files:
                client.log_artifact(run.info.run_id, str(file), "analysis")
        return True

    def summarise(self, found: Found) -> None:
        """Curves and areas become metrics of the parent run, the files go into a folder of it, the
        notes into its tags."""
        client, experiment_id = self._open()
        with self._errors(), self._alone():
            parent = parent_with(client, experiment_id, found)
        with self._errors():
            for file, data in found.files.items():
                upload(client, parent, f"{found.folder}/{file}", data)
            for key, value in found.notes.items():
                client.set_tag(parent, key, hidden(value))

    def link(self, record: Record) -> str | None:
        try:
            client, experiment_id = self._open()
            with self._errors():
                run = tagged(client, experiment_id, "rayal.run", record.run_id)
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
