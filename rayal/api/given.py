"""What functions of the API are given, looked at before anything else."""

import os
from collections.abc import Iterable
from pathlib import Path

from rayal.errors import UsageError, quoted
from rayal.experiment.experiment import Experiment


def check_experiment(x: object, call: str) -> None:
    """Raises UsageError where a function is called with something else."""
    if not isinstance(x, Experiment):
        raise UsageError(
            f"{call}() takes an experiment, got {quoted(x)}; use rayal.load(path) or"
            " rayal.Experiment"
        )


def path(given: object, what: str) -> str | Path:
    """A file, or a folder, or its URL. Raises UsageError where it is none."""
    if isinstance(given, str):
        return given
    if not isinstance(given, os.PathLike):
        raise UsageError(f"{what}: {quoted(given)} is no path; give a text or a pathlib.Path")
    return Path(given)


def assignments(given: Iterable[str]) -> list[str]:
    """What `set` says. Raises UsageError for a bare text, of which each letter would be one."""
    if isinstance(given, str):
        raise UsageError(f"set: {quoted(given)} is no list of assignments; write [{quoted(given)}]")
    return list(given)
