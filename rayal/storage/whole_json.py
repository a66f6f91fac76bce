"""JSON that people give: every key once, and only numbers that are ones."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from rayal.errors import UsageError, quoted


def parsed(data: bytes | str, file: str = "the file") -> Any:
    """The value in a text, or in a file in UTF-8, UTF-16 or UTF-32.

    Raises UsageError for one that is not whole, or has a key twice: of these one would be lost.
    """
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except UsageError:
        raise
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no whole JSON ({error}); export it again") from error


def decoder() -> json.JSONDecoder:
    """What decodes one value after the other, as strict as `parsed`."""
    return json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the JSON has {quoted(twice)} twice in one object; leave out one of them")
    return found


def _no_number(name: str) -> NoReturn:
    raise UsageError(f"the JSON has {name} where a number should be; export it again")
