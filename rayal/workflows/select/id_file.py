"""A user's file of ids: a list of them, or one with a cost or a group of each.

`.txt` has an id a line; `.csv`, with commas and a header, and `.parquet` have a column `id`, text
or whole numbers, and where it is asked for `cost` or `group`. All are UTF-8; a byte order mark and
Windows line ends are no part of an id. A .csv that rayal wrote gives the very ids that it was
written from.
"""

import os
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.errors import DataError, quoted
from rayal.storage import csv_file
from rayal.storage.columns import as_text, held, plain
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places

Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True)
class PerUnit(Generic[Number]):
    """A number of each of many units."""

    places: Places
    values: NDArray[Number]

    def of(self, ids: Ids) -> NDArray[Number]:
        """Those of these units, which must be among them."""
        found = self.places.of(ids)
        assert (found >= 0).all()
        return self.values[found]


def read_ids(location: str) -> Ids:
    """The different ids in a file, in its order. Raises DataError for a file of another form."""
    return Ids(_table(location, []).column("id").unique())


def read_costs(location: str) -> PerUnit[np.float64]:
    """Columns id and cost. Raises DataError where one is missing, no amount, or there twice."""
    table = _table(location, ["cost"])
    ids = _once(location, table)
    try:
        costs = table["cost"].cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise DataError(f"{location}: a cost is not a number: {error}") from error
    good = np.isfinite(costs) & (costs >= 0)
    if not good.all():
        first = int(good.argmin())
        raise DataError(
            f"{location}: the cost of {quoted(ids[first])} is {table['cost'][first]}; it must be a"
            " number, 0 or more"
        )
    return PerUnit(Places(ids), costs)


def read_groups(location: str) -> PerUnit[np.int64]:
    """Columns id and group, of which a number stands for each. Raises DataError as `read_costs`."""
    table = _table(location, ["group"])
    ids = _once(location, table)
    if table["group"].null_count:
        first = pc.is_null(table["group"]).index(True).as_py()
        raise DataError(f"{location}: {quoted(ids[first])} has no group")
    codes = table["group"].combine_chunks().dictionary_encode().indices
    return PerUnit(Places(ids), codes.to_numpy().astype(np.int64))


def _once(location: str, table: pa.Table) -> Ids:
    ids = table["id"]
    if len(ids.unique()) < len(ids):
        counts = ids.value_counts()
        first = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
        raise DataError(f"{location}: {quoted(first.as_py())} is there more than once")
    return Ids(ids)


def _table(location: str, columns: list[str]) -> pa.Table:
    """Columns id (string) and these."""
    path = location if "://" in location else os.path.abspath(os.path.expanduser(location))
    folder, _, name = path.rpartition("/")
    kind = name.rpartition(".")[2].lower()
    readers = {"csv": csv_file.parse, "parquet": _parquet} | ({} if columns else {"txt": _txt})
    if kind not in readers:
        known = " or ".join(f".{each}" for each in readers)
        raise DataError(f"{location} is no {known} file; give the ids in one of these")
    data = Folder(folder or "/").read(name)
    try:
        table = readers[kind](data)
    except (ValueError, pa.ArrowException) as error:  # UnicodeError is a ValueError
        raise DataError(f"{location} cannot be read as .{kind}: {error}") from error
    for column in ("id", *columns):
        if (count := table.schema.names.count(column)) != 1:
            raise DataError(
                f"{location} has {count} columns {column!r}; it needs one, and has:"
                f" {', '.join(table.schema.names)}"
            )
    kind = plain(table["id"].type)
    if kind not in (pa.string(), pa.int64()):
        raise DataError(f"{location}: the ids are {kind}; they must be strings or whole numbers")
    ids = as_text(table["id"])
    if ids.null_count or pc.any(pc.equal(ids, "")).as_py():
        raise DataError(f"{location}: a row has no id")
    return table.set_column(table.schema.get_field_index("id"), "id", ids)


def _txt(data: bytes) -> pa.Table:
    lines = (line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n"))
    return pa.table({"id": pa.array([line for line in lines if line], pa.string())})


def _parquet(data: bytes) -> pa.Table:
    table = pq.ParquetFile(pa.BufferReader(data)).read()
    return pa.table([held(column) for column in table.columns], names=table.schema.names)
