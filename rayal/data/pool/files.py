"""A pool in somebody's own Parquet files: any row groups, read in bounded memory.

| the image column is, see storage/columns.py | what it holds                                      |
|---------------------------------------------|----------------------------------------------------|
| bytes                                       | encoded images                                     |
| fixed-size binary of C H W bytes            | raw pixels in the model's shape                    |
| pixels: a tensor                            | the same, slower to read; no null may be among     |
|                                             | them                                               |
| text                                        | paths below the pool's root, absolute paths or     |
|                                             | storage URLs                                       |
| struct<bytes, path>                         | encoded images or, where null, such paths          |

Ids are strings or integers (which become strings), or `<file below the root>:<row in the file>`.
A row group that is larger than a shard is read page by page; Parquet can read no less, and pyarrow
writes pages of 1,024 images unless its write_batch_size says otherwise.
"""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rayal.data import uri
from rayal.data.card import Shape
from rayal.data.images import BadImage, Decoding
from rayal.data.pool import (
    CanvasImage,
    Decoded,
    Shard,
    decode_each,
    decode_raw,
    pixels,
    stored_files,
    stored_raw,
)
from rayal.errors import DataError, quoted
from rayal.storage.columns import as_text, held
from rayal.storage.parquet import parquet_file, readable, swells, within_bounds

BUFFER = 2**20  # bytes of a column in memory, where a row group is read in parts
BATCH = 64  # rows of images that Parquet decodes at a time then
ID_BATCH = 4096  # rows of ids alone


@dataclass(frozen=True)
class ParquetImages:
    """The images of Parquet files below `root`."""

    root: str
    """Absolute path or URL; relative addresses and ids made of file names start here."""
    id: str | None
    """Column; None: rows are named by file and number."""
    image: str
    """Column."""
    raw: bool
    """Whether it holds pixels."""
    decoding: Decoding
    """How encoded images become pixels."""
    shape: Shape
    """C H W of every image."""
    key: str = field(default_factory=lambda: uuid4().hex, repr=False, compare=False)
    """Of what was opened at one time: a file that is read in parts stays open under it."""

    def read(self, shard: Shard, keep: Container[str] | None = None) -> pa.Table:
        """Columns id and image (undecoded) of a shard; with `keep`, only the rows of those ids.

        A part of a row group that follows the last one read goes on from there; any other is looked
        for from the start of its group. Raises DataError for a damaged or changed file, and for ids
        that are no Unicode or empty.
        """
        columns = [self.image] if self.id is None else [self.id, self.image]
        table, first = self._rows(shard, columns)
        table = pa.table({"id": self._ids(table, shard, first), "image": held(table[self.image])})
        if keep is None:
            return table
        kept = [unit in keep for unit in table["id"].to_pylist()]
        return table.filter(pa.array(kept, pa.bool_()))

    def ids_of(self, shard: Shard) -> pa.ChunkedArray:
        """The ids of a shard, in the order of its rows; raises DataError like `read`."""
        table, first = self._rows(shard, [] if self.id is None else [self.id])
        return self._ids(table, shard, first)

    def decode(self, rows: pa.Table) -> Decoded:
        """The pixels of rows that `read` returned; bad images apart, with the reason."""
        if self.raw:
            return decode_raw(rows, self.shape)
        return decode_each(rows, self._pixels, self.shape)

    def stored(self, rows: pa.Table) -> Iterator[tuple[str, object]]:
        """Id and image of rows that `read` returned: pixels, bytes, or an absolute address."""
        if self.raw:
            yield from stored_raw(self.decode(rows))
            return
        for unit, image in stored_files(rows):
            yield unit, self._address(image) if isinstance(image, str) else image

    def _pixels(self, stored: bytes | str | None) -> CanvasImage:
        try:
            found = self._address(stored) if isinstance(stored, str) else stored
            return pixels(found, self.decoding, self.shape)
        except DataError as error:  # one address that is refused must not end a pass over millions
            raise BadImage(str(error)) from error

    def _address(self, path: str) -> str:
        uri.check_is_no_image(path)
        if "://" in path or os.path.isabs(path):
            return path
        inside = os.path.normpath(path)
        if inside.split("/")[0] == "..":
            raise BadImage(f"{quoted(path)} leads out of {self.root}; make it absolute")
        if "://" in self.root:  # keys are no paths: a//b is not a/b
            inside = path.removeprefix("./")
        return f"{self.root}/{inside}"

    def _rows(self, shard: Shard, columns: list[str]) -> tuple[pa.Table, int]:
        """The rows of a shard, and which row of its file is the first."""
        last = shard.first_group + shard.groups - 1
        with readable(f"{shard.file}, row groups {shard.first_group} to {last},"):
            file = self._file(shard.file)
            table = file.read(shard, columns)
        _open.clear()
        _open[self.key] = file  # not after an error
        return table, file.starts[shard.first_group] + shard.skip

    def _file(self, url: str) -> "_File":
        """The file, taken out of `_open` where it is there: another thread gets one of its own."""
        file = _open.pop(self.key, None)
        return file if file is not None and file.url == url else _File(url)

    def _ids(self, table: pa.Table, shard: Shard, first: int) -> pa.ChunkedArray:
        if self.id is None:
            name = shard.file.removeprefix(f"{self.root}/")
            rows = range(first, first + shard.rows)
            return pa.chunked_array([pa.array([f"{name}:{row}" for row in rows], pa.string())])
        column = table[self.id]
        if (row := _first(column.is_null())) is not None:
            raise DataError(f"{shard.file}, row {first + row}: the id is null; give it one")
        ids = as_text(column)
        try:
            ids.validate(full=True)
        except pa.ArrowInvalid as error:
            row = next(row for row, unit in enumerate(ids) if not _is_unicode(unit))
            raise DataError(
                f"{shard.file}, row {first + row}: the id is not Unicode; rename it"
            ) from error
        if (row := _first(pc.equal(ids, ""))) is not None:
            raise DataError(f"{shard.file}, row {first + row}: the id is empty; give it one")
        return ids


class _File:
    """An open file, and the row group of it that is being read in parts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parquet = parquet_file(url)
        metadata = self._parquet.metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self.starts = list(accumulate(sizes, initial=0))
        """The row at which each row group starts, and the number of rows."""
        self._part: _Part | None = None

    def read(self, shard: Shard, columns: list[str]) -> pa.Table:
        """These columns of a shard; DataError where the file has no such rows."""
        first, end = shard.first_group, shard.first_group + shard.groups
        rows = self.starts[end] - self.starts[first] if end < len(self.starts) else 0
        if rows < shard.skip + shard.rows:
            raise DataError(f"{self.url} has changed since the pool was opened; start anew")
        if not columns:
            return pa.table({})
        groups, metadata = range(first, end), self._parquet.metadata
        if rows == shard.rows:
            if swells(metadata, groups, columns):
                batches = self._parquet.iter_batches(BATCH, list(groups), columns)
                place = self.url, metadata, groups, columns
                return pa.Table.from_batches(within_bounds(batches, *place))
            return self._parquet.read_row_groups(list(groups), columns=columns)
        part = self._part
        if part is None or not part.leads_to(first, shard.skip, columns):
            options = {"pre_buffer": False, "buffer_size": BUFFER}  # else a column is read at once
            again = parquet_file(self.url, metadata=metadata, **options)
            part = self._part = _Part(again, first, columns)
        for _ in part.take(shard.skip - part.row):
            pass
        taken = within_bounds(part.take(shard.rows), self.url, metadata, groups, columns)
        return pa.Table.from_batches(taken)


class _Part:
    """A row group from its start to the row that was read last."""

    def __init__(self, parquet: pq.ParquetFile, group: int, columns: list[str]) -> None:
        self.row = 0
        self._group, self._columns = group, columns
        size = ID_BATCH if len(columns) == 1 else BATCH
        self._batches = parquet.iter_batches(size, [group], columns, use_threads=False)
        self._rest: pa.RecordBatch | None = None

    def leads_to(self, group: int, row: int, columns: list[str]) -> bool:
        """Whether that row is yet to come."""
        return (self._group, self._columns) == (group, columns) and self.row <= row

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        """The next rows, in pieces."""
        while count:
            batch = self._rest or next(self._batches)
            piece, rest = batch.slice(0, count), batch.slice(count)
            self._rest = rest if len(rest) else None
            self.row, count = self.row + len(piece), count - len(piece)
            yield piece


_open = dict[str, _File]()
"""The file that this process has read last, by its images' `key`: every task of Ray unpickles those
anew, and would read a row group from its start."""


def _first(mask: pa.ChunkedArray) -> int | None:
    """The row of the first True."""
    row: int = pc.index(mask, True).as_py()
    return None if row < 0 else row


def _is_unicode(unit: pa.StringScalar) -> bool:
    try:
        unit.as_py()
    except UnicodeDecodeError:
        return False
    return True
