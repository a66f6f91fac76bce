"""A finished pass in lots of whole shards, each for a machine that reads it and holds its rows.

The process that selects learns the ids from those machines, and reads no shard but one: what was
kept of a unit never passes through it, except of labeled units.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayal.cycle import shard_file
from rayal.runs.passes import Pass
from rayal.selection.candidates import Candidates
from rayal.selection.distances import Numbers
from rayal.selection.holders import Spread
from rayal.selection.progress import Progress
from rayal.signals.signal import signal_of
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.ids import Ids, Places
from rayal.strategies.base import Strategy

BYTES = 2
"""Of a number that a pass keeps: float16."""


class Lot(NamedTuple):
    """Shards of a pass."""

    folder: str
    """URL of the pass."""
    shards: tuple[FileRecord, ...]
    widths: Mapping[str, int]
    """Of the rows that are wanted, by `kept_names`."""
    score: str
    """The column of the scores, which there may be."""

    @property
    def bytes(self) -> int:
        """Of its files."""
        return sum(record.bytes for record in self.shards)


class Whole(NamedTuple):
    """All that a strategy wants of a pass."""

    lot: Lot
    units: int
    """Those that could not be decoded included."""
    labeled: int
    row_bytes: int
    """Of what was kept of a unit; 0 where there is none."""

    @classmethod
    def of(
        cls,
        folder: Folder,
        result: Pass,
        strategy: Strategy,
        of: str,
        labeled: Collection[str],
    ) -> "Whole":
        """`of`: the strategy's column. Reads shards until one has a good unit."""
        kept = sorted(strategy.kept_names())
        columns = [f"keep.{name}" for name in kept]
        first = next(shard_file.shards(folder, result, columns), pa.table({}))
        widths = {
            name: first[column].type.list_size if first.num_rows else 0
            for name, column in zip(kept, columns, strict=True)
        }
        lot = Lot(folder.url, tuple(result.shards), widths, f"score.{of}")
        seen = len(labeled) if strategy.scans_labeled else 0
        return cls(lot, result.units, seen, BYTES * sum(widths.values()))

    @property
    def bytes(self) -> int:
        """Of what was kept."""
        return self.units * self.row_bytes

    def lots(self, count: int) -> list[Lot]:
        """At most so many, of shards that follow one another and about as many bytes each."""
        sizes = np.array([record.bytes for record in self.lot.shards])
        middles = np.cumsum(sizes) - sizes / 2
        numbers = middles * count // sizes.sum()
        shards = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
        return [
            self.lot._replace(shards=tuple(self.lot.shards[shard] for shard in chosen))
            for chosen in shards
        ]

    def units_of(self, lot: Lot) -> int:
        """About how many units a lot has."""
        return -(-self.units * lot.bytes // self.lot.bytes)


class Read(NamedTuple):
    """The good units of a lot."""

    listed: pa.Table
    """Their ids, and scores if there are some."""
    kept: Mapping[str, Numbers]
    """By signal, n x width."""


def read(lot: Lot) -> Read:
    """Reads a lot, one shard after the other: memory for its rows, and for one shard.

    Raises LostError for a shard that is damaged, or is not there.
    """
    columns = {signal_of(name): f"keep.{name}" for name in lot.widths}
    result = Pass(units=0, columns=(), shards=lot.shards)
    listed = [pa.table({"id": pa.array([], pa.string())})]
    kept: dict[str, Numbers] = {
        signal_of(name): np.empty((0, width), np.float16) for name, width in lot.widths.items()
    }
    for rows in shard_file.shards(Folder(lot.folder), result, ["id", lot.score, *columns.values()]):
        listed.append(rows.select([c for c in ("id", lot.score) if c in rows.schema.names]))
        for signal, column in columns.items():
            values, all_ = shard_file.matrix(rows[column]), kept[signal]
            # in its place: two copies of all rows may be more than there is room for
            all_.resize((len(all_) + len(values), values.shape[1]), refcheck=False)
            all_[-len(values) :] = values
    return Read(pa.concat_tables(listed[1:] or listed), kept)


class Machines(Protocol):
    """Where lots are held."""

    def listed(self) -> list[pa.Table]:
        """Of each lot what `read` lists."""

    def rows(self, chosen: Mapping[int, NDArray[np.intp]]) -> list[Mapping[str, Numbers]]:
        """By number of a lot: these of its rows, by signal."""

    def spread(self, positions: Sequence[NDArray[np.intp]]) -> Spread:
        """The pool, where of each lot's rows these are the positions in it; -1: in none."""


class HoldsPools(Protocol):
    """An engine, as far as it has machines that hold a pool."""

    def holds(self, size: int) -> bool:
        """Whether so many bytes are more than this process should select from, if others can."""

    def has_room(self, whole: Whole) -> bool:
        """Whether the machines have memory for it now; says so where they do not."""

    def hold(self, whole: Whole, progress: Progress) -> AbstractContextManager[Machines]:
        """Has it held until the block ends, by as many machines as there are.

        Raises ClusterError where they have no room for it, before anything is read.
        """


@contextmanager
def held(
    engine: HoldsPools, whole: Whole, labeled: Collection[str], progress: Progress
) -> Iterator[Candidates]:
    """The candidates of a finished pass, as `shard_file.load` has them, held by machines."""
    with engine.hold(whole, progress) as machines:
        listed = machines.listed()
        sizes = [len(rows) for rows in listed]
        table = pa.concat_tables([rows for rows in listed if len(rows)] or listed[:1])
        ids = Ids(table["id"])
        known = Places(Ids(labeled)).has(ids)
        order: NDArray[np.intp] = pc.sort_indices(ids.array).to_numpy().astype(np.intp)
        pool, seen = order[~known[order]], order[known[order]]
        scored = whole.lot.score in table.schema.names
        yield Candidates(
            ids[pool],
            table[whole.lot.score].to_numpy()[pool] if scored else None,
            labeled_ids=ids[seen],
            labeled=_labeled(machines, sizes, seen) if whole.labeled else {},
            spread=machines.spread(np.split(_positions(pool, len(ids)), np.cumsum(sizes)[:-1])),
        )


def _positions(order: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Where each of `size` rows goes in `order`, -1 where it is not in it."""
    positions = np.full(size, -1, np.intp)
    positions[order] = np.arange(len(order))
    return positions


def _labeled(
    machines: Machines, sizes: Sequence[int], seen: NDArray[np.intp]
) -> dict[str, Numbers]:
    """Their rows by signal, in the order of `seen`."""
    starts = np.cumsum([0, *sizes])
    lots = np.searchsorted(starts, seen, side="right") - 1
    at = {int(lot): np.flatnonzero(lots == lot) for lot in np.unique(lots)}
    found = machines.rows({lot: seen[where] - starts[lot] for lot, where in at.items()})
    result: dict[str, Numbers] = {}
    for where, rows in zip(at.values(), found, strict=True):
        for signal, values in rows.items():
            shape = (len(seen), values.shape[1])
            result.setdefault(signal, np.empty(shape, values.dtype))[where] = values
    return result
