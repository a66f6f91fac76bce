"""Where the seconds of a cycle go, by strategy: as Table 3 of TOD and Table 4 of DAST-AL.

    python jobs/analyse/timing.py RUN... [--cycle N] [--out DIR] [--tracking URI | --no-tracking]

Numbers come from the run folders alone; what a run did not measure stays empty.

- train: the stage, with the start of its workers and the reading of images; `epochs` is the part
  inside the epochs.
- auxiliary: what is trained after the model (stage `fit`). Companions are trained with it, in the
  same steps, so their time is inside train: `in train`. `extra_mb` is the size of their weights.
- score: the stage, with the start of its workers, decoding, and every strategy named in `scored`:
  observers cost time too, so a run that is to be timed should have none.
- `device` is what the experiment asked for, `cores` what the driver's machine has. The first cycle
  warms everything up; `--cycle` looks at one.

A cycle that was interrupted is in the CSV, marked, and in no mean: its last attempt found part of
the work done. The published tables differ in what they count: TOD's seconds of sampling leave out
VAAL's autoencoder, DAST-AL's seconds of training hold it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import analysis
import numpy as np
import typer
from analysis import Results, Row

from rayal.errors import UsageError
from rayal.runs.ledger import INITIAL, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Scored, Trained
from rayal.storage.journal import read_done
from rayal.workflows.attempts import attempts

PARTS = ("train_s", "auxiliary_s", "score_s", "select_s")
STAGES = ("train", "evaluate", "score", "select")
SETTING = ("dataset", "model", "strategy", "scheme", "scored", "engine", "device", "cores", "batch")
"""Runs that agree in these are one row of the summary."""


def cycles(record: Record) -> Iterator[Row]:
    """A row for each cycle that selected."""
    x = record.experiment()
    setting = _setting(record, x)
    for row in record.cycles():
        cycle = row["cycle"]
        trained, scored = record.result(cycle, Trained), record.result(cycle, Scored)
        if trained is None or scored is None or row["select_seconds"] is None:
            continue
        companions = trained.companions
        yield {
            **setting,
            "seed": x["seed"],
            "cycle": cycle,
            "labels": row["labels"],
            "candidates": scored.units,
            "companions": " ".join(companions),
            "extra_mb": sum(file.bytes for file in companions.values()) / 1e6,
            "train_s": row["train_seconds"],
            "epochs_s": trained.seconds,
            "auxiliary_s": row["fit_seconds"],
            "score_s": row["score_seconds"],
            "select_s": row["select_seconds"],
            "interrupted": interrupted(record, cycle),
        }


def _setting(record: Record, x: dict[str, Any]) -> Row:
    return {
        **{part: x[part]["name"] for part in ("dataset", "model", "strategy", "scheme")},
        "scored": " ".join(each["name"] for each in (x["strategy"], *x["observers"])),
        "engine": x["compute"]["engine"],
        "device": x["compute"]["device"],
        "cores": next((made["cores"] for made in reversed(attempts(record.folder))), None),
        "batch": x["compute"]["score_batch"],
    }


def interrupted(record: Record, cycle: int) -> bool:
    """Whether more than one attempt worked on a cycle, from the end of the one before."""
    before = (cycle - 1, "label") if cycle else (0, INITIAL)
    stages = [before, *((cycle, stage) for stage in STAGES)]
    folders = [stage_folder(record.folder, at, stage) for at, stage in stages]
    return len({read_done(folder)["attempt"] for folder in folders}) > 1


def summary(rows: Sequence[Row]) -> list[Row]:
    """Means over the whole cycles of all runs that agree in their setting."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not row["interrupted"]:
            groups[tuple(row[name] for name in SETTING)].append(row)
    return [_mean_row(dict(zip(SETTING, key, strict=True)), g) for key, g in groups.items()]


def _mean_row(setting: Row, rows: Sequence[Row]) -> Row:
    means = {name: _mean(rows, name) for name in ("candidates", "extra_mb", "epochs_s", *PARTS)}
    minutes = sum(means[name] or 0.0 for name in PARTS) / 60
    if means["auxiliary_s"] is None and any(row["companions"] for row in rows):
        means["auxiliary_s"] = "in train"
    return {**setting, **means, "total_min": minutes, "cycles": len(rows)}


def _mean(rows: Sequence[Row], name: str) -> Any:
    values = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(values)) if values else None


def main(
    runs: analysis.Runs,
    out: analysis.Out = Path("analysis"),
    cycle: Annotated[int | None, typer.Option(min=0, help="Only this cycle.")] = None,
    tracking: analysis.Tracking = None,
    no_tracking: analysis.NoTracking = False,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """Seconds of training, scoring and selection, by strategy, from run folders."""
    records, results = analysis.records(runs, plugins), Results(out)
    rows = [row for record in records for row in cycles(record) if cycle in (None, row["cycle"])]
    if not rows:
        raise UsageError("no run has a finished selection here; name other runs, or another cycle")
    shown = summary(rows)
    results.text("timing.md", analysis.markdown(shown) + "\n")
    results.table("timing", rows, shown)
    results.send(records, tracking, no_tracking)


if __name__ == "__main__":
    analysis.launch(main)
