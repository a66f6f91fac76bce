"""The errors a user can meet: each says the thing, the value and the way out; the exit codes."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

LONGEST = 80
"""Characters of a value in a message."""
FEW = 5
"""Values in a list of a message."""
OUT = "--out (in Python: out=)"
BREAK_LOCK = "--break-lock (in Python: break_lock=True)"
"""What messages call these options, which are met on a terminal and in Python."""


def quoted(value: object) -> str:
    """A value for a message, as Python writes it, at most LONGEST characters and dots.

    Control characters are escaped, and all signs of a text that is not in the usual Unicode form:
    it would look like another one.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # NumPy would write np.int64(3)
    if not isinstance(value, str):
        return cut(repr(value))
    text = value[:LONGEST]
    shown = repr(text) if unicodedata.is_normalized("NFC", text) else ascii(text)
    return shown + "..." * (len(value) > LONGEST)


def cut(text: str) -> str:
    """A text for a message, at most LONGEST characters and dots."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def some(values: Collection[object]) -> str:
    """The first few values for a message, and how many more there are."""
    first, more = [*values][:FEW], len(values) - FEW
    return ", ".join(map(quoted, first)) + (f" and {more} more" if more > 0 else "")


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 file`, `2,000 files`; `many` is the plural where it is not `one`
    and an s: `counted(2, "entry", "entries")`, or has a verb: `counted(1, "id is", "ids are")`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


class RayalError(Exception):
    """Base of every error that ends a command with one line instead of a traceback."""

    exit_code = 1
    problems: Sequence["RayalError"] = ()
    """The errors that it tells of together, where there are several; see `Apart`."""


class UsageError(RayalError, ValueError):
    """The command or the configuration is wrong."""

    exit_code = 2

    @classmethod
    def of(cls, problems: Sequence[str], where: str) -> Self:
        """Several problems as one error; a single one needs no heading."""
        heading = [] if len(problems) == 1 else [f"{len(problems)} problems in {where}"]
        return cls("\n  ".join([*heading, *problems]))


class DataError(RayalError, ValueError):
    """The pool, the labels or the scores cannot be used."""

    exit_code = 3


class StorageError(RayalError, OSError):
    """Files cannot be read or written, or are damaged; also tracking that was required."""

    exit_code = 4


class LostError(StorageError):
    """A file is damaged or not there: what made it can be done again. Of a file that cannot be read
    at this moment that would be bad advice."""


class PrunedError(StorageError):
    """A file was removed on purpose, by `keep` or `rayal prune`: nothing is damaged."""


class ClusterError(RayalError, RuntimeError):
    """Ray cannot be reached, lacks the resources asked for, or lost the work too often."""

    exit_code = 5


class LockedError(RayalError, RuntimeError):
    """Another process writes this run, or the run belongs to a different experiment."""

    exit_code = 6


class LabelsPending(RayalError):
    """The oracle waits for people; the same command continues when the labels are there."""

    exit_code = 0


class Apart:
    """The errors of a loop over many things, of which a bad one must not hide the others."""

    def __init__(self, errors: Iterable[RayalError] = ()) -> None:
        self.errors = list(errors)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """One thing of the loop: its error waits for `end`."""
        try:
            yield
        except RayalError as error:
            self.errors += error.problems or [error]

    def end(self) -> None:
        """Raises what went wrong, if anything did, when all others are done; of errors of several
        kinds a StorageError."""
        if not self.errors:
            return
        if len(self.errors) == 1:
            raise self.errors[0]
        kinds = {type(error) for error in self.errors}
        kind = kinds.pop() if len(kinds) == 1 else StorageError
        lines = [f"{len(self.errors)} problems, all else is done", *map(str, self.errors)]
        error = kind("\n  ".join(lines))
        error.problems = tuple(self.errors)
        raise error
