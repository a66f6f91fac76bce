"""What the command line prints: lines, tables, JSON, and log records as lines."""

import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from rayal.secrets import hidden

quiet = False
"""Whether only results, warnings and errors are printed: `-q`."""
NARROWEST = 80  # columns that a table to be fitted may take in any case


def note(text: str) -> None:
    """A line for the user, apart from the output; with `-q` only what begins with `rayal:`."""
    if not quiet or text.startswith("rayal:"):
        print(visible(text), file=sys.stderr)


def visible(text: str) -> str:
    """The text without secrets, and with the control characters, that a name may hold, escaped."""
    text = hidden(text)
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def print_table(renderable: Any, *, fit: bool = False) -> None:
    """Tables are never cut: where a terminal is narrow, it wraps their lines itself, or, with
    `fit`, the table those of its columns that may be folded."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(highlight=False, markup=False, emoji=False)
    if fit:
        console.width = max(console.width, NARROWEST)
        return console.print(renderable)
    wide = console.options.update(max_width=sys.maxsize)
    console.width = max(console.width, Measurement.get(console, wide, renderable).maximum)
    console.print(renderable)


def show_tracker(tracker: Any, record: Any) -> None:
    """How to see the charts of a run and of those beside it."""
    where, link = tracker.address(), tracker.link(record)
    if where is not None and where not in (link or ""):  # a command: the charts are there after it
        print(visible(f"MLflow  {where}"))
    if link is not None:
        print(visible(f"charts  {link}"))


def print_json(value: Any) -> None:
    import json

    print(json.dumps(_without_secrets(value), indent=1))


def _without_secrets(value: Any) -> Any:
    """The value with its texts as `hidden` shows them: within JSON a quote is two signs."""
    match value:
        case str():
            return hidden(value)
        case Mapping():
            return {_without_secrets(key): _without_secrets(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_secrets(item) for item in value]
    return value


class Lines(logging.Handler):
    """A line per record, on what is stderr at the time: a progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "rayal: warning: " if record.levelno >= logging.WARNING else ""
        note(kind + " ".join(record.getMessage().split()))
        if record.exc_info:
            note("".join(traceback.format_exception(record.exc_info[1])))
