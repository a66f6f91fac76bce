"""The Parquet files of a store while they are written: one column beside the ids, row groups of
one size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data import uri
from rayal.data.bad_image import BadImage
from rayal.data.card import Encoding, Numbers, Shape, SplitName
from rayal.data.source import AnyImage, AnyMask
from rayal.data.store import LABEL_FILES
from rayal.data.survey import Look
from rayal.errors import UsageError

PART_BYTES, PART_ROWS = 256 * 2**20, 2**16
"""A new file is begun when this much (bytes) or many (images) are in the last one: whoever reads a
few images reads the directory of the file first."""

Value = bytes | str | None


class Files:
    """Columns id and `column`, in a file `name`, or in several, numbered where `name` says {}."""

    def __init__(self, out: Path, name: str, column: pa.Field, group_rows: int) -> None:
        self.rows: dict[str, int] = {}
        """File -> its rows."""
        self._out, self._name, self._column, self._group_rows = out, name, column, group_rows
        self._ids, self._values = list[str](), list[Value]()
        self._writer: Any = None
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *more: object) -> None:
        if error is None and self._ids:
            self._write_group()
        if error is None and self._writer is None and not self._numbered:
            self._begin()  # who reads it finds no row, and no missing file
        self._close()

    def write(self, ids: Sequence[str], values: Sequence[Value]) -> None:
        """Append rows; they are held until they fill a row group."""
        self._ids += ids
        self._values += values
        while len(self._ids) >= self._group_rows:
            self._write_group()

    def _write_group(self) -> None:
        if self._writer is None or self._is_full():
            self._begin()
        ids, values = self._ids[: self._group_rows], self._values[: self._group_rows]
        table = pa.table({"id": ids, self._column.name: values}, self._schema)
        self._writer.write_table(table, row_group_size=self._group_rows)
        self.rows[self._file] += len(ids)
        self._bytes += table.nbytes
        del self._ids[: self._group_rows], self._values[: self._group_rows]

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([pa.field("id", pa.string()), self._column])

    @property
    def _numbered(self) -> bool:
        return "{" in self._name

    def _is_full(self) -> bool:
        return self._numbered and (self._bytes >= PART_BYTES or self.rows[self._file] >= PART_ROWS)

    def _begin(self) -> None:
        self._close()
        self._file = self._name.format(len(self.rows))
        self.rows[self._file], self._bytes = 0, 0
        kept: Literal["zstd", "none"] = "zstd" if self._column.type == pa.string() else "none"
        self._writer = pq.ParquetWriter(
            self._out / self._file,
            self._schema,
            compression={"id": "zstd", self._column.name: kept},
            use_dictionary=False,
            write_page_checksum=True,
        )

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class ImageFiles(Files):
    """The images of one split."""

    def __init__(
        self,
        out: Path,
        split: SplitName,
        encoding: Encoding,
        shape: Shape,
        numbers: Numbers,
        group_rows: int,
    ) -> None:
        # Fixed-size binary, not a tensor type: Parquet would keep each pixel as an int32 in nested
        # lists, 1.3 times the bytes and 15 times as slow to read.
        size = int(np.prod(shape)) * np.dtype(numbers).itemsize
        kinds = {"raw": pa.binary(size), "bytes": pa.large_binary(), "uri": pa.string()}
        column = pa.field("image", kinds[encoding])
        super().__init__(out, f"{split}/part-{{:05d}}.parquet", column, group_rows)
        self._encoding = encoding
        (out / split).mkdir()

    def add(self, ids: Sequence[str], looks: Sequence[Look]) -> None:
        """Append images."""
        self.write(ids, [self._kept(seen) for seen in looks])

    def _kept(self, seen: Look) -> Value:
        match self._encoding:
            case "raw":
                return None if seen.pixels is None else seen.pixels.tobytes()
            case "bytes":
                return seen.data
            case "uri":
                return _address(seen.image)


class MaskFile(Files):
    """The masks of one split."""

    def __init__(self, out: Path, split: SplitName, encoding: Encoding, group_rows: int) -> None:
        self._refers = encoding == "uri"
        column = pa.field("label", pa.string() if self._refers else pa.large_binary())
        super().__init__(out, LABEL_FILES[split], column, group_rows)

    def add(self, ids: Sequence[str], looks: Sequence[Look]) -> None:
        """Append the masks of images."""
        labels = [seen.mask.label for seen in looks if seen.mask is not None]
        self.write(ids, [_address(each) for each in labels] if self._refers else labels)


def _address(given: AnyImage | AnyMask | BadImage | None) -> str:
    if not isinstance(given, str):
        raise UsageError(
            f"encoding: uri keeps addresses, and an image is {type(given).__name__}; set encoding"
            " to raw or bytes"
        )
    return uri.checked(given)
