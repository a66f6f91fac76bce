"""Packages of which rayal needs a part, imported where that part is used."""

from importlib import import_module
from typing import Any

from rayal.errors import UsageError


def needed(package: str) -> Any:
    """The package; raises UsageError with the command that installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(f"model {package!r} needs a package: pip install {package}") from error
