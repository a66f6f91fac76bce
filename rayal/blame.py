"""Whose fault an exception is: what a user's own part raises is told in one line.

Parts outside rayal may raise anything anywhere: at import, while they are built, on a worker. Their
frames in the traceback say so; a mistake of rayal's own keeps its traceback.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from traceback import walk_tb

from rayal.errors import OUT, RayalError, UsageError

LONGEST = 300  # characters of a message
BATCHES = "compute.score_batch (of `rayal score`: batch)"
"""Like all that decides memory it is kept by what was begun: lowering it needs another --out."""


def told(error: BaseException, inside: str = "") -> str:
    """`KeyError: 'x'`, or `KeyError in select: 'x'`: an exception in one line."""
    name = f"{type(error).__name__} in {inside}" if inside else type(error).__name__
    text = " ".join(str(error).split())
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{name}: {shown}" if shown else name


def place(error: BaseException, packages: Iterable[str]) -> tuple[str, str] | None:
    """The innermost module of these packages that an exception came through, and `file:line` in it;
    None where it came through none."""
    allowed, found = {*packages}, None
    for frame, line in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module.split(".", 1)[0] in allowed:
            found = module, f"{frame.f_code.co_filename}:{line}"
    return found


def located(error: BaseException, inside: str = "") -> str:
    """As `told`, with the line of a part outside rayal that it came from, if any."""
    found = place(error, _foreign_packages())
    return f"{told(error, inside)} ({found[1]})" if found else told(error, inside)


def plugin_fault(error: BaseException) -> UsageError | None:
    """An exception that a part outside rayal raised, as an error of the user's; None for others."""
    if isinstance(error, RayalError):
        return None
    found = place(error, _foreign_packages())
    if found is None:
        return None
    module, where = found
    return UsageError(f"plugin {module!r} raised {told(error)} ({where}); mend it there")


def memory_fault(error: BaseException) -> UsageError | None:
    """More memory asked for than there is, as an error of the user's; None for other exceptions."""
    if isinstance(error, RayalError):
        return None
    of_gpu = getattr(sys.modules.get("torch"), "OutOfMemoryError", ())  # not light to import
    if isinstance(error, of_gpu):
        return UsageError(
            f"the GPU is out of memory; lower {BATCHES}, or scheme.batch_size where it trains, and"
            f" use another {OUT}"
        )
    if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):
        return None
    return UsageError(
        f"there is not enough memory ({told(error)}); lower what decides it, and use another {OUT}:"
        " the model's size, scheme.batch_size, compute.score_batch, compute.shard_rows or the"
        " images' size"
    )


def users_fault(error: BaseException) -> UsageError | None:
    """An exception that a user can do something about, as an error; None for rayal's mistakes.

    Memory first: where it ends in a plugin's line, the batch is too large and not the line wrong.
    """
    return memory_fault(error) or plugin_fault(error)


@contextmanager
def plugin_faults() -> Iterator[None]:
    """What a part outside rayal raises in the block, as UsageError; all else unchanged."""
    try:
        yield
    except Exception as error:
        if (fault := users_fault(error)) is not None:
            raise fault from error
        raise


def _foreign_packages() -> set[str]:
    """Packages outside rayal that have defined parts in this process."""
    parts = sys.modules.get("rayal.parts")  # not there: no part is, and it is not light
    waiting, found = [parts.Component] if parts else [], set[str]()
    for part in waiting:  # grows
        waiting += part.__subclasses__()
        found.add(part.__module__.split(".", 1)[0])
    return found - {"rayal"}
