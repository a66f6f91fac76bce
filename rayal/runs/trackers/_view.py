"""What a tracker shows of a run folder: parameters, points, files. Knows no tracker."""

import getpass
import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import rayal
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.runs.trackers.base import Found
from rayal.secrets import hidden
from rayal.storage import csv_file
from rayal.storage.journal import read_done
from rayal.storage.yaml_node import leaves

GIT_SECONDS = 5.0
MAX_PARAMS = 80
MAX_PARAM_LENGTH = 500
"""Longer values, and lists of parts, are in the file `experiment.yaml` only."""
FIGURES = (".png", ".svg", ".csv", ".html")
"""Files of the run folder itself that are shown, beside `experiment.yaml`."""

ANALYSIS = "analysis"
"""Of a run folder, where `rayal report --pictures` puts what it draws; as in MLflow."""


class Point(NamedTuple):
    """One value of a metric. A point always has the same time, so its copies are equal."""

    key: str
    value: float
    time: int
    """Milliseconds since 1970."""
    step: int


def source() -> dict[str, str]:
    """What made the runs, in tags of MLflow's own names: version, user, and commit of the code in
    the current folder, where git knows one."""
    tags = {"mlflow.source.name": f"rayal {rayal.__version__}", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # no name for this user id, as in a container
        tags["mlflow.user"] = getpass.getuser()
    with suppress(OSError, subprocess.SubprocessError):
        ask = ["git", "rev-parse", "HEAD"]
        told = subprocess.run(ask, capture_output=True, text=True, timeout=GIT_SECONDS)
        if told.returncode == 0:
            tags["mlflow.source.git.commit"] = told.stdout.strip()
    return tags


def curve_points(found: Found) -> list[Point]:
    """The mean curve of each arm by labels, and its area: `accuracy/cod`, `area/cod`."""
    points = [
        Point(plain(f"{found.metric}/{arm}"), value, 0, labels)
        for arm, curve in found.curves.items()
        for labels, value in curve.items()
    ]
    points += [Point(plain(f"area/{arm}"), value, 0, 0) for arm, value in found.areas.items()]
    return [point for point in points if math.isfinite(point.value)]


def params(record: Record) -> dict[str, str]:
    """The experiment, flattened; not how it is tracked, nor which of its files stay."""
    x = {k: v for k, v in record.experiment().items() if k not in ("tracking", "keep")}
    return flat(x)


def flat(x: Mapping[str, Any]) -> dict[str, str]:
    """`{"scheme": {"name": "isda", "lr": 0.1}}` as `scheme` = isda and `scheme.lr` = 0.1.

    Without lists of mappings and long values, and with at most MAX_PARAMS entries.
    """
    texts = (
        (plain(key), hidden(value if isinstance(value, str) else json.dumps(value)))
        for key, value in leaves(x)
        if not (isinstance(value, list) and any(isinstance(v, list | dict) for v in value))
    )
    short = [(key, text) for key, text in texts if len(text) <= MAX_PARAM_LENGTH]
    return dict(short[:MAX_PARAMS])


def cycle_points(record: Record) -> Iterator[list[Point]]:
    """What each cycle reached and how long its stages took; the step is the number of labels.

    The headline comes twice: MLflow shows groups first, by the alphabet, so as `curve/accuracy` it
    is the first chart.
    """
    headline = record.headline
    for row in record.cycles():
        done = read_done(stage_folder(record.folder, row["cycle"], "evaluate"))
        at = _milliseconds(done["finished"])
        points = [
            Point(plain(re.sub(r"(.+)_seconds$", r"seconds/\1", key)), value, at, row["labels"])
            for key, value in row.items()
            if value is not None  # a stage that has not finished
        ]
        if row.get(headline) is not None:
            points.append(Point(f"curve/{plain(headline)}", row[headline], at, row["labels"]))
        yield points


def epoch_points(record: Record) -> Iterator[list[Point]]:
    """The trainings, one list per cycle; the step is the epoch, counted through all cycles.

    Their clock shows seconds of training since the run was created.
    """
    clock, epoch = float(created(record)), 0
    for cycle in range(len(record.cycles()) + 1):  # the last one may be in training
        points: list[Point] = []
        for row in record.epochs(cycle):
            epoch, clock = epoch + 1, clock + 1000 * row["seconds"]
            points += [
                Point(plain(f"train/{key}"), value, int(clock), epoch)
                for key, value in row.items()
                if key != "epoch"
            ]
        yield points


def files(record: Record) -> Iterator[tuple[str, bytes]]:
    """Name and content of what describes the whole run so far."""
    yield "experiment.yaml", hidden(record.experiment_file()).encode()
    for name in record.folder.names():
        if name.endswith(FIGURES):
            yield name, record.folder.read(name)
    yield from _per_class(record)


def analysis(record: Record) -> dict[str, bytes]:
    """Name -> content of what was drawn of the run afterwards, see `rayal.report.pictures`."""
    folder = record.folder / ANALYSIS
    return {name: folder.read(name) for name in folder.names() if name.endswith(FIGURES)}


def created(record: Record) -> int:
    """When the run began, in milliseconds since 1970."""
    return _milliseconds(record.folder.read_sealed("run.json")["created"])


def plain(name: str) -> str:
    """A name of letters, digits and `_-. :/`, which every tracker accepts."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250]


def _per_class(record: Record) -> Iterator[tuple[str, bytes]]:
    """`per_class_accuracy.csv` and so on: a row for each cycle, a column for each class."""
    tables: dict[str, list[list[Any]]] = {}
    for row in record.cycles():
        evaluated = record.result(row["cycle"], Evaluated)
        for name, values in ({} if evaluated is None else evaluated.metrics).items():
            if isinstance(values, list):
                header = ["labels", *range(len(values))]
                tables.setdefault(name, [header]).append([row["labels"], *values])
    for name, rows in tables.items():
        yield f"{name}.csv", csv_file.dump(rows[0], rows[1:]).encode()


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
