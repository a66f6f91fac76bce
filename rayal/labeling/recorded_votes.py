"""Votes that annotators gave once, read from a file: long, a row for each vote, or wide, a row for
each unit with a column for each annotator."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.source import row_id
from rayal.errors import DataError, UsageError, quoted
from rayal.labeling.label_value import class_index
from rayal.labeling.votes import Vote
from rayal.settings import Settings
from rayal.storage import csv_file
from rayal.storage.columns import held
from rayal.storage.folder import Folder

KINDS = ".parquet or .csv"


class Columns(Settings):
    """Where a file has what."""

    id: str = "id"
    """Column of the units' ids; whole numbers are row numbers, as in the dataset `parquet`: 12 is
    train-00012."""
    label: str = "label"
    """Column of class names or indices, where each vote has a row; nothing in it is a skip."""
    annotator: str | None = "annotator"
    """Column that says who voted; null: nobody knows."""
    seconds: str | None = None
    """Column of the time that a vote took (seconds); null: nobody measured."""
    annotators: tuple[str, ...] = ()
    """Columns of class names or class indices, one for each annotator, where each unit has a row;
    nothing in it is no vote. Empty: each vote has a row."""

    def wanted(self) -> list[str]:
        """The columns that the file must have."""
        if self.annotators:
            return [self.id, *self.annotators]
        return [self.id, self.label, *(c for c in (self.annotator, self.seconds) if c is not None)]


def recorded_votes(file: str, columns: Columns, classes: tuple[str, ...]) -> dict[str, list[Vote]]:
    """Unit -> its votes: of a long file in the order of rows, of a wide one in that of
    `annotators`.

    Raises DataError with the first row that is wrong.
    """
    table = _table(file, columns.wanted())
    rows = _wide(table, columns) if columns.annotators else _long(table, columns)
    found = dict[str, list[Vote]]()
    labels: dict[object, int | None] = {None: None}
    for unit, label, annotator, seconds in rows:
        if label not in labels:
            labels[label] = _class(file, unit, label, classes)
        vote = Vote(unit, labels[label], annotator, seconds)
        found.setdefault(unit, []).append(vote)
    return found


Row = tuple[str, object, str, float | None]
"""Unit, label, annotator, seconds."""


def _long(table: pa.Table, columns: Columns) -> Iterator[Row]:
    nobody, unknown = [""] * len(table), [None] * len(table)
    who = nobody if columns.annotator is None else table[columns.annotator].to_pylist()
    took = unknown if columns.seconds is None else table[columns.seconds].to_pylist()
    labels = table[columns.label].to_pylist()
    for unit, label, annotator, seconds in zip(
        _units(table[columns.id]), labels, who, took, strict=True
    ):
        named = "" if annotator is None else str(annotator)
        yield unit, _plain(label), named, None if seconds in (None, "") else float(seconds)


def _wide(table: pa.Table, columns: Columns) -> Iterator[Row]:
    each = [table[name].to_pylist() for name in columns.annotators]
    for unit, *labels in zip(_units(table[columns.id]), *each, strict=True):
        for annotator, label in zip(columns.annotators, labels, strict=True):
            if (label := _plain(label)) is not None:
                yield unit, label, annotator, None


def _plain(label: object) -> object:
    """A label as CSV or Parquet has it: a number as a number, nothing as None."""
    if isinstance(label, str):
        if not label:
            return None
        return int(label) if label.isdecimal() and str(int(label)) == label else label
    return label


def _units(ids: pa.ChunkedArray) -> list[str]:
    numbers = pa.types.is_integer(ids.type)
    return [row_id("train", each) if numbers else str(each) for each in ids.to_pylist()]


def _class(file: str, unit: str, label: object, classes: tuple[str, ...]) -> int:
    try:
        return class_index(str(label) if str(label) in classes else label, classes)
    except UsageError as error:
        raise DataError(f"{file}: {quoted(unit)}: {error}") from error


def _table(file: str, wanted: Sequence[str]) -> pa.Table:
    path = file if "://" in file else os.path.abspath(os.path.expanduser(file))
    folder, _, name = path.rpartition("/")
    kind = Path(name).suffix.lower()
    if kind not in (".parquet", ".csv"):
        raise DataError(f"{file} is no {KINDS} file; give the votes in one of these")
    data = Folder(folder or "/").read(name)
    try:
        if kind == ".csv":
            table = csv_file.parse(data)
        else:
            table = pq.ParquetFile(pa.BufferReader(data)).read()
            table = pa.table([held(c) for c in table.columns], names=table.schema.names)
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read as {kind}: {error}") from error
    if missing := [name for name in wanted if table.schema.names.count(name) != 1]:
        raise DataError(
            f"{file} has no column {quoted(missing[0])}, or several; it has"
            f" {', '.join(table.schema.names)}: name those of the votes in oracle.columns"
        )
    return table.select(list(dict.fromkeys(wanted)))
