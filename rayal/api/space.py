"""What a sweep varies, written in Python, as a file has it."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from rayal.errors import UsageError, quoted
from rayal.experiment.sweep.space import GRID, KeyPath, function
from rayal.parts import Component
from rayal.settings import Settings
from rayal.storage.folder import Json


def plain(space: Mapping[str, Any]) -> Json:
    """Mappings, lists, texts and numbers for values of Python.

    A list or an array is a grid of its items; an argument of `grid_search` and so on is as in a
    file, and a tuple is one value. A part or other settings become a mapping of their fields.
    Raises UsageError for what a file cannot hold.
    """
    return {str(key): _value(value, (str(key),)) for key, value in space.items()}


def _value(value: Any, place: KeyPath) -> Any:
    match value:
        case np.ndarray() | range():
            return _value(list(value), place)
        case list():
            return {GRID: _options(value, place)}
        case Mapping() if (found := function(dict(value))) is not None:
            name, arguments = found
            given = value[name]
            return {name: _options(list(given), place) if _several(given) else given}
        case Mapping():
            return {str(key): _value(item, (*place, str(key))) for key, item in value.items()}
    return _fixed(value, place)


def _several(given: Any) -> bool:
    return isinstance(given, list | tuple | np.ndarray | range)


def _options(values: list[Any], place: KeyPath) -> list[Any]:
    """Of a grid: each a value, or a mapping in which more is varied."""
    return [
        _value(value, (*place, number))
        if isinstance(value, Mapping)
        else _fixed(value, (*place, number))
        for number, value in enumerate(values)
    ]


def _fixed(value: Any, place: KeyPath) -> Any:
    match value:
        case np.generic():  # first: some of numpy's are numbers of Python's, too
            return value.item()
        case None | bool() | int() | float() | str():
            return value
        case os.PathLike():
            return os.fspath(value)
        case list() | tuple():
            return [_fixed(item, (*place, number)) for number, item in enumerate(value)]
        case Mapping():
            return {str(key): _fixed(item, (*place, str(key))) for key, item in value.items()}
        case Component() | Settings():
            return value.model_dump(mode="json")
    where = ".".join(map(str, place))
    named = f"the class {value.__qualname__}" if isinstance(value, type) else quoted(value)
    raise UsageError(
        f"space.{where}: {named} cannot be varied; give a value as in a file, a mapping such as"
        " {'uniform': [0, 1]}, or an instance of a part"
    )
