"""The page of exit codes, from the errors that end a command."""

from collections.abc import Iterator
from inspect import cleandoc

from prose import escaped, page, table

from rayal import errors
from rayal.cli.work import INTERRUPTED


def exit_codes() -> str:
    """Each code, its errors, and what they mean."""
    return page(
        "# Exit codes",
        "Every command ends with one of these codes. An error is one line on the error stream: the"
        " thing, its value, and what to do; `--debug` adds the traceback.",
        table(("code", "error", "what it means"), list(_rows())),
        "The same errors are classes of Python, see [Python API](python.md).",
    )


def _rows() -> list[tuple[str, ...]]:
    found = [
        ("0", "", "Done."),
        ("1", "", "A mistake of rayal's own, with its traceback: please report it."),
        (str(INTERRUPTED), "", "Interrupted; the same command goes on."),
    ]
    for error in _below(errors.RayalError):
        what = escaped(cleandoc(error.__doc__ or ""))
        found.append((str(error.exit_code), f"`{error.__name__}`", what))
    return sorted(found, key=lambda row: int(row[0]))


def _below(error: type[errors.RayalError]) -> Iterator[type[errors.RayalError]]:
    """The errors of `rayal.errors` that are kinds of this one."""
    for kind in error.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from _below(kind)
