"""Whether a process that left its name lives: said only where this machine can know it."""

import os
from pathlib import Path

PROC = Path("/proc")
STATE, STARTED = 0, 19
"""Fields of a process's `stat` behind its name, which may hold spaces."""
DEAD = ("Z", "X")
"""States of what has ended and only waits for its parent to ask how."""


def this() -> str | None:
    """Where and when this process began: the boot of the kernel, the namespaces that its number
    and its times are of, and its start in ticks of that boot. None where the system does not tell.
    """
    try:
        if os.readlink(PROC / "self") != str(os.getpid()):  # the /proc of another namespace
            return None
        started = _stat(os.getpid())[STARTED]
        return f"{_here()} {started}"
    except (OSError, ValueError, IndexError):
        return None


def has_ended(pid: int, began: str | None) -> bool:
    """Whether the process that was `this` with this number is surely gone.

    False where it may live: on another machine, in another container, or before another boot, of
    which a number says nothing, and where nothing is known.
    """
    here, _, started = (began or "").rpartition(" ")
    try:
        if this() is None or here != _here():
            return False
        os.kill(pid, 0)
        fields = _stat(pid)
        return fields[STATE] in DEAD or fields[STARTED] != started  # its number has another one
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError):  # somebody else's, of which nothing is shown
        return False


def _here() -> str:
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    kinds = ("pid", "time")
    spaces = [os.readlink(p) for kind in kinds if (p := PROC / "self/ns" / kind).is_symlink()]
    if not spaces:
        raise ValueError("the system does not tell namespaces")
    return " ".join([boot, *spaces])


def _stat(pid: int) -> list[str]:
    """Raises OSError where it is not shown; ProcessLookupError alone says that it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except ProcessLookupError as error:  # went while it was read: the next look will tell
        raise OSError(str(error)) from error
