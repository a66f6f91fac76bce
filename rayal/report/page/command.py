"""What a page is called, and what writes it."""

import shlex
from collections.abc import Sequence

from rayal.runs.record import Record

PAGE = "report.html"
"""Its name in the folder of a run or a sweep too."""


def command(records: Sequence[Record]) -> str:
    """What writes the page of these runs, as a shell takes it."""
    places = dict.fromkeys(record.sweep or record.folder.url for record in records)
    return shlex.join(["rayal", "report", *places, "--html", PAGE])
