"""Where runs are, as functions of the API take it."""

import os
from collections.abc import Iterable
from typing import Any, Protocol

from rayal.errors import UsageError


class Located(Protocol):
    """What lies in a folder: a run, a sweep."""

    @property
    def url(self) -> str: ...


Place = str | os.PathLike[str] | Located
"""A run folder or one above run folders, as a path or a URL, or what `rayal.run` and `rayal.sweep`
return."""


def urls(places: Place | Iterable[Place]) -> list[str]:
    """One place or several, as paths and URLs. Raises UsageError where there is none."""
    several: Iterable[Any] = places if _is_several(places) else [places]
    found = [_url(place) for place in several]
    if not found:
        raise UsageError("no place is given; give run folders, or folders above them")
    return found


def _is_several(places: Any) -> bool:
    return not (isinstance(places, str | os.PathLike) or hasattr(places, "url"))


def _url(place: Place) -> str:
    return os.fspath(place) if isinstance(place, str | os.PathLike) else place.url
