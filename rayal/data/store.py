"""A prepared dataset: Parquet files that every worker reads, and the card that describes them.

```
card.json                  written last: its existence means that the store is whole
pool/part-00000.parquet    id, image; row groups of `card.group_rows`
test/part-00000.parquet
copies.parquet             images with the content of another one, where all were looked at
labels.parquet             id, label of the pool; only the oracle and the evaluator open it
test_labels.parquet
```
A label is a class index; or, where the card has `masks`, a mask in rayal's coding, or its address
where images are addresses too. Bad images may have none, and no image of a pool that people label.
Where nobody gave test images there is no file of them, and `test_labels.parquet` is empty.

N images C H W, or volumes C D H W.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from rayal.data import resident
from rayal.data.card import Card, MeanStd, SplitName, prepared_anew, read_card
from rayal.data.copies import COPIES, Copies
from rayal.data.copies import read as read_copies
from rayal.data.masks import LabelValue
from rayal.data.pool import (
    Decoded,
    Shard,
    cut,
    decode_each,
    decode_raw,
    pixels,
    stored_files,
    stored_raw,
)
from rayal.errors import DataError, StorageError, quoted
from rayal.storage.folder import Folder

LABEL_FILES: dict[SplitName, str] = {"pool": "labels.parquet", "test": "test_labels.parquet"}


class Split:
    """The images of one split; there is no way to labels from here. Pickled as its address."""

    def __init__(self, url: str, name: SplitName) -> None:
        self.url = url
        self.name: SplitName = name

    def __reduce__(self) -> tuple[type["Split"], tuple[str, SplitName]]:
        return Split, (self.url, self.name)

    def __len__(self) -> int:
        return sum(self._parts.values())

    @cached_property
    def card(self) -> Card:
        """The card of the store."""
        return read_card(self.url)

    @property
    def raw(self) -> bool:
        """Whether images are stored as pixels."""
        return self.card.encoding == "raw"

    def ids(self) -> list[str]:
        """All ids in the order of the split."""
        ids: list[str] = self._ids.to_pylist()
        return ids

    def shards(self, rows: int) -> list[Shard]:
        """The split cut into shards of the fewest row groups that hold `rows` images.

        The last shard of a file may be smaller. The cut depends on the store and `rows` only.
        """
        return cut(self.groups(), max(rows, self.card.group_rows))

    def groups(self) -> dict[str, list[int]]:
        """File -> rows of its row groups."""
        size = self.card.group_rows
        return {
            file: [min(size, count - first) for first in range(0, count, size)]
            for file, count in self._parts.items()
        }

    def ids_of(self, shard: Shard) -> pa.ChunkedArray:
        """The ids of a shard, in the order of its rows."""
        groups = range(shard.first_group, shard.first_group + shard.groups)
        return pa.concat_tables(self._read_groups(shard.file, groups, ["id"]))["id"]

    def read(self, shard: Shard, keep: Container[str] | None = None) -> pa.Table:
        """Columns id and image (undecoded) of a shard; with `keep`, only the rows of those ids."""
        groups = range(shard.first_group, shard.first_group + shard.groups)
        table = pa.concat_tables(self._read_groups(shard.file, groups))
        if keep is None:
            return table
        kept = [unit in keep for unit in table["id"].to_pylist()]
        return table if all(kept) else table.filter(pa.array(kept))  # which copies the images

    def take(self, ids: Sequence[str]) -> pa.Table:
        """Columns id and image (undecoded) of these ids, in the order given.

        Reads only the row groups that hold them. Raises DataError for an id that is not there.
        """
        return self._at(self._positions(ids))

    def chunks(self, ids: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """As `take`, `rows` images after the other."""
        positions = self._positions(ids)
        for start in range(0, len(positions), rows):
            yield self._at(positions[start : start + rows])

    def decode(self, rows: pa.Table) -> Decoded:
        """The pixels of rows that `read` or `take` returned; bad images apart, with the reason."""
        card, shape = self.card, self.card.image.shape
        if self.raw:
            decoded = decode_raw(rows, shape, card.image.numbers)
        else:
            assert card.decoding is not None
            of = partial(pixels, decoding=card.decoding, shape=shape)
            decoded = decode_each(rows, of, shape)
        known = {unit: card.bad.get(unit, reason) for unit, reason in decoded.bad.items()}
        return decoded._replace(bad=known)

    def stored(self, rows: pa.Table) -> Iterator[tuple[str, object]]:
        """Id and image of rows that `read` or `take` returned, as `Images.stored`."""
        return stored_raw(self.decode(rows)) if self.raw else stored_files(rows)

    def _at(self, positions: NDArray[np.int64]) -> pa.Table:
        """Columns id and image of the rows at these positions in the split, in this order."""
        order = np.argsort(positions, kind="stable")
        found = [self._schema.empty_table()]
        for file, groups in self._places(positions[order]):
            tables = self._read_groups(file, list(groups))
            found += [
                t.take(pa.array(rows)) for t, rows in zip(tables, groups.values(), strict=True)
            ]
        return pa.concat_tables(found).take(pa.array(np.argsort(order)))

    @cached_property
    def _parts(self) -> dict[str, int]:
        return self.card.parts_of(self.name)

    @cached_property
    def _schema(self) -> pa.Schema:
        if not self._parts:  # a test split of nothing
            return pa.schema([("id", pa.string()), ("image", pa.large_binary())])
        with _opened(self.url, next(iter(self._parts))) as parquet:
            return parquet.schema_arrow

    @cached_property
    def _ids(self) -> pa.StringArray:
        columns = [_read(self.url, file, ["id"]) for file in self._parts]
        columns = columns or [pa.table({"id": pa.array([], pa.string())})]
        return pa.concat_tables(columns)["id"].combine_chunks()

    def _positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        wanted = pa.array(ids, pa.string())
        found = pc.index_in(wanted, value_set=self._ids)
        if found.null_count:
            unknown = wanted.filter(pc.is_null(found))
            raise DataError(
                f"{found.null_count} of {len(ids)} ids are not in the {self.name} of {self.url},"
                f" first {quoted(unknown[0].as_py())}; use the dataset that they come from"
            )
        positions: NDArray[np.int64] = found.to_numpy().astype(np.int64)
        return positions

    def _places(self, positions: NDArray[np.int64]) -> Iterator[tuple[str, dict[int, list[int]]]]:
        """Sorted positions in the split as (file, {row group: rows of it})."""
        starts = np.cumsum([0, *self._parts.values()])
        for file, start, end in zip(self._parts, starts, starts[1:], strict=False):
            groups = dict[int, list[int]]()
            inside = positions[(start <= positions) & (positions < end)] - start
            for position in inside.tolist():
                group, row = divmod(position, self.card.group_rows)
                groups.setdefault(group, []).append(row)
            if groups:
                yield file, groups

    def _read_groups(
        self, file: str, groups: Iterable[int], columns: list[str] | None = None
    ) -> Iterator[pa.Table]:
        if columns is None and self._stays:
            whole = range(len(self.groups()[file]))
            there = resident.row_groups(
                f"{self.url}/{file}", lambda: [*self._read_anew(file, whole)]
            )
            yield from (there[group] for group in groups)
        else:
            yield from self._read_anew(file, groups, columns)

    @cached_property
    def _stays(self) -> bool:
        """Whether all of it stays in a process that has read some."""
        image = self.card.image
        return not image.sides and len(self) * image.byte_count <= resident.STAYS

    def _read_anew(
        self, file: str, groups: Iterable[int], columns: list[str] | None = None
    ) -> Iterator[pa.Table]:
        with _opened(self.url, file) as parquet:
            for group in groups:
                try:
                    table = parquet.read_row_group(group, columns=columns)
                except (OSError, pa.ArrowException) as error:
                    raise _damaged(self.url, f"{file}, row group {group}", error) from error
                yield table


class Store:
    """A prepared dataset at any fsspec location. Pickled as its address."""

    def __init__(self, url: str, statistics: MeanStd | None = None) -> None:
        """`statistics`: what images are normalised by, in place of what the store says."""
        self.url, self.statistics = url, statistics

    def __reduce__(self) -> tuple[type["Store"], tuple[str, MeanStd | None]]:
        return Store, (self.url, self.statistics)

    @cached_property
    def card(self) -> Card:
        """What the store holds; raises DataError when it is not whole."""
        card = read_card(self.url)
        return card if self.statistics is None else card.normalised(*self.statistics)

    @cached_property
    def pool(self) -> Split:
        """The images to choose from."""
        return Split(self.url, "pool")

    @cached_property
    def test(self) -> Split:
        """The images that only the evaluation sees."""
        return Split(self.url, "test")

    @cached_property
    def copies(self) -> Copies | None:
        """Images of the pool that are there more than once; None where nobody has looked, or an
        older rayal did not say which they are."""
        if COPIES not in self.card.files:
            looked = bool(self.card.sizes) and not any(self.card.duplicates.values())
            return Copies() if looked else None
        try:
            return Copies.of(read_copies(Folder(self.url), self.card.files[COPIES]))
        except (StorageError, ValueError) as error:
            raise _damaged(self.url, COPIES, error) from error

    def labels(self, split: SplitName, ids: Sequence[str] | None = None) -> dict[str, LabelValue]:
        """Id -> label, of these ids or of all. For the oracle and the evaluator only.

        Reads only the row groups that hold them: masks of a whole split may be gigabytes.
        """
        file = LABEL_FILES[split]
        table = _read(self.url, file) if ids is None else _rows_of(self.url, file, ids)
        table = table.filter(table["label"].is_valid())
        return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def _read(url: str, file: str, columns: list[str] | None = None) -> pa.Table:
    with _opened(url, file) as parquet:
        try:
            return parquet.read(columns)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(url, file, error) from error


def _rows_of(url: str, file: str, ids: Sequence[str]) -> pa.Table:
    """All columns of the rows of these ids, in the order of the file."""
    wanted = pa.array(ids, pa.string())
    with _opened(url, file) as parquet:
        try:
            found = [parquet.schema_arrow.empty_table()]
            for group in range(parquet.num_row_groups):
                kept = pc.is_in(parquet.read_row_group(group, ["id"])["id"], value_set=wanted)
                if pc.any(kept).as_py():
                    found.append(parquet.read_row_group(group).filter(kept))
        except (OSError, pa.ArrowException) as error:
            raise _damaged(url, file, error) from error
    return pa.concat_tables(found)


@contextmanager
def _opened(url: str, file: str) -> Iterator[pq.ParquetFile]:
    fs, path = url_to_fs(f"{url}/{file}")
    try:
        parquet = pq.ParquetFile(path, filesystem=fs, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(url, file, error) from error
    with parquet:
        yield parquet


def _damaged(url: str, place: str, error: Exception) -> DataError:
    return DataError(f"{url}/{place} is damaged or missing ({error}); {prepared_anew(url)}")
