"""A table that a user gives: `.csv`, `.parquet` or `.jsonl`, whole or refused, column by column.

A `.csv` is UTF-8 with commas and a header, its cells are texts, so that 0017 stays what it is. A
byte order mark and Windows line ends are no part of a value. A `.jsonl` has an object in each line;
a key that it lacks is null.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.errors import DataError, UsageError, counted, quoted
from rayal.storage import csv_file
from rayal.storage.columns import as_text, held, plain
from rayal.storage.folder import Folder
from rayal.storage.whole_json import parsed

SHOWN = 10
"""Problems of one table that a message lists."""
OTHERS = (";", "\t", "|")
"""What else separates the cells of a table; never read as such."""


class UserTable:
    """The columns of a file, each read when it is asked for."""

    def __init__(
        self,
        location: str,
        names: Sequence[str],
        numbers: Sequence[int],
        read: Callable[[str], pa.ChunkedArray],
    ) -> None:
        self.location, self.names = location, names
        self.name = location.rpartition("/")[2]
        self.numbers = numbers
        """Of each row: of a .csv as spreadsheets count, with the header; of a .jsonl its line; of a
        .parquet from 0."""
        self._read = read

    def column(self, name: str) -> pa.ChunkedArray:
        """Its values, as `columns.held` has them; DataError where they are of no one kind."""
        return held(self._read(name))

    def texts(self, name: str) -> list[str]:
        """A column of texts or whole numbers, in digits; DataError where it is another, or a value
        is missing."""
        column = self.column(name)
        if plain(column.type) not in (pa.string(), pa.int64()):
            raise DataError(
                f"{self.location}: the {name}s are {column.type}; write them as strings or whole"
                " numbers"
            )
        values: list[str | None] = as_text(column).to_pylist()
        if empty := sum(not value for value in values):
            raise DataError(f"{self.location}: {counted(empty, 'row has', 'rows have')} no {name}")
        return [str(value) for value in values]


def open_table(location: str) -> UserTable:
    """The table in a file, by absolute path or URL.

    Raises DataError for what is none, StorageError for a file that cannot be read.
    """
    folder, _, name = location.rpartition("/")
    data = Folder(folder or "/").read(name)
    kind = name.rpartition(".")[2].lower()
    try:
        return {"csv": _csv, "jsonl": _jsonl}.get(kind, _parquet)(location, data)
    except DataError:
        raise
    except (ValueError, OSError, pa.ArrowException) as error:  # UnicodeError is a ValueError
        if isinstance(error, UnicodeError) or "UTF8" in str(error):
            raise DataError(f"{location} is not in UTF-8; save it as UTF-8") from error
        raise DataError(f"{location} cannot be read as .{kind}: {quoted(str(error))}") from error


def check(location: str, problems: Sequence[str]) -> None:
    """Raises DataError with these problems of a file, all at once, if there are any."""
    if not problems:
        return
    more = len(problems) - SHOWN
    lines = [*problems[:SHOWN], *([f"and {more} more"] if more > 0 else [])]
    if len(lines) > 1:
        told = f"{counted(len(problems), 'problem')} in {location}, none of it is used"
        lines = [told, *lines]
    raise DataError("\n  ".join(lines))


def _csv(location: str, data: bytes) -> UserTable:
    table = csv_file.parse(data)
    names = table.schema.names
    apart = next((sign for sign in OTHERS if len(names) == 1 and sign in names[0]), None)
    if apart is not None:
        raise DataError(
            f"{location}: its cells are separated by {quoted(apart)}; save it with commas"
        )
    return UserTable(location, names, range(2, len(table) + 2), table.column)


def _parquet(location: str, data: bytes) -> UserTable:
    file = pq.ParquetFile(pa.BufferReader(data))

    def read(name: str) -> pa.ChunkedArray:
        try:
            return file.read(columns=[name]).column(name)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{location} cannot be read as .parquet: {quoted(str(error))}"
            ) from error

    return UserTable(location, file.schema_arrow.names, range(file.metadata.num_rows), read)


def _jsonl(location: str, data: bytes) -> UserTable:
    rows, numbers = list[dict[str, Any]](), list[int]()
    # Not splitlines(): U+2028 and its like may stand inside of a text.
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parsed(line, f"line {number}")
        except UsageError as error:
            raise DataError(f"{location}: {error}") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{location}: line {number} is {quoted(row)}, no object; write one in each line"
            )
        rows.append(row)
        numbers.append(number)

    def read(name: str) -> pa.ChunkedArray:
        values = [row.get(name) for row in rows]
        try:
            return pa.chunked_array([values])
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise DataError(
                f"{location}: {quoted(name)} is not of one kind in all lines; write texts, or whole"
                " numbers"
            ) from error

    names = [*dict.fromkeys(name for row in rows for name in row)]
    return UserTable(location, names, numbers, read)
