"""Where runs are: from their folders alone, whether they go on, have ended or have died."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.table import Table

from rayal.errors import Apart, RayalError, UsageError, counted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.pass_record import PassRecord
from rayal.runs.record import Record
from rayal.secrets import hidden
from rayal.storage.folder import Folder
from rayal.storage.journal import ended

Row = dict[str, Any]

STALE_SECONDS = 60.0
"""A driver refreshes its lock every few seconds; silent for this long, it is dead or paused. Of one
that ran on this machine it is seen at once."""


def status_rows(
    places: Iterable[str], plugins: Plugins = NO_PLUGINS, apart: Apart | None = None
) -> list[Row]:
    """A row for each run at or below these places (folder, state, cycle, stage, labels, headline
    metric), and for each pass of `rayal score` (folder, state, images).

    State is `waiting` (for people), `running`, `crashed`, `interrupted`, `stopped` (early, by its
    sweep), `complete`, or `damaged`; `message` says why. A place with neither, and what cannot be
    read, are errors that `apart` keeps; without it they are raised when all places were looked at.
    """
    if apart is None:
        apart = Apart()
        rows = status_rows(places, plugins, apart)
        apart.end()
        return rows
    rows = []
    for place in places:
        before = len(rows) + len(apart.errors)
        with apart.kept():
            folder = Folder(place)
            for record in Record.below(folder, plugins, apart):
                rows.append(_whole(_row, record, apart))
            for scoring in PassRecord.below(folder):
                rows.append(_whole(_pass_row, scoring, apart))
            if len(rows) + len(apart.errors) == before:
                raise UsageError(
                    f"{place}: no run folder is there or below; a run holds a run.json, a scoring"
                    " a score.yaml too"
                )
    return rows


def _whole(row: Callable[[Any], Row], record: Record | PassRecord, apart: Apart) -> Row:
    """The row of a record, or that it is damaged."""
    try:
        return row(record)
    except RayalError as error:
        apart.errors.append(error)
        empty = dict.fromkeys(["silent_seconds", "cycle", "stage", "labels", "metric", "value"])
        url = record.folder.url
        return {"run": url, "state": "damaged", "message": str(error), **empty}


def status_table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal of 80 columns: folders from `status_folder` on."""
    common = _common([row["run"] for row in rows])
    metrics = {row["metric"] for row in rows} - {None}
    metric = metrics.pop() if len(metrics) == 1 else "metric"
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("run", overflow="fold")
    for column in ("state", "cycle", "stage", "labels", metric):
        right = column in ("cycle", "labels", metric)
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        told = _of_pass(row) if "images" in row else _of_run(row, metric)
        table.add_row(_short(row["run"], common), row["state"], *told)
    return table


def status_folder(rows: Sequence[Row]) -> str:
    """The folder that all the runs are in."""
    common = _common([row["run"] for row in rows])
    return hidden(common if common.isprintable() else repr(common))


def status_notes(rows: Sequence[Row]) -> list[str]:
    """What more is known of runs that neither go on nor are whole: `run: state, why`."""
    common = _common([row["run"] for row in rows])
    told = [row for row in rows if row["message"] and row["state"] != "damaged"]
    return [f"{_short(row['run'], common)}: {row['state']}, {row['message']}" for row in told]


def _common(urls: Sequence[str]) -> str:
    """The folder that all of them are in; "" where there is none."""
    shared = []
    for parts in zip(*(url.split("/")[:-1] for url in urls), strict=False):
        if len({*parts}) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def _short(url: str, common: str) -> str:
    """A run's folder from the common one on."""
    text = url.removeprefix(common).lstrip("/")
    return hidden(text if text.isprintable() else repr(text))


def _of_run(row: Row, metric: str) -> list[str]:
    named = "" if metric == row["metric"] else f"{row['metric']} "
    value = "" if row["value"] is None else f"{named}{row['value']:.4f}"
    told = ("" if row[key] is None else str(row[key]) for key in ("cycle", "stage", "labels"))
    return [*told, value]


def _of_pass(row: Row) -> list[str]:
    return ["", row["stage"] or "", "", f"{row['images']:,} of {counted(row['of'], 'image')}"]


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


def _row(record: Record) -> Row:
    record.check()
    (state, silence, message), now, cycles = _state(record), record.stage_now(), record.cycles()
    if state != "complete" and (asked := record.request()) is not None:
        cycle, stage, request = asked  # whether the process that asked still lives is all the same
        now, state, silence, message = (cycle, stage), "waiting", None, str(request)
    row = {
        "run": record.folder.url,
        "state": state,
        "message": message,
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


def _pass_row(record: PassRecord) -> Row:
    record.folder.read_sealed("run.json", default=None)  # damaged, it would go on with nothing
    (state, silence, message), (images, of) = _state(record), record.images()
    stage = None if record.complete else "score"
    return {
        "run": record.folder.url,
        "state": state,
        "message": message,
        "silent_seconds": silence,
        **dict.fromkeys(["cycle", "labels", "metric", "value"]),
        "stage": stage,
        "images": images,
        "of": of,
    }


def _state(record: Record | PassRecord) -> tuple[str, float | None, str]:
    """In one word, for how many seconds a crashed run has been silent, and why."""
    if record.complete:
        return "complete", None, ""
    age = record.heartbeat_age()
    if age is None:
        how, why = ended(record.folder)
        return how, None, why
    if record.has_died():
        return "crashed", age, "its process is gone; the same command continues it"
    if age < STALE_SECONDS:
        return "running", None, ""
    return "crashed", age, f"silent for {age:.0f} s; the same command continues it"
