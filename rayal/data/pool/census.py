"""Whether ids are what a pass needs: each once in its pool before, each once in its scores after.

Exact, in memory that does not grow with the pool and time in proportion to it.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayal.data.pool import Shard
from rayal.data.pool.source import Pool
from rayal.errors import DataError, StorageError, counted, quoted
from rayal.storage.failures import storage_errors
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.local_files import temporary_name
from rayal.storage.parquet import open_parquet

ROWS = 16384  # ids read at a time
SORTED = 2**22  # hashes sorted at a time
SUSPECTS = 2**16
"""Hashes whose ids are compared. Where more occur twice, it is not by chance, and all count."""
SHOWN = 5  # ids in a message
AHEAD = 8  # scored shards whose ids are read while those of one are compared

Hashes = NDArray[np.int64]


def check_ids(pool: Pool, workplace: Path | None = None) -> None:
    """Raises DataError unless every id is a non-empty Unicode string that is used once.

    All ids are read once, and again if some seem to be used twice. Their hashes, 8 bytes a row, go
    through files in `workplace`, of which `Folder.sweep` finds what a killed process has left;
    None: where temporary files go. Of a pool whose ids rayal made
    nothing is read.
    """
    if pool.unique:
        return
    place = str(workplace or "the folder of temporary files")
    with (
        storage_errors(place, needed=8 * pool.rows),
        TemporaryDirectory(prefix=f"{temporary_name()}-", dir=workplace) as folder,
    ):
        buckets = _Buckets(Path(folder), pool.rows)
        for shard in pool.shards(ROWS):
            buckets.add(_hashes(pool.images.ids_of(shard).to_pylist()))
        suspects, count = _twice(buckets.sorted())
    if not count:
        return
    places = _places(pool, suspects)
    twice = [(unit, rows) for unit, rows in places.items() if len(rows) > 1]
    if not twice:  # different ids of one hash
        return
    count = len(twice) if count == len(suspects) else count
    first = (f"{quoted(unit)} ({' and '.join(rows)})" for unit, rows in twice[:SHOWN])
    raise DataError(
        f"{counted(count, 'id is', 'ids are')} used more than once, first {', '.join(first)};"
        " make them unique, or do"
        " without a column of ids"
    )


def check_scored(
    pool: Pool, shards: Sequence[Shard], folder: Folder, records: Sequence[FileRecord]
) -> None:
    """Raises StorageError unless each shard's file in `folder` has the ids of its rows, once each.

    `records` are those of the files, in the order of `shards`. Reads nothing but ids.
    """
    if len(shards) != len(records):
        raise StorageError(
            f"{folder.url}: {counted(len(records), 'file')} of scores for"
            f" {counted(len(shards), 'shard')}; delete the"
            " folder to score again"
        )
    todo = zip(shards, records, strict=True)
    with ThreadPoolExecutor(AHEAD) as threads:
        while some := list(islice(todo, AHEAD)):
            files = [f"{folder.url}/{record.name}" for _, record in some]
            for (shard, _), file, scored in zip(
                some, files, threads.map(_scored, files), strict=True
            ):
                _compare(file, pool.images.ids_of(shard), scored)


class _Buckets:
    """Hashes in files by their leading bits: what is equal comes into the same file."""

    def __init__(self, folder: Path, total: int) -> None:
        self._bits = max(1, (total // SORTED).bit_length())
        self._files = [folder / str(bucket) for bucket in range(2**self._bits)]
        self._waiting, self._count = list[Hashes](), 0

    def add(self, hashes: Hashes) -> None:
        self._waiting.append(hashes)
        self._count += len(hashes)
        if self._count >= SORTED // 4:
            self._write()

    def sorted(self) -> Iterator[Hashes]:
        """The hashes of one file after the other."""
        self._write()
        for path in self._files:
            if path.exists():
                hashes = np.fromfile(path, np.uint64)
                hashes.sort()
                yield hashes.view(np.int64)

    def _write(self) -> None:
        if not self._waiting:
            return
        hashes = np.concatenate(self._waiting).view(np.uint64)
        hashes.sort()
        firsts = np.arange(1, len(self._files), dtype=np.uint64) << np.uint64(64 - self._bits)
        parts = np.split(hashes, np.searchsorted(hashes, firsts))
        for path, part in zip(self._files, parts, strict=True):
            with open(path, "ab") as file:
                file.write(part.data)
        self._waiting, self._count = [], 0


def _hashes(ids: list[str]) -> Hashes:
    """Python's own, another one in each process."""
    return np.fromiter(map(hash, ids), np.int64, len(ids))


def _twice(buckets: Iterable[Hashes]) -> tuple[Hashes, int]:
    """Hashes that occur more than once, at most SUSPECTS of them, and how many there are."""
    found, count = np.empty(0, np.int64), 0
    for hashes in buckets:
        again = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        count += len(again)
        found = np.concatenate([found, again])[:SUSPECTS]
    return found, count


def _places(pool: Pool, suspects: Hashes) -> dict[str, list[str]]:
    """The ids of these hashes, in their order in the pool, and where the first two rows are."""
    places, file, row = dict[str, list[str]](), "", 0
    suspects = np.sort(suspects)
    for shard in pool.shards(ROWS):
        file, row = (file, row) if shard.file == file else (shard.file, 0)
        ids = pool.images.ids_of(shard).to_pylist()
        hashes = _hashes(ids)
        nearest = suspects[np.searchsorted(suspects[1:], hashes, side="right")]
        for at in np.flatnonzero(nearest == hashes).tolist():
            rows = places.setdefault(ids[at], [])
            if len(rows) < 2:
                rows.append(f"{file} row {row + at}")
        row += shard.rows
    return places


def _scored(file: str) -> pa.ChunkedArray:
    try:
        with open_parquet(file) as parquet:
            return parquet.read(columns=["id"])["id"]
    except (DataError, KeyError) as error:
        raise StorageError(f"{error}, or delete it to score again") from error


def _compare(file: str, expected: pa.ChunkedArray, scored: pa.ChunkedArray) -> None:
    """Bad images come last in their file, whatever their row, so that the order may differ."""
    if expected.equals(scored):
        return
    rows, found = expected.to_pylist(), scored.to_pylist()
    if sorted(rows) == sorted(found):
        return
    lost, alien = set(rows) - set(found), set(found) - set(rows)
    first = quoted(min(lost or alien or set(found)))
    raise StorageError(
        f"{file}: of {len(rows)} ids {len(lost)} are missing, and of its {len(found)}"
        f" {len(alien)} do not belong, first {first}; delete the file to score this shard again"
    )
