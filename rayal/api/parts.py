"""What there is to choose from, and what each of it is."""

from collections.abc import Iterable

from rayal import parts
from rayal.experiment.described import docstring
from rayal.experiment.described.part import Described
from rayal.experiment.described.part import describe as _describe
from rayal.plugins import NO_PLUGINS, Plugins


def list_parts(kind: str) -> dict[str, str]:
    """Name -> one line, of all that rayal has of a kind: `strategies`, `schemes`, `models`,
    `datasets`, `oracles`, `tasks` or `trackers`.

    >>> rayal.list_parts("tasks")["segmentation"][:34]
    'Cross entropy of the labeled pixel'

    Raises UsageError for another word.
    """
    return {
        name: docstring.line(parts.find(kind, name).__doc__) for name in parts.names_of_kind(kind)
    }


def describe(kind: str, name: str, *, plugins: Iterable[str] = NO_PLUGINS) -> Described:
    """One part for people: its options with types, defaults and meanings, what it needs and what a
    pass costs with it, where it is from and what is different here.

    >>> cod = rayal.describe("strategies", "cod")
    >>> [option.name for option in cod.options]
    ['pixels', 'threshold', 'first_cycle']

    `print(cod)` shows it all, `cod.to_dict()` is for JSON. A part of yours is `my_pkg.mine`, with
    its package in `plugins`. Raises UsageError for what is not there, with the nearest name.
    """
    parts.names_of_kind(kind)
    return _describe(kind, name, Plugins(plugins))
