"""Tables as .csv: they show ids and messages as they are, and a spreadsheet computes nothing.

A text that begins as a formula does is disarmed by an apostrophe before it, and so is one that
begins with an apostrophe; a number never is. `parse` takes away what `dump` put there.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa  # slow to import, and whoever only writes does not need it

FORMULA = "-+=@'\t\r\n"
"""What a spreadsheet may take for the start of a formula, and the apostrophe that stops it; the
minus first, so that it makes no range in a pattern."""
ARMED = rf"\A([-+=@\t\r\n]|'([^{FORMULA}]|\z))"
"""How a text that `dump` wrote never begins."""
NUMBER = r"\A[-+]([0-9.]+(e[-+]?[0-9]+)?|inf)\z"
"""A number with a sign, which `dump` leaves as it is."""


def dump(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """The rows under their header; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # or a \r in an id is not quoted
    writer.writerow(map(cell, header))
    writer.writerows(map(cell, row) for row in rows)
    return text.getvalue()


def dump_records(records: Sequence[Mapping[str, Any]]) -> str:
    """As `dump`, of rows by column; the columns are those of the first row."""
    header = list(records[0]) if records else []
    assert all(record.keys() <= set(header) for record in records)
    return dump(header, ([record.get(name) for name in header] for record in records))


def parse(data: bytes) -> "pa.Table":
    """The columns, all of strings: an id such as 0017 stays what it is.

    Where a text of a column begins as no text of `dump` does, somebody else wrote the column, and
    it stays as it is; so do the names of the columns. Raises pyarrow's ArrowException or ValueError
    for what is no table.
    """
    import pyarrow as pa
    import pyarrow.csv

    data = data.removeprefix(b"\xef\xbb\xbf")
    text = pa.csv.ParseOptions(newlines_in_values=True)
    header = pa.csv.open_csv(pa.BufferReader(data), parse_options=text).schema.names
    kinds = pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
    table = pa.csv.read_csv(pa.BufferReader(data), parse_options=text, convert_options=kinds)
    names = _armed_again(pa.chunked_array([header], pa.string())).to_pylist()
    return pa.table([_armed_again(column) for column in table.columns], names=names)


def cell(value: object) -> object:
    """A value as `dump` writes it."""
    if value is None or isinstance(value, Number):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(tuple(FORMULA)) else text


def _armed_again(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    armed = pc.match_substring_regex(column, ARMED)
    number = pc.match_substring_regex(column, NUMBER)
    if pc.any(pc.and_not(armed, number)).as_py():
        return column
    return pc.replace_substring_regex(column, rf"\A'([{FORMULA}])", r"\1")
