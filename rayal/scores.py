"""The file of one scored shard: a row per unit, written with page checksums, joined by id only.

Columns: id, status (`ok`, or why the image could not be decoded), `score.<strategy>`,
`keep.<signal>` and `probs` (float16), the last two as fixed-size lists. Units that could not be
decoded come last and have null in every other column.
"""

import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.errors import StorageError
from rayal.selection import Scored
from rayal.signals import SignalName
from rayal.storage import FileRecord, Folder, Json

OK = "ok"


def encode(
    ids: Sequence[str], columns: Mapping[str, NDArray[np.floating]], bad: Mapping[str, str]
) -> bytes:
    """The bytes of one shard: `ids` with their columns (N or N x ...), then the bad ones."""
    failed = sorted(bad.items())
    data: dict[str, pa.Array] = {
        "id": pa.array([*ids, *(unit for unit, _ in failed)], pa.string()),
        "status": pa.array([OK] * len(ids) + [reason for _, reason in failed], pa.string()),
    }
    for name, values in columns.items():
        good = _column(values)
        data[name] = pa.concat_arrays([good, pa.nulls(len(failed), good.type)])
    sink = io.BytesIO()
    pq.write_table(pa.table(data), sink, write_page_checksum=True, compression="zstd")
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
        there = file.schema_arrow.names
        return file.read(there if columns is None else [c for c in columns if c in there])
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{folder.url}/{name} is damaged ({error}); delete this stage's folder to score again"
        ) from error


def read_good(
    folder: Folder, name: str, columns: Sequence[str], record: FileRecord | None = None
) -> pa.Table:
    """As `read`, without the units that could not be decoded."""
    table = read(folder, name, ["status", *columns], record)
    return table.filter(pc.equal(table["status"], OK))


def load(folder: Folder, result: Json, column: str, keeps: Iterable[SignalName] = ()) -> Scored:
    """One strategy's scores of a finished pass, sorted by id, undecodable units left out."""
    score, kept = f"score.{column}", [f"keep.{signal}" for signal in keeps]
    records = [FileRecord(**file) for file in result["shards"]]
    shards = [read_good(folder, file.name, ["id", score, *kept], file) for file in records]
    if not shards:  # no candidate is left
        return Scored(np.empty(0, object), np.empty(0), np.empty(0))
    table = pa.concat_tables(shards).sort_by("id")
    return Scored(
        np.array(table["id"].to_pylist(), dtype=object),
        table[score].to_numpy() if score in table.column_names else None,
        np.ones(table.num_rows),
        {name.removeprefix("keep."): matrix(table[name]) for name in kept},
    )


def matrix(column: pa.ChunkedArray) -> NDArray[np.floating]:
    """A fixed-size list column without nulls as an array, rows x width."""
    flat: NDArray[np.floating] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def _column(values: NDArray[np.floating]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    flat = values.reshape(len(values), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
