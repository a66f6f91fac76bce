"""Parquet files that other programs wrote, anywhere: opened, and their columns compared."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.errors import DataError
from rayal.storage.columns import BYTES, plain
from rayal.storage.location import located
from rayal.storage.mistaken import HEAD, mistaken

UNPACKED = 2**30
"""Bytes that are read at a time without asking whether the file has said so."""
THREADS = 16  # that read footers; they wait for the storage most of the time


class Footer(NamedTuple):
    """What a file says about itself."""

    types: dict[str, pa.DataType]
    """Of the columns asked for, as `columns.plain` has them."""
    bytes: int
    groups: tuple[int, ...]
    """Rows of each row group."""
    sizes: dict[str, int]
    """Bytes of the columns asked for, all rows together, without compression."""


def footers(files: Sequence[str], names: Sequence[str]) -> dict[str, Footer]:
    """The footers of files, in their order; DataError naming the first that has other columns.

    `names` are columns that each must have, once, and with one type; that of a file without rows
    does not matter, and is given as that of the others.
    """
    with ThreadPoolExecutor(THREADS) as threads:
        found = dict(zip(files, threads.map(partial(_footer, names), files), strict=True))
    filled = [file for file, footer in found.items() if any(footer.groups)] or list(files)
    for file in filled:
        _compare(file, found[file].types, filled[0], found[filled[0]].types)
    return {file: footer._replace(types=found[filled[0]].types) for file, footer in found.items()}


@contextmanager
def open_parquet(file: str) -> Iterator[pq.ParquetFile]:
    """The file; DataError naming it when it is not whole, then or while it is read."""
    with readable(file), parquet_file(file) as parquet:
        yield parquet


@contextmanager
def readable(place: str) -> Iterator[None]:
    """DataError naming `place` for what cannot be read inside."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())  # Arrow's has several lines
        raise DataError(f"{place} cannot be read: {reason}; restore it from a copy") from error


def parquet_file(file: str, **reading: Any) -> pq.ParquetFile:
    """The file at an absolute path or URL, with the options of pyarrow for reading.

    Pages that have checksums are checked. Raises OSError or ArrowException; DataError for what is
    something else, such as a page of the web.
    """
    fs, path = (None, file) if os.path.isabs(file) else located(file)
    try:
        return pq.ParquetFile(path, filesystem=fs, page_checksum_verification=True, **reading)
    except pa.ArrowInvalid as error:
        with open(path, "rb") if fs is None else fs.open(path, "rb") as opened:
            what = mistaken(opened.read(HEAD))
        if what:
            raise DataError(f"{file} {what}") from error
        raise


def swells(metadata: pq.FileMetaData, groups: Iterable[int], names: Sequence[str]) -> bool:
    """Whether columns might take more than UNPACKED bytes although the file is small: what it says
    of its size counts a value once that a dictionary repeats."""
    return any(
        column.physical_type == "BYTE_ARRAY"
        and any("DICTIONARY" in encoding for encoding in column.encodings)
        and column.num_values * column.total_uncompressed_size > UNPACKED
        for column in _columns(metadata, groups, names)
    )


def within_bounds(
    batches: Iterable[pa.RecordBatch],
    file: str,
    metadata: pq.FileMetaData,
    groups: Iterable[int],
    names: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """The batches; DataError where they take far more than the file says of these columns."""
    stored = sum(each.total_uncompressed_size for each in _columns(metadata, groups, names))
    total = 0
    for batch in batches:
        total += batch.nbytes
        if total > max(UNPACKED, 2 * stored):
            raise DataError(
                f"{file}: columns {', '.join(names)} take more than {total:,} bytes when unpacked,"
                f" of which the file says {stored:,}, for it repeats long values; write it again"
                " without dictionaries (of pyarrow: use_dictionary=False)"
            )
        yield batch


def _columns(
    metadata: pq.FileMetaData, groups: Iterable[int], names: Sequence[str]
) -> Iterator[pq.ColumnChunkMetaData]:
    """Those that Parquet has cut these columns into."""
    for group in groups:
        chunks = metadata.row_group(group)
        for place in range(chunks.num_columns):
            column = chunks.column(place)
            if column.path_in_schema.split(".")[0] in names:
                yield column


def _footer(names: Sequence[str], file: str) -> Footer:
    with open_parquet(file) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
        each = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    if missing := [name for name in names if name not in schema.names]:
        listed, there = ", ".join(map(repr, missing)), ", ".join(schema.names)
        noun = "column" if len(missing) == 1 else "columns"
        raise DataError(f"{file} has no {noun} {listed}; it has {there}")
    for name in names:
        if (times := schema.names.count(name)) > 1:
            raise DataError(f"{file} has {times} columns {name!r}; rename all but one")
    with readable(file):
        size = os.stat(file).st_size if os.path.isabs(file) else _remote_size(file)
    return Footer(
        types={name: _type(file, schema.field(name)) for name in names},
        bytes=size,
        groups=tuple(group.num_rows for group in each),
        sizes={name: _stored(metadata.schema, each, name) for name in names},
    )


def _type(file: str, field: pa.Field) -> pa.DataType:
    kind = plain(field.type)
    named = (field.metadata or {}).get(b"ARROW:extension:name")
    if named and kind == pa.binary() and field.type not in BYTES:
        raise DataError(
            f"{file}: column {field.name!r} holds {named.decode(errors='replace')}, which only its"
            " writer can read; write it as binary, or as Arrow's fixed-shape tensor"
        )
    return kind


def _stored(schema: pq.ParquetSchema, groups: Sequence[pq.RowGroupMetaData], name: str) -> int:
    """Of a column, which Parquet may have cut into several."""
    paths = [schema.column(place).path for place in range(len(schema))]
    own = [n for n, path in enumerate(paths) if path == name or path.startswith(f"{name}.")]
    return sum(group.column(place).total_uncompressed_size for group in groups for place in own)


def _remote_size(url: str) -> int:
    fs, path = located(url)
    return int(fs.info(path)["size"])


def _compare(
    file: str, types: dict[str, pa.DataType], first: str, expected: dict[str, pa.DataType]
) -> None:
    for name, kind in types.items():
        if kind != expected[name]:
            raise DataError(
                f"{file}: column {name!r} holds {kind}, in {os.path.basename(first)}"
                f" {expected[name]}; write it again with one type"
            )
