"""Your own Parquet files: a row is a unit; its image is encoded, raw pixels or an address."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from rayal.data import uri
from rayal.data.datasets._labels import Labels, check_kind, classes_of, names_in
from rayal.data.datasets.base import EncodedDataset
from rayal.data.source import AnyImage, Source, Units, row_id
from rayal.errors import DataError, UsageError, quoted
from rayal.storage.columns import (
    content,
    held,
    is_binary,
    is_file,
    is_text,
    tensor_pixels,
    tensor_shape,
)
from rayal.storage.parquet import footers, open_parquet, within_bounds

BATCH = 256  # rows whose images are in memory at a time

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Parquet(EncodedDataset):
    """Files below `root` that all have the same columns, for example `pool: [train-*.parquet]`.

    | the image column is, see storage/columns.py | what it holds                              |
    |---------------------------------------------|--------------------------------------------|
    | bytes                                       | encoded images                             |
    | pixels: a tensor                            | raw pixels                                 |
    | text                                        | paths below `root`, absolute paths or      |
    |                                             | storage URLs                               |
    | struct<bytes, path>                         | encoded images or, where null, such paths  |

    Whole-number ids are taken as row numbers and become train-00012 in the pool and test-00012.
    """

    layout: ClassVar[str] = "Parquet files with columns for id, image and label"

    pool: Names = Field(examples=[["train-*.parquet"]])
    """Names or patterns of the pool's files, below root; those of a pattern are sorted."""
    test: Names = Field(examples=[["test-*.parquet"]])
    """Names or patterns of the test images' files, below root."""
    id: str | None = "id"
    """Column of ids, unique in pool and test together; null: rows are numbered in order."""
    image: str = "image"
    """Column of images."""
    label: str = "label"
    """Column of class indices or class names."""
    classes: tuple[str, ...] | None = None
    """Class names; null: from the files' metadata (`class_names`, a JSON list, or Hugging Face's),
    else those that occur in the pool, sorted, or the numbers up to the largest."""

    def files(self) -> list[str]:
        return [*self._named(self.pool), *self._named(self.test)]

    def source(self) -> Source:
        pool, test = (self._columns(names) for names in (self.pool, self.test))
        first, *_ = footers([*pool.files, *test.files], pool.names).values()
        kind = first.types[self.image]
        self._check_kind(kind)
        check_kind(self.label, first.types[self.label])
        meta = _metadata(pool.files[0])
        labels, truth = pool.labels("train"), test.labels("test")
        named = self.classes or names_in(pool.files[0], meta, self.label)
        classes = named or classes_of(labels, truth)
        return Source(
            classes=classes,
            pool=Units(labels.ids, labels.indices(classes), pool),
            test=Units(truth.ids, truth.indices(classes), test),
            origin=meta.get("origin", f"Parquet files in {self.folder}"),
            licence=meta.get("license", "not stated"),
            encoding="raw" if tensor_shape(kind) else self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _check_kind(self, kind: pa.DataType) -> None:
        if not (tensor_shape(kind) or is_text(kind) or is_binary(kind) or is_file(kind)):
            raise DataError(
                f"column {self.image!r} holds {kind}; images are binary, string, or a fixed-shape"
                " tensor of uint8 with 1 or 3 channels"
            )
        if self.encoding == "uri" and not is_text(kind):
            raise UsageError(
                f"encoding: uri needs a column of addresses, but {self.image!r} holds {kind};"
                " choose another encoding"
            )

    def _named(self, patterns: Sequence[str]) -> list[str]:
        files = list[str]()
        for pattern in patterns:
            found = sorted(glob(pattern, root_dir=self.folder))
            if not found:
                raise DataError(f"{self.folder} has no {pattern}; correct dataset.root or the name")
            files += found
        return files

    def _columns(self, patterns: Sequence[str]) -> "_Columns":
        files = [str(self.folder / name) for name in self._named(patterns)]
        return _Columns(files, self.folder, self.id, self.image, self.label)


@dataclass(frozen=True)
class _Columns:
    """The columns of some files, read on demand. As an iterable: the images."""

    files: list[str]
    root: Path
    id: str | None
    image: str
    label: str

    @property
    def names(self) -> list[str]:
        return [name for name in (self.id, self.image, self.label) if name is not None]

    def labels(self, split: str) -> Labels:
        labels = self.read(self.label)
        given = range(len(labels)) if self.id is None else self.read(self.id)
        ids = [row_id(split, unit) if isinstance(unit, int) else unit for unit in given]
        return Labels(split, ids, labels)

    def read(self, name: str) -> list[Any]:
        """All values of a column."""
        values = list[Any]()
        for file in self.files:
            with open_parquet(file) as parquet:
                groups = range(parquet.metadata.num_row_groups)
                batches = parquet.iter_batches(BATCH, columns=[name])
                place = file, parquet.metadata, groups, [name]
                for batch in within_bounds(batches, *place):
                    values += batch[name].to_pylist()
        return values

    def __iter__(self) -> Iterator[AnyImage | None]:
        for file in self.files:
            with open_parquet(file) as parquet:
                for batch in parquet.iter_batches(BATCH, columns=[self.image]):
                    yield from self._images(batch[self.image])

    def _images(self, column: pa.Array) -> Iterator[AnyImage | None]:
        if tensor_shape(column.type):
            return iter(tensor_pixels(column))  # Arrow cannot read null tensors from Parquet
        found = map(content, held(column).to_pylist())
        return (self._address(each) if isinstance(each, str) else each for each in found)

    def _address(self, path: str) -> str:
        uri.check_is_no_image(path)
        if "://" in path or os.path.isabs(path):
            return uri.checked(path)
        inside = os.path.normpath(self.root / path)
        if os.path.commonpath([self.root, inside]) != str(self.root):
            raise DataError(f"image path {quoted(path)} leads out of {self.root}; make it absolute")
        return inside


def _metadata(file: str) -> dict[str, str]:
    with open_parquet(file) as parquet:
        metadata = parquet.schema_arrow.metadata or {}
    return {key.decode(): value.decode(errors="replace") for key, value in metadata.items()}
