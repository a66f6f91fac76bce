"""Where runs are: from their folders alone, whether they go on, have ended or have died."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from rayal.errors import UsageError
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.pass_record import PassRecord
from rayal.runs.record import Record
from rayal.secrets import hidden
from rayal.storage.folder import Folder

STALE_SECONDS = 60.0
"""A driver refreshes its lock every few seconds; silent for this long, it is dead or paused."""


def status_rows(places: Iterable[str], plugins: Plugins = NO_PLUGINS) -> list[dict[str, Any]]:
    """A row for each run at or below these places (folder, state, cycle, stage, labels, headline
    metric), and for each pass of `rayal score` (folder, state, images).

    Raises UsageError for a place with neither.
    """
    rows = []
    for place in places:
        folder = Folder(place)
        inside = [_row(record) for record in Record.below(folder, plugins)]
        inside += [_pass_row(record) for record in PassRecord.below(folder)]
        if not inside:
            raise UsageError(
                f"{place}: no run folder is there or below; a run holds a run.json, a scoring a"
                " score.yaml too"
            )
        rows += inside
    return rows


def status_table(rows: Iterable[dict[str, Any]]) -> Table:
    """The rows for a terminal."""
    table = Table(box=None, header_style="bold")
    for column in ("run", "state", "cycle", "stage", "labels", "metric"):
        table.add_column(column, justify="right" if column in ("cycle", "labels") else "left")
    for row in rows:
        run = hidden(row["run"] if row["run"].isprintable() else repr(row["run"]))
        silence = row["silent_seconds"]
        state = row["state"] if silence is None else f"{row['state']}, silent for {silence:.0f} s"
        table.add_row(run, state, *(_of_pass(row) if "images" in row else _of_run(row)))
    return table


def _of_run(row: dict[str, Any]) -> list[str]:
    value = "" if row["value"] is None else f"{row['metric']} {row['value']:.4f}"
    return [str(row["cycle"]), row["stage"] or "", str(row["labels"]), value]


def _of_pass(row: dict[str, Any]) -> list[str]:
    return ["", row["stage"] or "", "", f"{row['images']:,} of {row['of']:,} images"]


def cycle_table(record: Record, headline: str) -> Table:
    """A run's cycles for a terminal: labels, the headline metric, seconds of the stages."""
    table = Table(box=None, header_style="bold")
    columns = ("cycle", "labels", headline, "train s", "score s", "select s")
    for column in columns:
        table.add_column(column, justify="right")
    for row in record.cycles():
        seconds = (row[f"{stage}_seconds"] for stage in ("train", "score", "select"))
        table.add_row(
            str(row["cycle"]),
            str(row["labels"]),
            f"{row[headline]:.4f}",
            *("" if value is None else f"{value:.1f}" for value in seconds),
        )
    return table


def _row(record: Record) -> dict[str, Any]:
    record.check_whole()
    (state, silence), now, cycles = _state(record), record.stage_now(), record.cycles()
    row = {
        "run": record.folder.url,
        "state": state,
        "silent_seconds": silence,
        "cycle": cycles[-1]["cycle"] if cycles else 0,
        "stage": None,
        "labels": cycles[-1]["labels"] if cycles else 0,
        "metric": None,
        "value": None,
    }
    if now is not None:
        row |= {"cycle": now[0], "stage": now[1]}
    if cycles:
        row |= {"metric": record.headline, "value": cycles[-1][record.headline]}
    return row


def _pass_row(record: PassRecord) -> dict[str, Any]:
    (state, silence), (images, of) = _state(record), record.images()
    stage = None if record.complete else "score"
    return {
        "run": record.folder.url,
        "state": state,
        "silent_seconds": silence,
        **dict.fromkeys(["cycle", "labels", "metric", "value"]),
        "stage": stage,
        "images": images,
        "of": of,
    }


def _state(record: Record | PassRecord) -> tuple[str, float | None]:
    """In one word, and for how many seconds a stale run has been silent."""
    if record.complete:
        return "complete", None
    age = record.heartbeat_age()
    if age is None:
        return "stopped", None
    return ("running", None) if age < STALE_SECONDS else ("stale", age)
