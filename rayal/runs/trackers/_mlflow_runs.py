"""The runs of MLflow that show run folders, and the parent run of those that belong together."""

import hashlib
import json
import shlex
import time
from typing import TYPE_CHECKING

from rayal.data.tasks.base import untested_note
from rayal.runs.record import Record
from rayal.runs.trackers import _view
from rayal.runs.trackers.base import Found
from rayal.secrets import hidden
from rayal.storage.lock import SETTLE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

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
- Curves with their bands over seeds, verdicts, tables: the folder `{files}` of the artifacts, where
  `report.html` has all of it; or `rayal report {quoted} --html report.html`.
"""


def run_of(client: "MlflowClient", experiment_id: str, record: Record) -> "Run":
    """The MLflow run that shows this run folder; of several the oldest."""
    if found := tagged(client, experiment_id, "rayal.run", record.run_id):
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
            "mlflow.note.content": _run_note(record),
            **_view.source(),
        },
        run_name=f"{x['strategy']['name']} {x['scheme']['name']} seed {x['seed']}",
    )


def _parent_of(client: "MlflowClient", experiment_id: str, name: str, place: str) -> "Run":
    """The run that holds all runs of one name in one place together."""
    group = hashlib.sha256(f"{name}\0{place}".encode()).hexdigest()[:32]
    if found := tagged(client, experiment_id, "rayal.group", group):
        return found
    folder = hidden(place)
    tags = {
        "rayal.group": group,
        "rayal.parent": name,
        "rayal.folder": folder,
        "mlflow.note.content": _parent_note(Found(name, folder, "accuracy")),
        **_view.source(),
    }
    parent = client.create_run(experiment_id, tags=tags, run_name=name)
    client.set_terminated(parent.info.run_id)  # it never runs itself
    time.sleep(SETTLE)
    oldest = tagged(client, experiment_id, "rayal.group", group) or parent
    if oldest.info.run_id != parent.info.run_id:  # another machine had the same idea
        client.delete_run(parent.info.run_id)
    return oldest


def parent_with(client: "MlflowClient", experiment_id: str, found: Found) -> str:
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
    note = _parent_note(found._replace(place=folder))
    client.set_tag(run_id, "mlflow.note.content", note)
    client.set_tag(run_id, "rayal.curves", digest)
    return run_id


def _run_note(record: Record) -> str:
    note = RUN_NOTE.format(folder=hidden(record.folder.url))
    return note if record.tested else f"{note}- {untested_note(record.headline)}.\n"


def _parent_note(found: Found) -> str:
    """Of what was found in a place that may be shown."""
    return PARENT_NOTE.format(
        name=found.name,
        folder=found.place,
        quoted=shlex.quote(found.place),
        metric=found.metric,
        files=found.folder,
    )


def _now() -> int:
    return int(time.time() * 1000)


def tagged(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> "Run | None":
    found = client.search_runs(
        [experiment_id],
        f"tags.`{tag}` = '{value}'",
        max_results=1,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return found[0] if found else None
