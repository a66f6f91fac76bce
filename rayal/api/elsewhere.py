"""Parts that work in another process, which finds them by the name of their module."""

import sys
from collections.abc import Iterable

from rayal.errors import UsageError
from rayal.experiment.sources import parts_in
from rayal.parts import Component
from rayal.plugins import Plugins


def packages(held: object, named: Iterable[str] = ()) -> Plugins:
    """The packages that hold the parts among these values, and those that are `named`.

    Raises UsageError for a part that another process could not import.
    """
    foreign = {type(part) for part in parts_in(held) if type(part).is_foreign()}
    for each in sorted(foreign, key=lambda part: part.__qualname__):
        _check(each)
    return Plugins({*Plugins(named), *(part.__module__.partition(".")[0] for part in foreign)})


def _check(part: type[Component]) -> None:
    name = f"{part.__module__}.{part.__qualname__}"
    if part.__module__ == "__main__":
        raise UsageError(
            f"{name} is of this notebook or script, which other processes cannot import; move it"
            " to a module of its own, and import it from there"
        )
    if getattr(sys.modules.get(part.__module__), part.__name__, None) is not part:
        raise UsageError(
            f"{name} is not at the top of its module, where other processes look for it; move it"
            " there"
        )
