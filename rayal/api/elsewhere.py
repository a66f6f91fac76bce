"""Parts from outside rayal, which other processes, and readers later, find by their module."""

import sys
from collections.abc import Iterable

from rayal.errors import UsageError
from rayal.experiment.sources import parts_in
from rayal.parts import MAIN, Component
from rayal.plugins import Plugins


def packages(held: object, named: Iterable[str] = (), *, travels: bool = False) -> Plugins:
    """The packages that hold the parts among these values, and those that are `named`.

    `travels` says that classes of this notebook or script go along with the work. Raises UsageError
    for a part that another process would not find.
    """
    for each in sorted(_foreign(held), key=lambda part: part.__qualname__):
        _check(each, travels)
    return allowed(held, named)


def allowed(held: object, named: Iterable[str] = ()) -> Plugins:
    """As `packages`, for work that stays in this process."""
    own = {part.__module__.partition(".")[0] for part in _foreign(held)} - {MAIN}
    return Plugins({*Plugins(named), *own})


def _foreign(held: object) -> set[type[Component]]:
    return {type(part) for part in parts_in(held) if type(part).is_foreign()}


def _check(part: type[Component], travels: bool) -> None:
    name = f"{part.__module__}.{part.__qualname__}"
    if part.__module__ == MAIN and not travels:
        raise UsageError(
            f"{name} is of this notebook or script, which a job cannot import; move it to a module"
            " of its own, and import it from there"
        )
    if getattr(sys.modules.get(part.__module__), part.__name__, None) is not part:
        raise UsageError(
            f"{name} is not at the top of its module, where other processes look for it; move it"
            " there"
        )
