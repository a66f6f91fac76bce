"""What is varied: a mapping of fields, some of whose values are functions of Ray Tune.

    strategy: {grid_search: [random, cod]}
    scheme:
      grid_search:
        - supervised
        - {name: tod, weight: {loguniform: [0.005, 0.5]}}

Every draw has a generator of its own, by seed, place and number: a draw is the same for every point
of a grid elsewhere, so arms are paired, and adding one changes no other.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from rayal.parts import suggest
from rayal.storage.folder import Json

GRID = "grid_search"
ARGUMENTS = {
    GRID: (1, 1),
    "choice": (1, 1),
    "uniform": (2, 2),
    "quniform": (3, 3),
    "loguniform": (2, 2),
    "qloguniform": (3, 3),
    "randn": (0, 2),
    "qrandn": (3, 3),
    "randint": (2, 2),
    "qrandint": (2, 3),
    "lograndint": (2, 2),
    "qlograndint": (3, 3),
}
"""Ray Tune's functions of the same name, and how many arguments they take; not those with code."""
OPTIONS = (GRID, "choice")
"""Functions whose one argument is the list itself."""

KeyPath = tuple[str | int, ...]
Draw = Callable[[int, str, tuple[Any, ...], KeyPath], Any]
"""The number of the draw, name and arguments of a function, and where it stands -> a value."""


def function(value: Any) -> tuple[str, tuple[Any, ...]] | None:
    """Name and arguments, where a value is a function of Ray Tune and not a mapping of fields."""
    if not (isinstance(value, Mapping) and len(value) == 1):
        return None
    ((name, arguments),) = value.items()
    if name not in ARGUMENTS:
        return None
    if name in OPTIONS:
        return name, (arguments,)
    return name, tuple(arguments) if isinstance(arguments, list) else (arguments,)


def check(space: Any, *, searched: bool, place: KeyPath = ()) -> None:
    """Raises ValueError for what Ray Tune could not draw; `searched`: by a search algorithm, which
    has no grids and no functions inside of options."""
    found = function(space)
    at = f"space.{'.'.join(map(str, place))}"
    if found is not None:
        name, arguments = found
        least, most = ARGUMENTS[name]
        if name in OPTIONS and not (isinstance(arguments[0], list) and arguments[0]):
            raise ValueError(f"{at}: {name} needs a list with one option or more")
        if not least <= len(arguments) <= most:
            raise ValueError(
                f"{at}: {name} takes {least if least == most else f'{least} to {most}'} arguments,"
                f" got {len(arguments)}"
            )
        if name not in OPTIONS and not all(_is_number(value) for value in arguments):
            raise ValueError(f"{at}: {name} takes numbers, got {json.dumps(list(arguments))}")
        if searched and name == GRID:
            raise ValueError(f"{at}: search optuna has no grids; write choice, or search random")
        if name in OPTIONS:
            for number, option in enumerate(arguments[0]):
                if searched and isinstance(option, Mapping | list):
                    raise ValueError(f"{at}: search optuna chooses among names and numbers only")
                check(option, searched=searched, place=(*place, number))
        return
    if isinstance(space, Mapping):
        for key, value in space.items():
            check(value, searched=searched, place=(*place, key))
        if len(space) == 1:
            _refuse_misspelt(*space.items(), at=at)


def arms(space: Json, samples: int, draw: Draw) -> list[Json]:
    """Every assignment once: all points of the grids, `samples` times where something is drawn."""
    found: dict[str, Json] = {}
    for number in range(samples):
        for arm in _points(space, (), partial(draw, number)):
            found.setdefault(json.dumps(arm, sort_keys=True), arm)
    return list(found.values())


def split(space: Json, at: str = "") -> tuple[dict[str, tuple[str, tuple[Any, ...]]], Json]:
    """What a search draws, by keys such as `scheme.weight`, and the values that stay, nested."""
    drawn: dict[str, tuple[str, tuple[Any, ...]]] = {}
    fixed: Json = {}
    for key, value in space.items():
        if (found := function(value)) is not None:
            drawn[f"{at}{key}"] = found
        elif isinstance(value, Mapping):
            inner, fixed[key] = split(dict(value), f"{at}{key}.")
            drawn |= inner
        else:
            fixed[key] = value
    return drawn, fixed


def joined(fixed: Json, drawn: Mapping[str, Any]) -> Json:
    """The arm of a search: what stays, and what was drawn."""
    arm: Json = json.loads(json.dumps(fixed))
    for key, value in drawn.items():
        *parents, last = key.split(".")
        inner = arm
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return arm


def _points(value: Any, place: KeyPath, draw: Callable[..., Any]) -> Iterator[Any]:
    """The values that a value stands for, in the order they are written."""
    found = function(value)
    if found is None and isinstance(value, Mapping):
        fields = [[*_points(item, (*place, key), draw)] for key, item in value.items()]
        for point in itertools.product(*fields):
            yield dict(zip(value, point, strict=True))
    elif found is None:
        yield value
    elif found[0] == GRID:
        for number, option in enumerate(found[1][0]):
            yield from _points(option, (*place, number), draw)
    else:
        drawn = draw(*found, place)
        yield from _points(drawn, (*place, "drawn"), draw)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_misspelt(item: tuple[str, Any], *, at: str) -> None:
    """`{loguniforn: [...]}` would otherwise be taken for a field of the experiment."""
    name, arguments = item
    if isinstance(arguments, list) and (hint := suggest(name, ARGUMENTS)).startswith("did"):
        raise ValueError(f"{at}: there is no function {name!r}; {hint}")
