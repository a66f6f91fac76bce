"""Tracks nothing: the run folder alone tells what happened."""

from rayal.runs.record import Record
from rayal.runs.trackers.base import Tracker


class NoneTracker(Tracker):
    """No server; `rayal status` and `rayal report` read the run folder."""

    def sync(self, record: Record, *, failed: bool = False) -> None:
        pass
