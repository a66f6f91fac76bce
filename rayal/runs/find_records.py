"""The runs at some places, whole ones and those that go on."""

from collections.abc import Iterable

from rayal.errors import OUT, Apart, UsageError
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.record import Record
from rayal.storage.folder import Folder


def find_records(
    places: Iterable[str], plugins: Plugins = NO_PLUGINS, apart: Apart | None = None
) -> list[Record]:
    """The runs at these places: each a run folder, or a folder with run folders below it.

    A place without a run, or that cannot be read, and a run whose experiment is damaged are errors
    that `apart` keeps; without it they are raised when all places were looked at.
    """
    if apart is None:
        apart = Apart()
        found = find_records(places, plugins, apart)
        apart.end()
        return found
    found = []
    for place in places:
        before = len(found) + len(apart.errors)
        with apart.kept():
            for record in Record.below(Folder(place), plugins, apart):
                with apart.kept():
                    record.check()
                    found.append(record)
            if len(found) + len(apart.errors) == before:
                raise UsageError(
                    f"{place}: no run folder is there or below; give the {OUT} of a run, which"
                    " holds a run.json"
                )
    return found
