"""Runs shown by their tracker, as far as it has not shown them yet."""

from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple

from rayal.api.places import Place, urls
from rayal.errors import Apart
from rayal.experiment import config
from rayal.parts import Part
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.find_records import find_records
from rayal.runs.record import Record
from rayal.runs.trackers.base import Tracker
from rayal.settings import Settings
from rayal.workflows.tracking import show


class Synced(NamedTuple):
    """A run that its tracker has now."""

    url: str
    """Its folder."""
    tracker: str | None
    """What to open, or to start, to see it; None where it has no tracker."""


class _Tracking(Settings):
    """All that is read of an experiment: its other parts may be of code that is not here."""

    tracking: Annotated[Tracker, Part("trackers")]
    """Where the run is shown besides its folder."""


def sync(
    places: Place | Iterable[Place],
    *,
    plugins: Iterable[str] = NO_PLUGINS,
    on_run: Callable[[Synced], object] | None = None,
) -> list[Synced]:
    """Sends what the trackers of the runs at or below these places do not have yet.

    A second call sends nothing. `on_run` is told of each run that is done.

    >>> [synced.tracker for synced in rayal.sync("runs/mine")]  # with `tracking: none`
    [None]

    Raises what failed, a StorageError for a tracker that cannot be reached, when all others are
    done.
    """
    apart, sent, done = Apart(), list[tuple[Tracker, Record]](), list[Synced]()
    for record in find_records(urls(places), Plugins(plugins), apart):
        with apart.kept():
            fields = {"tracking": record.experiment()["tracking"]}
            source = f"{record.folder.url}/experiment.yaml"
            tracking = config.from_record(_Tracking, fields, source, record.plugins).tracking
            tracking.sync(record)
            done.append(Synced(record.folder.url, tracking.address()))
            sent.append((tracking, record))
            if on_run is not None:
                on_run(done[-1])
    for tracking in {tracking for tracking, _ in sent}:
        with apart.kept():
            show(tracking, [record for other, record in sent if other == tracking])
    apart.end()
    return done
