"""What of a run folder is sent to its run in MLflow: what that lacks, in order of step."""

import hashlib
import json
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.runs.trackers import _view
from rayal.storage.lock import STALE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def send_params(client: "MlflowClient", run: "Run", record: Record) -> None:
    """Those that MLflow has cannot be changed there, so they stay as they were at first."""
    from mlflow.entities import Param

    there, now = run.data.params, _view.params(record)
    new = [Param(key, value) for key, value in now.items() if key not in there]
    client.log_batch(run.info.run_id, params=new)


def send_metrics(client: "MlflowClient", run: "Run", record: Record) -> None:
    """A batch per cycle, in order: what MLflow has of a key is all up to its last step.

    Where an answer got lost and a batch comes twice, MLflow drops the copies, which are equal.
    """
    from mlflow.entities import Metric

    last = {metric.key: metric.step for metric in run.data.to_proto().metrics}
    for batch in (*_view.cycle_points(record), *_view.epoch_points(record)):
        new = [Metric(*point) for point in batch if point.step > last.get(point.key, -1)]
        client.log_batch(run.info.run_id, metrics=new)


def send_artifacts(client: "MlflowClient", run: "Run", record: Record) -> None:
    """Files of the run folder that changed, and what each cycle chose.

    Tags of the run say what is there, set after the upload.
    """
    run_id, tags = run.info.run_id, run.data.tags
    there = json.loads(tags.get("rayal.files", "{}"))
    files = dict(_view.files(record))
    digests = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in files.items()}
    changed = [name for name, digest in digests.items() if there.get(name) != digest]
    for name in changed:
        upload(client, run_id, name, files[name])
    if changed:
        client.set_tag(run_id, "rayal.files", json.dumps(digests))
    _send_analysis(client, run, record)
    for cycle in count(int(tags.get("rayal.selections", 0))):
        result = record.result(cycle, Chosen)
        if result is None:
            return
        chosen = stage_folder(record.folder, cycle, "select").read("chosen.csv", result.table)
        upload(client, run_id, f"selections/cycle-{cycle:03d}.csv", chosen)
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
        upload(client, run.info.run_id, f"{_view.ANALYSIS}/{name}", data)
    client.set_tag(run.info.run_id, "rayal.analysis", digest.hexdigest())


def upload(client: "MlflowClient", run_id: str, path: str, data: bytes) -> None:
    folder, _, name = path.rpartition("/")
    with TemporaryDirectory(prefix="rayal-") as temporary:
        file = Path(temporary) / name
        file.write_bytes(data)
        client.log_artifact(run_id, str(file), folder or None)


def send_status(client: "MlflowClient", run: "Run", record: Record, failed: bool) -> None:
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
    if failed or record.has_died() or (silence is not None and silence > STALE):
        return "FAILED"
    if silence is not None or record.request() is not None:
        return "RUNNING"
    return "KILLED" if now == "RUNNING" else now
