"""Tables as spreadsheets and scripts save them: whatever the delimiter, the line ends, the byte
order mark and the order of columns."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rayal.errors import UsageError, some
from rayal.labeling.exchange.base import Problem
from rayal.storage import csv_file

DELIMITERS = ",;\t|"
SEPARATOR = re.compile(r"sep=(.)(\r\n|\r|\n)", re.IGNORECASE)
"""First line in which Excel says the delimiter."""


class Row(NamedTuple):
    """A row that is not blank."""

    where: str
    cells: Mapping[str, str]
    """Name of a column, in small letters -> what stands there."""
    open: bool
    """Whether the file ends in it, without a line break: it may have been cut off there."""


class Table(NamedTuple):
    """The content of a file."""

    columns: Sequence[str]
    """In small letters, in the order of the file."""
    delimiter: str
    lines: Sequence[Sequence[str]]
    """All records after the header."""
    ended: bool
    """Whether the last line has a line break."""

    @property
    def rows(self) -> Iterator[Row | Problem]:
        """Its rows, or what is wrong with them; the header is row 1.

        Raises UsageError for a file that was cut off within a row.
        """
        for number, line in enumerate(self.lines, start=2):
            where = f"row {number}"
            if not any(cell.strip() for cell in line):
                continue
            is_open = not self.ended and number == len(self.lines) + 1
            if is_open and len(line) < len(self.columns):
                raise UsageError(
                    f"{where}, the last, has {len(line)} of {len(self.columns)} columns: the file"
                    " is cut off; save it again"
                )
            if any(cell.strip() for cell in line[len(self.columns) :]):
                yield Problem(
                    where,
                    f"has more cells than the {len(self.columns)} columns; put texts with"
                    f" {self.delimiter!r} into quotes",
                )
                continue
            cells = [*line, *[""] * (len(self.columns) - len(line))]  # Excel may drop empty ones
            yield Row(where, dict(zip(self.columns, cells, strict=False)), is_open)


def read_table(data: bytes, needed: Sequence[str]) -> Table:
    """The table in a file, which has these columns.

    Raises UsageError for what is none, or not whole.
    """
    text = decoded(data)
    said = SEPARATOR.match(text)
    text = text[said.end() :] if said else text
    found = [(each, _names(text, each)) for each in ([said[1]] if said else DELIMITERS)]
    delimiter, columns = max(found, key=lambda pair: len({*needed} & {*pair[1]}))
    if missing := [name for name in needed if name not in columns]:
        raise UsageError(
            f"the file has no column {', '.join(missing)}, its columns are {some(columns)}; save"
            " the table that was handed out"
        )
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise UsageError(f"the file has two columns {twice[0]}; leave out one of them")
    _, *lines = _lines(text, delimiter)
    return Table(columns, delimiter, lines, text.endswith(("\n", "\r")))


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 that says so."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the file is not UTF-8 (byte {error.start + 1} of {len(data)}); save it as CSV UTF-8"
        ) from error
    if "\0" in text:
        raise UsageError("the file holds null characters; save it as CSV UTF-8")
    return text


def written(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A table that every spreadsheet opens, and `read_table` reads: with commas, CRLF, and a byte
    order mark where something is not ASCII, by which Excel knows UTF-8."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(columns)
    table.writerows([csv_file.cell(each) for each in row] for row in rows)
    text = out.getvalue()
    return text.encode("utf-8" if text.isascii() else "utf-8-sig")


def plain(cell: str) -> str:
    """What a cell stands for: without the quote that `written` puts before a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] and cell[1] in csv_file.FORMULA else cell


def _names(text: str, delimiter: str) -> list[str]:
    """The columns that the header names; none where it cannot be read so."""
    try:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []
    return [name.strip().casefold() for name in header]


def _lines(text: str, delimiter: str) -> list[list[str]]:
    lines, found = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), []
    try:
        for line in lines:
            found.append(line)
    except csv.Error as error:
        raise UsageError(
            f"row {len(found) + 1} cannot be read ({error}), or the file is cut off there; save it"
            " again"
        ) from error
    return found
