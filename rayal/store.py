"""A prepared dataset: Parquet files that every worker reads, and the card that describes them.

```
card.json                  written last: its existence means that the store is whole
pool/part-00000.parquet    id, image; row groups of `card.group_rows`
test/part-00000.parquet
labels.parquet             id, label of the pool; only the oracle and the evaluator open it
test_labels.parquet
```
N images of C channels, H rows, W columns.
"""

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from rayal import uri
from rayal.card import Card, SplitName, read_card
from rayal.errors import DataError
from rayal.images import BadImage, Decoding, Pixels, decode
from rayal.source import quoted

LABEL_FILES: dict[SplitName, str] = {"pool": "labels.parquet", "test": "test_labels.parquet"}


class Shard(NamedTuple):
    """Consecutive row groups of one file: the unit of work of a pass over a split."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody misses
    file: str
    first_group: int
    groups: int
    rows: int


class Decoded(NamedTuple):
    """The good images of some rows, and why the others are not."""

    ids: list[str]
    images: Pixels  # N C H W, aligned with ids
    bad: dict[str, str]  # id -> reason


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

    def ids(self) -> list[str]:
        """All ids in the order of the split."""
        ids: list[str] = self._ids.to_pylist()
        return ids

    def shards(self, rows: int) -> list[Shard]:
        """The split cut into shards of the fewest row groups that hold `rows` images.

        The last shard of a file may be smaller. The cut depends on the store and `rows` only.
        """
        step = -(-rows // self.card.group_rows)
        cuts = [
            (file, first, min(step, self._groups(count) - first), count)
            for file, count in self._parts.items()
            for first in range(0, self._groups(count), step)
        ]
        size = self.card.group_rows
        return [
            Shard(index, file, first, groups, min(count - first * size, groups * size))
            for index, (file, first, groups, count) in enumerate(cuts)
        ]

    def read(self, shard: Shard, keep: Container[str] | None = None) -> pa.Table:
        """Columns id and image (undecoded) of a shard; with `keep`, only the rows of those ids."""
        groups = range(shard.first_group, shard.first_group + shard.groups)
        table = pa.concat_tables(self._read_groups(shard.file, groups))
        if keep is None:
            return table
        return table.filter(pa.array([unit in keep for unit in table["id"].to_pylist()]))

    def take(self, ids: Sequence[str]) -> pa.Table:
        """Columns id and image (undecoded) of these ids, in the order given.

        Reads only the row groups that hold them. Raises DataError for an id that is not there.
        """
        positions = self._positions(ids)
        order = np.argsort(positions, kind="stable")
        found = [self._schema.empty_table()]
        for file, groups in self._places(positions[order]):
            tables = self._read_groups(file, list(groups))
            found += [
                t.take(pa.array(rows)) for t, rows in zip(tables, groups.values(), strict=True)
            ]
        return pa.concat_tables(found).take(pa.array(np.argsort(order)))

    def decode(self, rows: pa.Table) -> Decoded:
        """The pixels of rows that `read` or `take` returned; bad images apart, with the reason."""
        card = self.card
        if card.encoding == "raw":
            return self._reshape(rows)
        assert card.decoding is not None
        ids, images, bad = [], [], {}
        for unit, stored in zip(rows["id"].to_pylist(), rows["image"].to_pylist(), strict=True):
            try:
                images.append(_pixels(stored, card.decoding, card.image.shape))
                ids.append(unit)
            except BadImage as error:
                bad[unit] = card.bad.get(unit, str(error))
        empty = np.empty((0, *card.image.shape), np.uint8)
        return Decoded(ids, np.stack(images) if images else empty, bad)

    def _reshape(self, rows: pa.Table) -> Decoded:
        """Bad images of a raw store are null."""
        good, bad = rows, {}
        if rows["image"].null_count:
            valid = rows["image"].is_valid()
            good = rows.filter(valid)
            bad = {unit: self.card.bad[unit] for unit in _list(rows.filter(pc.invert(valid)))}
        return Decoded(_list(good), _as_array(good["image"], self.card.image.shape), bad)

    @cached_property
    def _parts(self) -> dict[str, int]:
        return self.card.parts_of(self.name)

    @cached_property
    def _schema(self) -> pa.Schema:
        with _opened(self.url, next(iter(self._parts))) as parquet:
            return parquet.schema_arrow

    @cached_property
    def _ids(self) -> pa.StringArray:
        tables = [
            table
            for file, rows in self._parts.items()
            for table in self._read_groups(file, range(self._groups(rows)), ["id"])
        ]
        return pa.concat_tables(tables)["id"].combine_chunks()

    def _groups(self, rows: int) -> int:
        return -(-rows // self.card.group_rows)

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
        with _opened(self.url, file) as parquet:
            for group in groups:
                try:
                    table = parquet.read_row_group(group, columns=columns)
                except (OSError, pa.ArrowException) as error:
                    raise _damaged(self.url, f"{file}, row group {group}", error) from error
                yield table


class Store:
    """A prepared dataset at any fsspec location. Pickled as its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.url,)

    @cached_property
    def card(self) -> Card:
        """What the store holds; raises DataError when it is not whole."""
        return read_card(self.url)

    @cached_property
    def pool(self) -> Split:
        """The images to choose from."""
        return Split(self.url, "pool")

    @cached_property
    def test(self) -> Split:
        """The images that only the evaluation sees."""
        return Split(self.url, "test")

    def labels(self, split: SplitName) -> dict[str, int]:
        """Id -> class index. For the oracle and the evaluator only."""
        file = LABEL_FILES[split]
        try:
            with _opened(self.url, file) as parquet:
                table = parquet.read()
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.url, file, error) from error
        return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def _pixels(stored: bytes | str, decoding: Decoding, shape: tuple[int, int, int]) -> Pixels:
    image = decode(uri.read(stored) if isinstance(stored, str) else stored, decoding)
    if image.shape != shape:  # a file that changed after it was prepared
        raise BadImage(f"is {image.shape} instead of {shape} (C, H, W)")
    return image


def _as_array(column: pa.ChunkedArray, shape: tuple[int, int, int]) -> Pixels:
    """(N, C, H, W), writable: one copy out of Arrow's memory, nothing in between."""
    images = np.empty((len(column), *shape), np.uint8)
    start, size = 0, math.prod(shape)
    for chunk in column.chunks:
        if len(chunk):
            flat = np.frombuffer(
                chunk.buffers()[1], np.uint8, len(chunk) * size, chunk.offset * size
            )
            images[start : start + len(chunk)] = flat.reshape(-1, *shape)
            start += len(chunk)
    return images


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
    return DataError(
        f"{url}/{place} is damaged or missing ({error});"
        " delete this folder and start again: it will be prepared anew"
    )


def _list(rows: pa.Table) -> list[str]:
    ids: list[str] = rows["id"].to_pylist()
    return ids
