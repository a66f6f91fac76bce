"""The file of one scored shard: a row per unit, written with page checksums, joined by id only.

Columns: id, status (`ok`, or why the image could not be decoded), `score.<strategy>`,
`keep.<signal>` and `probs` (float16), the last two as fixed-size lists. Units that could not be
decoded come last and have null in every other column, NaN in lists: Parquet would not give null
lists of a fixed size back.
"""

import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.errors import DataError, StorageError
from rayal.selection import Scored
from rayal.signals import SignalName
from rayal.storage import FileLocation, FileRecord, Folder, Json

OK = "ok"
JOB, SCHEMA = b"rayal.job", b"rayal.schema"


def encode(
    ids: Sequence[str],
    columns: Mapping[str, NDArray[np.floating]],
    bad: Mapping[str, str],
    job: str = "",
) -> bytes:
    """The bytes of one shard: `ids` with their columns (N or N x ...), then the bad ones.

    `job` is the digest of what decided the scores, for `job_of` to tell.
    """
    failed = sorted(bad.items())
    data: dict[str, pa.Array] = {
        "id": pa.array([*ids, *(unit for unit, _ in failed)], pa.string()),
        "status": pa.array([OK] * len(ids) + [reason for _, reason in failed], pa.string()),
    }
    for name, values in columns.items():
        data[name] = _column(values, len(failed))
    sink = io.BytesIO()
    table = pa.table(data)
    table = table.replace_schema_metadata({JOB: job, SCHEMA: _described(table.schema)})
    pq.write_table(table, sink, write_page_checksum=True, compression="zstd")
    return sink.getvalue()


def read(
    folder: Folder,
    name: str,
    columns: Sequence[str] | None = None,
    record: FileRecord | None = None,
) -> pa.Table:
    """Columns of one shard, all by default; those that the file does not have are left out.

    Raises StorageError where the file is missing, a page is damaged or `record` says otherwise.
    """
    data = pa.BufferReader(folder.read(name, record))
    try:
        file = pq.ParquetFile(data, page_checksum_verification=True)
        schema = file.schema_arrow  # pages have checksums, the names and types of columns have not
        described = _described(schema)
        if (schema.metadata or {}).get(SCHEMA, described) != described:
            raise ValueError("its columns are not those that were written")
        there = schema.names
        return file.read(there if columns is None else [c for c in columns if c in there])
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name is not UTF-8
        raise StorageError(
            f"{folder.url}/{name} is damaged ({error}); delete this stage's folder to score again"
        ) from error


def read_good(
    folder: Folder, name: str, columns: Sequence[str], record: FileRecord | None = None
) -> pa.Table:
    """As `read`, without the units that could not be decoded."""
    table = read(folder, name, ["status", *columns], record)
    return table.filter(pc.equal(table["status"], OK))


def job_of(table: pa.Table) -> str | None:
    """The digest of the job that wrote a shard."""
    digest: bytes | None = (table.schema.metadata or {}).get(JOB)
    return None if digest is None else digest.decode()


def load(
    folder: Folder,
    result: Json,
    keeps: Collection[SignalName] = (),
    labeled: Collection[str] = (),
    trained: Mapping[str, FileLocation] | None = None,
) -> dict[str, Scored]:
    """All strategies' scores of a finished pass, sorted by id, undecodable units left out; what
    the pass kept of `labeled` units is apart. `trained` is handed on.

    Raises DataError for shards that differ in their columns.
    """
    names = [f"score.{name}" for name in result["columns"]]
    records = [FileRecord(**file) for file in result["shards"]]
    wanted = ["id", *names, *(f"keep.{signal}" for signal in keeps)]
    shards = [read_good(folder, file.name, wanted, file) for file in records]
    shards = [shard for shard in shards if shard.num_rows]  # one of bad images has no scores
    try:
        table = pa.concat_tables(shards or [pa.table({"id": pa.array([])})]).sort_by("id")
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{folder.url}: the shards do not fit together ({error}); a strategy or model must give"
            " every unit the same columns of the same width"
        ) from error
    known = np.array([unit in labeled for unit in table["id"].to_pylist()], bool)
    pool, seen = table.filter(pa.array(~known)), table.filter(pa.array(known))
    ids, labeled_ids = _ids(pool), _ids(seen)
    there = set(table.column_names)
    return {
        name.removeprefix("score."): Scored(
            ids,
            pool[name].to_numpy() if name in there else np.empty(0) if not shards else None,
            np.ones(len(ids)),
            _kept(pool, keeps),
            labeled_ids,
            _kept(seen, keeps),
            trained or {},
        )
        for name in names
    }


def _ids(table: pa.Table) -> NDArray[np.object_]:
    return np.array(table["id"].to_pylist(), dtype=object)


def _kept(table: pa.Table, keeps: Iterable[SignalName]) -> dict[str, NDArray[np.floating]]:
    """Without any row there is no column either, and nobody knows its width."""
    nothing = np.empty((0, 0), np.float16)
    there = set(table.column_names)
    columns = {signal: f"keep.{signal}" for signal in keeps}
    return {
        signal: matrix(table[column]) if column in there else nothing
        for signal, column in columns.items()
    }


def matrix(column: pa.ChunkedArray) -> NDArray[np.floating]:
    """A fixed-size list column without nulls as an array, rows x width."""
    flat: NDArray[np.floating] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def _described(schema: pa.Schema) -> bytes:
    """Names and types of the columns; but not what the items of lists are called there, which
    Parquet and Ray's workers call differently."""
    return repr([(c.name, re.sub(r"<\w+:", "<", str(c.type))) for c in schema]).encode()


def _column(values: NDArray[np.floating], failed: int) -> pa.Array:
    if values.ndim == 1:
        good = pa.array(values)
        return pa.concat_arrays([good, pa.nulls(failed, good.type)])
    flat = values.reshape(len(values), -1)
    rows = np.concatenate([flat, np.full((failed, flat.shape[1]), np.nan, flat.dtype)])
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), flat.shape[1])
