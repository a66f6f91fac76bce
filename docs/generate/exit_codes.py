"""The page of exit codes, from the errors that end a command."""

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
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.RayalError):
            if error is not errors.RayalError:
                what = escaped(cleandoc(error.__doc__ or ""))
                found.append((str(error.exit_code), f"`{error.__name__}`", what))
    return sorted(found, key=lambda row: int(row[0]))
