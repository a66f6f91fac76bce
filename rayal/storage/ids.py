"""Ids of very many units: some 30 bytes each, and found again without a dictionary."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CHUNK = 2**16
"""Ids that are Python strings at one time."""


class Ids(Sequence[str]):
    """Ids in order; positions give an id for a number, and Ids for a slice, a mask or an array.

    Each takes 8 bytes and its characters, which as an object would take 60 more.
    """

    def __init__(self, ids: "Iterable[str] | pa.Array | pa.ChunkedArray" = ()) -> None:
        self.array = _one_array(ids)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from self.array.slice(start, CHUNK).to_pylist()

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(
        self, index: slice | Sequence[int] | NDArray[np.integer[Any]] | NDArray[np.bool_]
    ) -> "Ids": ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return self.array[int(range(len(self))[index])].as_py()  # counts from the end, too
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return Ids(self.array.slice(start, max(stop - start, 0)))
            index = np.arange(start, stop, step)
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            return Ids(self.array.filter(pa.array(chosen)))
        return Ids(self.array.take(pa.array(chosen.astype(np.int64))))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"Ids({len(self)}: {shown}{', ...' if len(self) > 3 else ''})"


class Places:
    """Where ids are among `ids`, each of which is there once: 16 bytes more for each of these.

    By Python's own hash, which differs between processes, and then the ids themselves: what is
    found is exact and the same everywhere.
    """

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        hashes = _hashes(ids)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def of(self, ids: Ids) -> NDArray[np.intp]:
        """The position of each, -1 for one that is not there."""
        hashes = _hashes(ids)
        spots = np.searchsorted(self._hashes, hashes)
        places = np.full(len(ids), -1, np.intp)
        open_ = np.arange(len(ids))
        while True:
            open_ = open_[spots[open_] < len(self._hashes)]
            open_ = open_[self._hashes[spots[open_]] == hashes[open_]]
            if not len(open_):
                return places
            there = self._order[spots[open_]]
            same = pc.equal(ids[open_].array, self.ids[there].array).to_numpy(zero_copy_only=False)
            places[open_[same]] = there[same]
            open_ = open_[~same]  # another id of the same hash may follow
            spots[open_] += 1

    def has(self, ids: Ids) -> NDArray[np.bool_]:
        """Whether each is there."""
        return self.of(ids) >= 0


def _one_array(ids: "Iterable[str] | pa.Array | pa.ChunkedArray") -> pa.Array:
    if not isinstance(ids, pa.Array | pa.ChunkedArray):
        ids = pa.chunked_array(_chunks(iter(ids)), pa.large_string())
    array = ids.cast(pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _chunks(ids: Iterator[str]) -> Iterator[pa.Array]:
    while chunk := list(islice(ids, CHUNK)):
        yield pa.array(chunk, pa.large_string())


def _hashes(ids: Ids) -> NDArray[np.int64]:
    return np.fromiter(map(hash, ids), np.int64, len(ids))
