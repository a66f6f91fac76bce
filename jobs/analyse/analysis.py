"""What all analyses share: which runs are meant, and figures and tables as files.

Analyses read run folders after the fact and never steer a run; what they read is in study.py, the
hidden labels of the pool among it.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from study import Study as Study

from rayal.errors import RayalError, UsageError
from rayal.experiment import config
from rayal.plugins import Plugins
from rayal.report.drawing import encoded
from rayal.runs.find_records import find_records
from rayal.runs.record import Record
from rayal.runs.trackers.mlflow import Mlflow
from rayal.storage import csv_file
from rayal.storage.failures import storage_errors

Runs = Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")]
Out = Annotated[Path, typer.Option(help="Folder of the figures and tables.")]
Tracking = Annotated[
    str | None, typer.Option(help="MLflow that shows the runs; without it, each run's own.")
]
NoTracking = Annotated[bool, typer.Option("--no-tracking", help="Send nothing to MLflow.")]
Packages = Annotated[
    list[str], typer.Option("--plugins", help="Accept parts from this package of yours.")
]

Row = Mapping[str, Any]


class Results:
    """Figures and tables of an analysis, as files in one folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.files: list[Path] = []

    def table(self, name: str, rows: Sequence[Row], shown: Sequence[Row] | None = None) -> None:
        """Writes `<name>.csv`; prints the same rows, or those `shown` in their place."""
        self._write(f"{name}.csv", csv_file.dump_records(rows).encode())
        print(f"{name}\n{markdown(rows if shown is None else shown)}\n")

    def figure(self, name: str, figure: Figure) -> None:
        """Writes `<name>.png` and `<name>.svg`; equal figures are equal bytes."""
        for kind in ("png", "svg"):
            self._write(f"{name}.{kind}", encoded(figure, kind))

    def text(self, name: str, text: str) -> None:
        """Writes a file of this name."""
        self._write(name, text.encode())

    def send(self, records: Sequence[Record], uri: str | None, skip: bool) -> None:
        """Adds all files to each record's MLflow run, where it has one; says where."""
        for record in () if skip else records:
            own = config.resolved(record.experiment(), record.plugins).tracking
            tracker = own if isinstance(own, Mlflow) else None
            if uri is not None:
                name = {"experiment": tracker.experiment} if tracker else {}
                tracker = Mlflow(uri=uri, **name)
            if tracker and tracker.log_artifacts(record, self.files):
                print(f"{record.folder.url}  its MLflow run has the files in analysis/")

    def _write(self, name: str, data: bytes) -> None:
        with storage_errors(str(self.out / name)):
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / name).write_bytes(data)
        self.files.append(self.out / name)


def records(places: Sequence[str], packages: Sequence[str] = ()) -> list[Record]:
    """The run folders at these places, whose parts may be of these packages, which may lie in the
    current folder; raises UsageError where there is no run."""
    if packages:
        sys.path.append(os.getcwd())
    return find_records(places, Plugins(packages))


def open_studies(places: Sequence[str], packages: Sequence[str] = ()) -> list[Study]:
    """As `records`, opened."""
    return [Study(record) for record in records(places, packages)]


def alike(studies: Sequence[Study]) -> None:
    """Raises UsageError for runs that differ in more than the seed: their mean says nothing."""
    first = studies[0]
    for other in studies[1:]:
        if {**other.x.identity(), "seed": 0} != {**first.x.identity(), "seed": 0}:
            raise UsageError(
                f"{first.url} and {other.url} differ in more than the seed; analyse them apart"
            )


def launch(command: Callable[..., None]) -> None:
    """Runs a program's command; an error of the user's is one line and its exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except RayalError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def correlations(a: ArrayLike, b: ArrayLike) -> dict[str, float | None]:
    """Pearson's and Spearman's; None for fewer than three pairs, or where one does not vary."""
    a, b = np.asarray(a), np.asarray(b)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"pearson": None, "spearman": None}
    pearson, spearman = stats.pearsonr(a, b), stats.spearmanr(a, b)
    return {"pearson": float(pearson.statistic), "spearman": float(spearman.statistic)}


def highest(values: NDArray[np.float64], count: int) -> set[int]:
    """Places of the `count` highest values; of equal ones any, as places often follow classes."""
    keys = np.random.default_rng(0).random(len(values))
    return set(np.lexsort((keys, -values))[:count].tolist())


def markdown(rows: Sequence[Row]) -> str:
    """A table of rows with the same keys."""
    if not rows:
        return "(no rows)"
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(row[n]) for n in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
