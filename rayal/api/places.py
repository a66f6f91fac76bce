"""Where runs are, as functions of the API take it."""

import os
from collections.abc import Iterable
from typing import Protocol, cast

from rayal.errors import UsageError


class Located(Protocol):
    """What lies in a folder: a run, a sweep, what an `ActiveLearner` has asked."""

    @property
    def url(self) -> str: ...


Place = str | os.PathLike[str] | Located
"""A run folder or one above run folders, as a path or a URL, or what `rayal.run` and `rayal.sweep`
return."""


def urls(places: Place | Iterable[Place]) -> list[str]:
    """One place or several, as paths and URLs. Raises UsageError where there is none."""
    one = isinstance(places, str | os.PathLike) or hasattr(places, "url")
    found = [_url(place) for place in cast("Iterable[Place]", [places] if one else places)]
    if not found:
        raise UsageError("no place is given; give run folders, or folders above them")
    return found


def _url(place: Place) -> str:
    return os.fspath(place) if isinstance(place, str | os.PathLike) else place.url
