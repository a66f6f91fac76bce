"""Where runs are, as functions of the API take it."""

import os
from collections.abc import Iterable
from typing import Protocol, cast

from rayal.errors import UsageError, quoted


class Located(Protocol):
    """What lies in a folder: a run, a sweep, what an `ActiveLearner` has asked."""

    @property
    def url(self) -> str: ...


Place = str | os.PathLike[str] | Located
"""A run folder or one above run folders, as a path or a URL, or what `rayal.run` and `rayal.sweep`
return."""


def urls(places: Place | Iterable[Place]) -> list[str]:
    """One place or several, as paths and URLs. Raises UsageError where there is none, and for what
    is no place."""
    several = isinstance(places, Iterable) and not isinstance(places, str | os.PathLike)
    one = not several or hasattr(places, "url")
    found = [_url(place) for place in cast("Iterable[Place]", [places] if one else places)]
    if not found:
        raise UsageError("no place is given; give run folders, or folders above them")
    return found


def _url(place: Place) -> str:
    if isinstance(place, str | os.PathLike):
        return os.fspath(place)
    if not hasattr(place, "url"):
        raise UsageError(
            f"{quoted(place)} is no place; give a run folder, a folder above some, or what"
            " rayal.run returns"
        )
    return place.url
