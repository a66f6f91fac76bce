"""The experiment and the images of a run, opened once for all sections of a page."""

from typing import NamedTuple

from rayal.data.store import Store
from rayal.errors import RayalError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.report.images import store_of, unseen_of
from rayal.report.page.seen import Seen
from rayal.runs.record import Record
from rayal.runs.results import Scored

LARGE = 200_000
"""Units of a pool up to which a page looks at them when a run ends."""


class Original(NamedTuple):
    """What a run was made from."""

    x: Experiment
    store: Store

    @property
    def simulated(self) -> bool:
        """Whether labels of the pool may be looked at."""
        return self.x.oracle.simulated

    @property
    def visible(self) -> bool:
        """Whether there is anything to look at: vectors are nothing."""
        return unseen_of(self.store) is None


class Originals:
    """Run -> what it was made from."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._stores: dict[str, Store] = {}
        self._found: dict[str, Original | str] = {}

    def of(self, record: Record) -> Original | str:
        """What a run was made from; or why that is not known here, in words."""
        url = record.folder.url
        if url not in self._found:
            self._found[url] = self._opened(record)
        return self._found[url]

    def _opened(self, record: Record) -> Original | str:
        if not self._seen.asks_models and (units := _units(record)) > LARGE:
            return (
                f"What needs the whole pool, of {units:,} units, is left out when a run ends;"
                f" {self._seen.command} shows it."
            )
        try:
            x = config.resolved(record.experiment(), record.plugins)
            data = str(record.identity()["data"])
            if data not in self._stores:
                self._stores[data] = store_of(record, x)
        except RayalError as error:
            return str(error)
        return Original(x, self._stores[data])


def _units(record: Record) -> int:
    """How many the first pass scored; 0 before it has."""
    scored = record.result(0, Scored)
    return 0 if scored is None else scored.units
