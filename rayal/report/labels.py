"""What arms are called: the fewest settings that tell them apart, in as few signs as will do."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rayal.storage.folder import MISSING

DIGITS = (4, 6, 9)
"""Of a number, before all that it has."""

Facts = Mapping[str, Any]
"""Settings of one arm by keys such as `scheme.lr`, their values as JSON has them."""


def varied(facts: Sequence[Facts]) -> list[str]:
    """The keys whose values are not the same in all."""
    keys = dict.fromkeys(key for each in facts for key in each)
    return [key for key in keys if _kinds(facts, [key]) > 1]


def telling(facts: Sequence[Facts]) -> list[str]:
    """Keys that tell all apart that differ, none of which could be left out; in their order."""
    keys = varied(facts)
    aim = _kinds(facts, keys)
    chosen: list[str] = []
    while _kinds(facts, chosen) < aim:  # the one that splits most, the first of such
        chosen.append(max(keys, key=lambda key: _kinds(facts, [*chosen, key])))
    for key in list(chosen):
        rest = [each for each in chosen if each != key]
        if _kinds(facts, rest) == aim:
            chosen = rest
    return [key for key in keys if key in chosen]


def described(facts: Sequence[Facts], keys: Sequence[str]) -> list[str]:
    """`weight=0.02 alpha=0.99` of each: these keys, short where that says which it is."""
    names = _short(keys)
    columns = [(names[key], texts([each.get(key, MISSING) for each in facts])) for key in keys]
    rows = range(len(facts))
    return [" ".join(f"{name}={column[row]}" for name, column in columns) for row in rows]


def texts(values: Sequence[Any]) -> list[str]:
    """Each value in words, different ones differently, as short as that allows."""
    different = len({same(value) for value in values})
    forms = (*(_rounded(digits) for digits in DIGITS), text)
    found = [[form(value) for value in values] for form in forms]
    return next((short for short in found if len(set(short)) == different), found[-1])


def text(value: Any) -> str:
    """A value as a file has it."""
    if value is MISSING:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def same(value: Any) -> str:
    """Equal for equal values, of which some are lists and mappings."""
    return "" if value is MISSING else json.dumps(value, sort_keys=True)


def _rounded(digits: int) -> Callable[[Any], str]:
    def form(value: Any) -> str:
        match value:
            case float():
                return f"{value:.{digits}g}"
            case str():
                return value.rstrip("/").rpartition("/")[2] or value  # of a path, its last name
            case [{"name": _}, *_]:
                return "+".join(part["name"] for part in value)
        return text(value)

    return form


def _kinds(facts: Sequence[Facts], keys: Sequence[str]) -> int:
    """How many of these differ in these keys."""
    return len({tuple(same(each.get(key, MISSING)) for key in keys) for each in facts})


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its last part, where that says which it is."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    return {k: short if last[short := k.rpartition(".")[2]] == 1 else k for k in keys}
