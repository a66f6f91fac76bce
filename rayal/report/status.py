"""Where runs are: from their folders alone, whether they go on, have ended or have died."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.table import Table

from rayal.data.tasks.base import FIT, is_tested, metric_of, untested_note
from rayal.errors import Apart, RayalError, UsageError, counted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.pass_record import PassRecord
from rayal.runs.record import Record
from rayal.runs.results import TUNED
from rayal.secrets import hidden
from rayal.storage.folder import Folder
from rayal.storage.journal import ended

Row = dict[str, Any]

CONTINUES = "the run's own command goes on"
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
        empty = dict.fromkeys(
            ["silent_seconds", "cycle", "stage", "labels", "metric", "value", "fine_tuned"]
        )
        url = record.folder.url
        return {"run": url, "state": "damaged", "message": str(error), **empty}


def status_table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal of 80 columns: folders from `status_folder` on."""
    common = _common([row["run"] for row in rows])
    metrics = {row["metric"] for row in rows} - {None}
    metric = metrics.pop() if len(metrics) == 1 else "metric"
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("run", overflow="fold")
    tuned = ["fine-tuned"] if any(row["fine_tuned"] is not None for row in rows) else []
    for column in ("state", "cycle", "stage", "labels", metric, *tuned):
        right = column not in ("state", "stage")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        told = _of_pass(row) if "images" in row else _of_run(row, metric)
        end = [_number(row["fine_tuned"])] if tuned else []
        table.add_row(_short(row["run"], common), row["state"], *told, *end)
    return table


def status_folder(rows: Sequence[Row]) -> str:
    """The folder that all the runs are in."""
    common = _common([row["run"] for row in rows])
    return hidden(common if common.isprintable() else repr(common))


def status_notes(rows: Sequence[Row]) -> list[str]:
    """What more is known of runs that neither go on nor are whole, or that a rule has ended: `run:
    state, why`; and what is shown of runs without test images."""
    common = _common([row["run"] for row in rows])
    metrics = dict.fromkeys(row["metric"] for row in rows if row["metric"] is not None)
    notes = [untested_note(each) for each in metrics if not is_tested(each)]
    told = [row for row in rows if row["message"] and row["state"] != "damaged"]
    of_runs = [f"{_short(row['run'], common)}: {_why(row)}" for row in told]
    return [*of_runs, *notes]


def _why(row: Row) -> str:
    """State and message, less what the message says again."""
    state, message = row["state"], row["message"]
    return str(message) if message.startswith(f"{state} ") else f"{state}, {message}"


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
    value = "" if row["value"] is None else f"{named}{_number(row['value'])}"
    told = ("" if row[key] is None else str(row[key]) for key in ("cycle", "stage", "labels"))
    return [*told, value]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _of_pass(row: Row) -> list[str]:
    return ["", row["stage"] or "", "", f"{row['images']:,} of {counted(row['of'], 'image')}"]


def cycle_table(record: Record) -> Table:
    """A run's cycles for a terminal: labels, the headline metric, seconds of the stages; without
    test images also how well each model fits its labels, and what the two say."""
    headline, shown = record.headline, [record.headline]
    table = Table(box=None, header_style="bold")
    if not record.tested:
        shown.append(f"{FIT}{metric_of(headline)}")
        table.caption, table.caption_justify = untested_note(headline), "left"
    columns = ("cycle", "labels", *shown, "train s", "score s", "select s")
    for column in columns:
        table.add_column(column, justify="right")
    if told := tuned_line(record):
        table.caption, table.caption_justify = told, "left"
    for row in record.cycles():
        seconds = (row[f"{stage}_seconds"] for stage in ("train", "score", "select"))
        table.add_row(
            str(row["cycle"]),
            str(row["labels"]),
            *("–" if row.get(each) is None else f"{row[each]:.4f}" for each in shown),
            *("" if value is None else f"{value:.1f}" for value in seconds),
        )
    return table


def tuned_line(record: Record) -> str:
    """What the network reached that was trained last after a run's cycles; nothing where none
    was."""
    if not (found := record.fine_tuned()):
        return ""
    (_, tuned), headline = max(found.items()), record.headline
    reached = _number(tuned.metrics.get(headline))
    return f"fine-tuned: {counted(tuned.labels, 'label')}, {headline} {reached}"


def _row(record: Record) -> Row:
    record.check()
    (state, silence, message), now, cycles = _state(record), record.stage_now(), record.cycles()
    if state != "complete" and (asked := _waits_for(record, state)) is not None:
        cycle, stage, message = asked  # whether the process that asked still lives is all the same
        now, state, silence = (cycle, stage), "waiting", None
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
        "fine_tuned": None,
    }
    if now is not None:
        row |= {"cycle": now[0], "stage": now[1]}
    if cycles:
        headline, last = record.headline, cycles[-1]
        row |= {"metric": headline, "value": last.get(headline)}
        row["fine_tuned"] = last.get(f"{TUNED}{headline}")
    return row


def _waits_for(record: Record, state: str) -> tuple[int, str, str] | None:
    """Cycle, stage, and the labels of people that are waited for; or that they are all there."""
    asked = record.request()
    if asked is None:
        return None
    cycle, stage, request = asked
    if request.needed is not None and request.enough and state != "running":
        of = len(request.asked or ())
        there = f"{of - len(request.waiting):,} of {counted(of, 'label')} in"
        return cycle, stage, f"{there}: {CONTINUES}"
    return (cycle, stage, str(request)) if request.waiting else None


def _pass_row(record: PassRecord) -> Row:
    record.folder.read_sealed("run.json", default=None)  # damaged, it would go on with nothing
    (state, silence, message), (images, of) = _state(record), record.images()
    stage = None if record.complete else "score"
    return {
        "run": record.folder.url,
        "state": state,
        "message": message,
        "silent_seconds": silence,
        **dict.fromkeys(["cycle", "labels", "metric", "value", "fine_tuned"]),
        "stage": stage,
        "images": images,
        "of": of,
    }


def _state(record: Record | PassRecord) -> tuple[str, float | None, str]:
    """In one word, for how many seconds a crashed run has been silent, and why."""
    if record.complete:
        stopped = record.stopped if isinstance(record, Record) else None
        return "complete", None, "" if stopped is None else f"ended by {stopped}"
    age = record.heartbeat_age()
    if age is None:
        how, why = ended(record.folder)
        return how, None, why
    if record.has_died():
        return "crashed", age, "its process is gone; the same command continues it"
    if age < STALE_SECONDS:
        return "running", None, ""
    return "crashed", age, f"silent for {age:.0f} s; the same command continues it"
