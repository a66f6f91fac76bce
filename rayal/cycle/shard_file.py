"""The file of one scored shard: a row per unit, written with page checksums, joined by id only.

Columns: id, status (`ok`, or why the image could not be decoded), `score.<strategy>`, other numbers
such as `predicted`, and `keep.<signal>` and `probs` (float16), both fixed-size lists. Features of a
linear layer on vectors are not in it: they are read where the dataset has them. Units that could
not be decoded come last and have null in every other column, NaN in lists: Parquet would not give
null lists of a fixed size back.
"""

import io
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.cycle.referred import FEATURES, Referred
from rayal.errors import DataError, LostError
from rayal.runs.passes import Pass
from rayal.selection.candidates import Candidates
from rayal.signals.signal import signal_of
from rayal.storage.failures import storage_errors
from rayal.storage.folder import FileRecord, Folder, recorded
from rayal.storage.ids import Ids, Places
from rayal.storage.stage_file import of_stage

OK = "ok"
JOB, SCHEMA, REFERRED = b"rayal.job", b"rayal.schema", b"rayal.referred"


def encode(
    ids: Sequence[str],
    columns: Mapping[str, NDArray[np.floating] | NDArray[np.integer]],
    bad: Mapping[str, str],
    job: str = "",
    referred: Referred | None = None,
) -> bytes:
    """The bytes of one shard: `ids` with their columns (N or N x ...), then the bad ones.

    `job` is the digest of what decided the scores, for `job_of` to tell; `referred`: where the
    features lie that are not among the columns.
    """
    failed = sorted(bad.items())
    data: dict[str, pa.Array] = {
        "id": pa.array([*ids, *(unit for unit, _ in failed)], pa.string()),
        "status": pa.concat_arrays(
            [pa.repeat(OK, len(ids)), pa.array([reason for _, reason in failed], pa.string())]
        ),
    }
    for name, values in columns.items():
        data[name] = _column(values, len(failed))
    sink = io.BytesIO()
    table = pa.table(data)
    metadata = {JOB: job, SCHEMA: _described(table.schema)}
    metadata |= {} if referred is None else {REFERRED: referred.encode()}
    table = table.replace_schema_metadata(metadata)
    lists = [field.name for field in table.schema if pa.types.is_fixed_size_list(field.type)]
    # scores hardly repeat: dictionaries of them would take longer than all else, and more space;
    # high and low bytes of what is kept apart: less space, in half the time
    pq.write_table(
        table,
        sink,
        write_page_checksum=True,
        compression="zstd",
        use_dictionary=["status"],
        use_byte_stream_split=[f"{name}.list.element" for name in lists],
        write_statistics=[name for name in table.column_names if name not in lists],
    )
    return sink.getvalue()


def read_shard(
    folder: Folder,
    name: str,
    columns: Sequence[str] | None = None,
    record: FileRecord | None = None,
) -> pa.Table:
    """Columns of one shard, all by default; those that the file does not have are left out.

    Raises LostError where the file is missing, a page is damaged or `record` says otherwise.
    """
    with of_stage(folder, _way_out(folder)):
        data = folder.read(name, record)
        if columns is not None and FEATURES not in columns:
            return _parsed(folder, name, data, columns)
        own = columns and list(dict.fromkeys([*columns, "id", "status"]))
        whole = _with_features(_parsed(folder, name, data, own), f"{folder.url}/{name}")
    return whole.select([c for c in whole.column_names if columns is None or c in columns])


def _with_features(rows: pa.Table, name: str) -> pa.Table:
    """These rows of a shard, and features that lie elsewhere."""
    elsewhere = (rows.schema.metadata or {}).get(REFERRED)
    if elsewhere is None:
        return rows
    return rows.append_column(FEATURES, Referred.decode(elsewhere).read(rows, name))


def read_recorded(folder: Folder, name: str) -> tuple[pa.Table, FileRecord]:
    """All that is in the file of a shard whose writer has died, and its record; raises like
    `read_shard`."""
    data = folder.read(name)
    return _parsed(folder, name, data), recorded(name, data)


def _parsed(
    folder: Folder, name: str, data: bytes, columns: Sequence[str] | None = None
) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        schema = file.schema_arrow  # pages have checksums, the names and types of columns have not
        described = _described(schema)
        if (schema.metadata or {}).get(SCHEMA, described) != described:
            raise ValueError("its columns are not those that were written")
        there = schema.names
        return file.read(there if columns is None else [c for c in columns if c in there])
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name is not UTF-8
        raise LostError(
            f"{folder.url}/{name} is damaged ({error}); restore it from a copy"
        ) from error


def _way_out(folder: Folder) -> str:
    return (
        f"delete it and {folder.url}/done.json: the `rayal run` or `rayal score` that made them"
        " scores that shard again"
    )


def read_good(
    folder: Folder, name: str, columns: Sequence[str], record: FileRecord | None = None
) -> pa.Table:
    """As `read_shard`, without the units that could not be decoded."""
    table = read_shard(folder, name, ["status", *columns], record)
    good = pc.equal(table["status"], OK)
    return table if pc.all(good).as_py() else table.filter(good)  # a filter copies


def ranges(columns: Mapping[str, NDArray[Any]]) -> dict[str, tuple[float, float]]:
    """The lowest and the highest score of each strategy that gives some, of good units."""
    scores = {name.removeprefix("score."): c for name, c in columns.items() if name[:6] == "score."}
    return {name: (float(c.min()), float(c.max())) for name, c in scores.items() if len(c)}


def job_of(table: pa.Table) -> str | None:
    """The digest of the job that wrote a shard."""
    digest: bytes | None = (table.schema.metadata or {}).get(JOB)
    return None if digest is None else digest.decode()


def shards(folder: Folder, result: Pass, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Columns of a finished pass, shard by shard; the units that could not be decoded are left out,
    as is a shard without any other. A column that no shard has is left out, too.

    Raises DataError for shards that differ in their columns.
    """
    first: pa.Schema | None = None
    for record in result.shards:
        rows = read_good(folder, record.name, columns, record)
        if not rows.num_rows:
            continue  # one of bad images has no scores
        schema = rows.schema.remove_metadata()
        first = schema if first is None else first
        if _described(schema) != _described(first):
            raise DataError(
                f"{folder.url}: the shards do not fit together: {record.name} has"
                f" {_listed(schema)}, the first {_listed(first)}; a strategy or model must give"
                " every unit the same columns of the same width"
            )
        yield rows


def load(
    folder: Folder,
    result: Pass,
    keeps: Collection[str] = (),
    labeled: Collection[str] = (),
    names: Collection[str] | None = None,
    scratch: Path | None = None,
) -> dict[str, Candidates]:
    """The scores of these strategies in a finished pass, or of all, sorted by id, undecodable units
    left out; what the pass kept of `labeled` units is apart.

    `keeps`: `kept_names` of strategies, of each signal at most one. What was kept goes to the disk
    of the folder `scratch`, where there is one: it may not fit the memory. Raises DataError for
    shards that differ in their columns.
    """
    names = result.columns if names is None else names
    columns = {name: f"score.{name}" for name in names}
    tables = [*shards(folder, result, ["id", *columns.values()])]
    table = pa.concat_tables(tables) if tables else pa.table({"id": pa.array([], pa.string())})
    ids = Ids(table["id"])
    known = Places(Ids(labeled)).has(ids)
    order: NDArray[np.intp] = pc.sort_indices(ids.array).to_numpy().astype(np.intp)
    pool, seen = order[~known[order]], order[known[order]]
    kept = _kept(folder, result, keeps, (pool, seen), scratch)
    there = {
        name: table[column] for name, column in columns.items() if column in table.schema.names
    }
    return {
        name: Candidates(
            ids[pool],
            there[name].to_numpy()[pool] if name in there else None if tables else np.empty(0),
            kept={signal: of_pool for signal, (of_pool, _) in kept.items()},
            labeled_ids=ids[seen],
            labeled={signal: of_seen for signal, (_, of_seen) in kept.items()},
        )
        for name in names
    }


def _kept(
    folder: Folder,
    result: Pass,
    keeps: Collection[str],
    orders: Sequence[NDArray[np.intp]],
    scratch: Path | None,
) -> dict[str, list[NDArray[np.floating]]]:
    """By signal what the pass kept, in each of these orders of its good units.

    Without any row there is no column either, and nobody knows its width.
    """
    found: dict[str, list[NDArray[np.floating]]] = {
        signal_of(name): [np.empty((0, 0), np.float16) for _ in orders] for name in keeps
    }
    if not keeps:
        return found
    places = [_inverse(order, sum(map(len, orders))) for order in orders]
    start = 0
    for rows in shards(folder, result, [f"keep.{name}" for name in keeps]):
        for name in keeps:
            if f"keep.{name}" not in rows.schema.names:
                continue
            signal, values = signal_of(name), matrix(rows[f"keep.{name}"])
            if not start:
                found[signal] = [_room(len(o), values, scratch) for o in orders]
            for array, place in zip(found[signal], places, strict=True):
                at = place[start : start + len(values)]
                there = at >= 0
                array[at[there]] = values if there.all() else values[there]
        start += rows.num_rows
    return found


def _inverse(order: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Where each of `size` rows goes in `order`, -1 where it is not in it."""
    places = np.full(size, -1, np.intp)
    places[order] = np.arange(len(order))
    return places


def _room(rows: int, like: NDArray[np.floating], scratch: Path | None) -> NDArray[np.floating]:
    """An array for as many rows as wide as these; in a file without a name on the disk of this
    folder, if given, so that nothing is left of it whatever becomes of this process."""
    shape = (rows, like.shape[1])
    if scratch is None or not rows:
        return np.empty(shape, like.dtype)
    size = rows * like.shape[1] * like.itemsize
    with storage_errors(str(scratch), needed=size), TemporaryFile(dir=scratch) as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a full disk would kill whoever writes a map
        return np.asarray(np.memmap(file, like.dtype, "r+", shape=shape))


def matrix(column: pa.ChunkedArray) -> NDArray[np.floating]:
    """A fixed-size list column without nulls as an array, rows x width."""
    flat: NDArray[np.floating] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def _described(schema: pa.Schema) -> bytes:
    """Names and types of the columns; but not what the items of lists are called there, which
    Parquet and Ray's workers call differently."""
    return repr(_named(schema)).encode()


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in _named(schema))


def _named(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(c.name, re.sub(r"<\w+:", "<", str(c.type))) for c in schema]


def _column(values: NDArray[np.floating] | NDArray[np.integer], failed: int) -> pa.Array:
    if values.ndim == 1:
        good = pa.array(values)
        return pa.concat_arrays([good, pa.nulls(failed, good.type)])
    flat = values.reshape(len(values), -1)
    rows = np.concatenate([flat, np.full((failed, flat.shape[1]), np.nan, flat.dtype)])
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), flat.shape[1])
