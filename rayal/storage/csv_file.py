"""Tables for people, as .csv that shows ids and messages as they are and computes nothing."""

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA = "-+=@'\t\r"
"""What a spreadsheet may take for the start of a formula, and the apostrophe that stops it; the
minus first, so that it makes no range in a pattern."""


def table(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> bytes:
    """The rows in UTF-8; null is an empty cell, and an apostrophe is put before a text that a
    spreadsheet might take for a formula or that begins with one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # or a \r in an id is not quoted
    writer.writerow(header)
    writer.writerows([_escaped(c) if isinstance(c, str) else c for c in row] for row in rows)
    return text.getvalue().encode()


def _escaped(cell: str) -> str:
    return f"'{cell}" if cell.startswith(tuple(FORMULA)) else cell
