"""A user's table of labels: `.csv` or `.parquet` with a label for each id, read and never guessed.

Columns `id` and `label`; in place of `id` also `path`, `file_name`, `uri` or, as rayal itself calls
it, `rayal_id`. Labels of a `.csv` are names of classes. In a `.parquet` ids may be whole numbers
too, and labels indices of classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from rayal.data import table as user_table
from rayal.data.table import UserTable, open_table
from rayal.errors import DataError, quoted, some
from rayal.parts import suggest
from rayal.storage.columns import is_text, plain

IDS = ("id", "path", "file_name", "uri", "rayal_id")
"""What the column of ids may be called."""
LABEL = "label"


class Row(NamedTuple):
    """One label, as it is written."""

    place: str
    """`labels.csv row 2 ('a.jpg')`: of a .csv as spreadsheets count, with the header; of a .parquet
    from 0."""
    id: str
    label: str | int | None


class Table(NamedTuple):
    """A file of them."""

    location: str
    rows: list[Row]

    def check(self, problems: Sequence[str]) -> None:
        """Raises DataError with these problems, all at once, if there are any."""
        user_table.check(self.location, problems)

    def classes(self) -> list[str]:
        """The names that occur, sorted; DataError where classes are only numbers."""
        if any(isinstance(row.label, int) for row in self.rows):
            raise DataError(
                f"{self.location}: its labels are numbers, of which nobody tells the classes; set"
                " dataset.classes to the names of all classes in the order of their numbers"
            )
        return sorted({str(row.label) for row in self.rows if row.label})

    def problems(self, classes: Sequence[str]) -> list[str]:
        """Labels that are none of these classes, and ids with two different labels."""
        found = [said for row in self.rows if (said := _wrong(row, classes))]
        labels: dict[str, Row] = {}
        for row in self.rows:
            first = labels.setdefault(row.id, row)
            if first.label != row.label:
                found.append(
                    f"{row.place}: labeled {quoted(row.label)} here and {quoted(first.label)} in"
                    f" {first.place}; leave one of them"
                )
        return found

    def indices(self, classes: Sequence[str]) -> dict[str, int]:
        """Id -> class index, in the order of the rows; after `problems` found none."""
        index = {name: number for number, name in enumerate(classes)}
        return {
            row.id: index[row.label] if isinstance(row.label, str) else int(row.label or 0)
            for row in self.rows
        }


def read_table(location: str) -> Table:
    """The labels in a file, by absolute path or URL.

    Raises DataError for a file of another form, StorageError for one that cannot be read.
    """
    kind = location.rpartition(".")[2].lower()
    if kind not in ("csv", "parquet"):
        raise DataError(f"{location} is no .csv or .parquet file; give the labels in one of these")
    table = open_table(location)
    found = rows_of(table, _column_of_ids(table), LABEL)
    if not found.rows:
        raise DataError(f"{location} holds no label; add some, or leave the file out")
    return found


def rows_of(table: UserTable, ids: str, label: str | None) -> Table:
    """The labels of a table, by the names of these columns; without one of labels all are None.

    Raises DataError where a column is of a kind that ids or labels cannot have.
    """
    units = table.texts(ids)
    labels = [None] * len(units) if label is None else _labels(table, label)
    rows = [
        Row(f"{table.name} row {number} ({quoted(unit)})", unit, said)
        for number, unit, said in zip(table.numbers, units, labels, strict=True)
    ]
    return Table(table.location, rows)


def is_table(name: str) -> bool:
    """Whether a name is that of such a file."""
    return name.lower().endswith((".csv", ".parquet"))


def _wrong(row: Row, classes: Sequence[str]) -> str | None:
    label = row.label
    if label is None or label == "":
        return f"{row.place}: has no label; give it one, or leave the row out"
    if isinstance(label, str):
        if label in classes:
            return None
        return f"{row.place}: class {quoted(label)} is not in the list; {suggest(label, classes)}"
    if not 0 <= label < len(classes):
        return (
            f"{row.place}: {label} is no class index; give one of 0 to {len(classes) - 1}, or the"
            " class's name"
        )
    if str(label) in classes and classes[label] != str(label):
        return (
            f"{row.place}: {label} is the index of class {quoted(classes[label])} and the name of"
            " another; write names, as text"
        )
    return None


def _column_of_ids(table: UserTable) -> str:
    names = [*table.names]
    there = [name for name in IDS if name in names]
    if len(there) != 1 or names.count(there[0]) > 1 or names.count(LABEL) != 1:
        raise DataError(
            f"{table.location} has the columns {some(names)}; give it one of {', '.join(IDS)}, and"
            f" {LABEL!r}"
        )
    return there[0]


def _labels(table: UserTable, name: str) -> Sequence[str | int | None]:
    column = table.column(name)
    kind = column.type
    if not is_text(kind) and plain(kind) != pa.int64() and not pa.types.is_null(kind):
        raise DataError(
            f"{table.location}: the labels are {kind}; write class names, or indices as int64"
        )
    labels: list[str | int | None] = column.to_pylist()
    return labels
