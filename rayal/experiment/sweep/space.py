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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rayal.parts import suggest
from rayal.storage.folder import Json
from rayal.storage.journal import differences

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
Function = tuple[str, tuple[Any, ...]]
"""Name and arguments."""
Draw = Callable[[int, str, tuple[Any, ...], KeyPath], Any]
"""The number of the draw, name and arguments of a function, and where it stands -> a value."""


def function(value: Any) -> Function | None:
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
                    raise ValueError(
                        f"{at}: search optuna chooses among names and numbers only; write such, or"
                        " search random"
                    )
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


def split(space: Json, at: str = "") -> tuple[dict[str, Function], Json]:
    """What a search draws, by keys such as `scheme.weight`, and the values that stay, nested."""
    drawn: dict[str, Function] = {}
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


def samples(space: Json) -> list[Json]:
    """Arms that a search may propose, to look at before it does: every option of every choice once,
    and of numbers one between their ends."""
    drawn, fixed = split(space)
    options = {key: _some(*function) for key, function in drawn.items()}
    first = {key: some[0] for key, some in options.items()}
    others = [{**first, key: value} for key, some in options.items() for value in some[1:]]
    return [joined(fixed, each) for each in (first, *others)]


def _some(name: str, arguments: Sequence[Any]) -> Sequence[Any]:
    if name in OPTIONS:
        return list(arguments[0])
    if "randn" in name:
        return [*arguments[:1], 0.0][:1]
    low, high = arguments[:2]
    return [low if "randint" in name else (low + high) / 2]


def values(arm: Json, keys: Iterable[str]) -> Json | None:
    """What a search drew of an arm, by keys such as `scheme.weight`; None where one is missing."""
    found: Json = {}
    for key in keys:
        value: Any = arm
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        found[key] = value
    return found


def proposes(space: Json, arm: Json) -> bool:
    """Whether a search in this space may propose an arm."""
    drawn, fixed = split(space)
    found = values(arm, drawn)
    return (
        found is not None
        and joined(fixed, found) == arm
        and all(_draws(drawn[key], value) for key, value in found.items())
    )


def _draws(function: Function, value: Any) -> bool:
    name, arguments = function
    if name in OPTIONS:
        return value in arguments[0]
    return _is_number(value) and ("randn" in name or arguments[0] <= value <= arguments[1])


def narrowed(old: Json, new: Json) -> Iterator[str]:
    """Why what a search drew from the old space might not come from the new one, a line each."""
    (drawn, fixed), (drawn_now, fixed_now) = split(old), split(new)
    yield from differences(fixed, fixed_now, "sweep.space")
    for key in {**drawn, **drawn_now}:
        before, now = drawn.get(key), drawn_now.get(key)
        if before is None or now is None or not _within(before, now):
            yield f"sweep.space.{key}: {_written(before)} -> {_written(now)}"


def _within(before: Function, now: Function) -> bool:
    """Whether a function of Ray Tune draws all that another one does."""
    (name, old), (name_now, new) = before, now
    if name != name_now or name in ("randn", "qrandn"):
        return before == now
    if name in OPTIONS:
        return all(option in new[0] for option in old[0])
    return bool(new[0] <= old[0] and old[1] <= new[1] and old[2:] == new[2:])


def _written(found: Function | None) -> str:
    if found is None:
        return "(absent)"
    name, arguments = found
    return json.dumps({name: arguments[0] if name in OPTIONS else list(arguments)})


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
