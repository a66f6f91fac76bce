"""Somebody's files of vectors: Parquet, npz, or npy with what its rows are beside it.

N units, D numbers of each.
"""

import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.data.datasets._labels import check_kind
from rayal.errors import DataError
from rayal.storage import csv_file
from rayal.storage.columns import is_text
from rayal.storage.parquet import open_parquet

LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
BESIDE = (".csv", ".txt", ".npy")
"""What the ids and the labels of an .npy may be in."""
ROWS = 4096
"""Vectors of an .npy in memory at a time."""

Vectors = NDArray[np.float16]  # N D


class Part(NamedTuple):
    """What the file of one split holds."""

    ids: Sequence[str]
    vectors: "Vectors | Mapped"
    labels: Sequence[Any]
    """None for all units where nobody has labeled them."""


class Mapped:
    """The vectors of an .npy, which stay in it: a few are in memory at a time."""

    def __init__(self, numbers: NDArray[Any]) -> None:
        self.numbers, self.shape = numbers, numbers.shape

    def __iter__(self) -> Iterator[Vectors]:
        for start in range(0, len(self.numbers), ROWS):
            yield from halved(self.numbers[start : start + ROWS])


class VectorFile(NamedTuple):
    """A file of vectors, and what its columns or arrays are called."""

    path: Path
    id: str
    features: str
    label: str | None
    """None where nobody has labeled its units."""

    def read(self) -> Part:
        """Raises DataError, with the file, for one of another form."""
        path = self.path
        kinds = {".npz": self._npz, ".parquet": self._parquet, ".npy": self._npy}
        if path.suffix not in kinds:
            raise DataError(
                f"{path} is no .npz, .npy or .parquet file; give features in one of these"
            )
        try:
            return kinds[path.suffix]()
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
            if isinstance(error, DataError):
                raise
            reason = " ".join(str(error).split())
            named = ", ".join((self.id, self.features, *([self.label] if self.label else [])))
            raise DataError(
                f"{path} does not hold {named}: {reason}; write it again, or name its columns in"
                " dataset.id, features and label"
            ) from error

    def files(self) -> list[Path]:
        """The file itself and, of an .npy, those beside it; raises FileNotFoundError where these
        are missing."""
        if self.path.suffix != ".npy" or not self.path.exists():
            return [self.path]
        ids = self._beside("ids")
        labeled = self.label is not None and ids.suffix != ".csv"
        return [self.path, ids, *([self._beside("labels")] if labeled else [])]

    def _npz(self) -> Part:
        with np.load(self.path, allow_pickle=False) as arrays:
            ids, vectors = arrays[self.id], arrays[self.features]
            labels = [None] * len(ids) if self.label is None else arrays[self.label].tolist()
        return _checked(_texts(ids, self.id), vectors, labels, halved)

    def _npy(self) -> Part:
        """The vectors stay in the file."""
        vectors = np.load(self.path, mmap_mode="r", allow_pickle=False)
        ids, labels = self._beside("ids"), None
        if ids.suffix == ".csv":
            table = csv_file.parse(ids.read_bytes())
            self._check_columns(table.column_names, self.id, self.label)
            found = table[self.id].to_pylist()
            labels = None if self.label is None else table[self.label].to_pylist()
        else:
            found = _texts(_lines(ids), ids.name)
            labels = None if self.label is None else _lines(self._beside("labels")).tolist()
        if vectors.dtype.kind not in "fiu":
            raise ValueError(f"features are {vectors.dtype}, not numbers")
        return _checked(found, vectors, labels or [None] * len(found), Mapped)

    def _beside(self, what: str) -> Path:
        """The first there is of `pool_ids.csv`, `pool_ids.txt` and `pool_ids.npy`."""
        stem = self.path.with_suffix("")
        places = [stem.with_name(f"{stem.name}_{what}{suffix}") for suffix in BESIDE]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise FileNotFoundError(
                2, "missing", f"{places[0]} (or {', '.join(place.suffix for place in places[1:])})"
            )
        return found

    def _parquet(self) -> Part:
        with open_parquet(str(self.path)) as parquet:
            kinds = {field.name: field.type for field in parquet.schema_arrow}
            columns = [self.id, *([] if self.label is None else [self.label])]
            self._check_columns(kinds, self.id, self.label, self.features)
            if not is_text(kinds[self.id]):
                raise ValueError(f"column {self.id} holds {kinds[self.id]}, not strings")
            if self.label is not None:
                check_kind(self.label, kinds[self.label])
            table = parquet.read(columns=columns, use_threads=False)
            vectors = self._lists(parquet, kinds[self.features])
        labels = [None] * len(table) if self.label is None else table[self.label].to_pylist()
        return Part(table[self.id].to_pylist(), vectors, labels)

    def _check_columns(self, there: Collection[str], *names: str | None) -> None:
        if missing := [name for name in names if name is not None and name not in there]:
            unlabeled = self.label in missing
            way = "; where nobody has labeled the pool, set label: null" if unlabeled else ""
            columns = ", ".join(there)
            raise ValueError(f"no column {', '.join(missing)}, its columns are {columns}{way}")

    def _lists(self, parquet: pq.ParquetFile, kind: pa.DataType) -> Vectors:
        """The column of vectors, a few rows at a time: only their halves are in memory at once."""
        if not any(is_(kind) for is_ in LISTS) or not _is_number(kind.value_type):
            raise ValueError(f"column {self.features} holds {kind}, not lists of numbers")
        found, start = np.empty((0, 0), np.float16), 0
        for batch in parquet.iter_batches(columns=[self.features], use_threads=False):
            column = batch.column(0)
            values = column.flatten()
            if column.null_count or values.null_count:
                raise ValueError(f"row {start} or one after it has no {self.features} (null)")
            if len(values) % len(column) or _lengths(column) > 1:
                raise ValueError(f"vectors from row {start} on differ in length")
            rows = halved(values.to_numpy(zero_copy_only=False).reshape(len(column), -1))
            if not start:
                found = np.empty((parquet.metadata.num_rows, rows.shape[1]), np.float16)
            if rows.shape[1] != found.shape[1]:
                raise ValueError(f"vectors from row {start} on differ in length")
            found[start : start + len(rows)] = rows
            start += len(rows)
        return found


def halved(numbers: NDArray[Any]) -> Vectors:
    """As float16; what is too large for it becomes infinite, which is no feature."""
    if numbers.dtype.kind not in "fiu":
        raise ValueError(f"features are {numbers.dtype}, not numbers")
    with np.errstate(over="ignore"):
        return numbers.astype(np.float16)


def _checked(ids: Sequence[str], vectors: NDArray[Any], labels: Sequence[Any], made: Any) -> Part:
    if vectors.ndim != 2 or not len(ids) == len(vectors) == len(labels):
        shapes = f"{(len(ids),)}, {vectors.shape} and {(len(labels),)}"
        raise ValueError(
            f"ids, features and labels have the shapes {shapes}; they are N, N x D and N"
        )
    return Part(ids, made(vectors), labels)


def _texts(ids: NDArray[Any], name: str) -> list[str]:
    if ids.dtype.kind != "U":
        raise ValueError(f"{name} holds {ids.dtype}, not strings")
    found: list[str] = ids.tolist()
    return found


def _lines(path: Path) -> NDArray[Any]:
    """The entries of an .npy, or the lines of a .txt."""
    if path.suffix == ".npy":
        found: NDArray[Any] = np.load(path, allow_pickle=False)
        return found
    lines = path.read_text("utf-8-sig").splitlines()
    return np.array(lines, dtype=np.str_)


def _lengths(column: pa.Array) -> int:
    """How many different lengths lists have."""
    return len(pc.list_value_length(column).unique())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
