"""The files of a run folder that are for people: rewritten from the finished stages, never read."""

import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from rayal.errors import StorageError
from rayal.report.at_end import page_of
from rayal.report.page.command import PAGE
from rayal.runs.events import Event
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage import csv_file

CURVES, DOCUMENT = "rayal.report.curves", "rayal.report.page.document"
"""What draws, and what writes the page."""

logger = logging.getLogger(__name__)


class Views:
    """Keeps `metrics.jsonl`, `curve.csv` and `curve.png` up to date: a row, and a point, for each
    evaluated cycle; and writes `report.html` at the end.

    Drawing takes longer than a small cycle: the curve, table and picture, is written at most every
    so many seconds while the run goes on, and by `finish`.
    """

    def __init__(self, record: Record, every: float = 10.0) -> None:
        self.record, self.every, self.drawn = record, every, time.monotonic()
        self.imported: threading.Thread | None = None
        self.news = False  # whether a stage has ended, which a page written before does not show

    def on(self, event: Event) -> None:
        """A cycle that has been evaluated is shown."""
        if self.imported is None:  # with all that draws it takes a second: while a model trains
            modules = [CURVES] if self._is_trial else [CURVES, DOCUMENT]
            self.imported = threading.Thread(target=_import, args=[modules], daemon=True)
            self.imported.start()
        self.news |= event.result is not None
        if isinstance(event.result, Evaluated):
            self._write(time.monotonic() >= self.drawn + self.every)

    def finish(self, page: bool = True) -> None:
        """Shows all that there is, unless it is shown already; with a `page`, but for a trial of a
        sweep, which has one of its own."""
        if not self._is_current():
            self._write(True)
        if page and not self._is_trial and self.record.begun():
            self._write_page()

    @property
    def _is_trial(self) -> bool:
        """Whether it belongs to a sweep, whose page shows it."""
        return self.record.sweep is not None

    def _write_page(self) -> None:
        try:
            there = self.record.folder.exists(PAGE) and not self.news
            if not there and (data := page_of([self.record])) is not None:
                self.record.folder.write(PAGE, data)
        except StorageError as error:
            logger.warning("the page of %s is not written: %s", self.record.folder.url, error)

    def _write(self, draw: bool) -> None:
        try:
            write_metrics(self.record)
            if draw:
                draw_curve(self.record)
                self.drawn = time.monotonic()
        except Exception as error:  # the run does not depend on its pictures
            logger.warning("the curve of %s is not drawn: %s", self.record.folder.url, error)

    def _is_current(self) -> bool:
        """Whether the last curve that was drawn has all points: its table is written after it."""
        try:
            return self.record.folder.read("curve.csv") == _table(self.record)
        except StorageError:
            return False


def _import(modules: Sequence[str]) -> None:
    with suppress(Exception):  # who draws is told of it
        for module in modules:
            import_module(module)


def write_metrics(record: Record) -> None:
    """`metrics.jsonl`: a row for each evaluated cycle."""
    lines = "".join(json.dumps(row) + "\n" for row in record.cycles())
    record.folder.write("metrics.jsonl", lines.encode())


def draw_curve(record: Record) -> None:
    """`curve.png`, and then its numbers, `curve.csv`."""
    record.folder.write("curve.png", draw_run(record))
    record.folder.write("curve.csv", _table(record))


def draw_run(record: Record) -> bytes:
    """The picture, as PNG."""
    picture: bytes = import_module(CURVES).draw_run(record)
    return picture


def _table(record: Record) -> bytes:
    return csv_file.dump_records(record.cycles()).encode()
