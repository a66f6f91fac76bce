"""Your own Parquet files: a row is a unit; its image is encoded, raw pixels or an address."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from rayal.data import uri
from rayal.data.datasets._labels import (
    Labels,
    check_kind,
    check_test_labels,
    check_told,
    classes_of,
    names_in,
)
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
from rayal.storage.folder import Json
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

    A store is known by the content of these files, not of the images that they point to: it is
    prepared once with the images as they were then, and with `encoding: uri` they are read anew in
    every pass. An image that has changed since belongs under another name, or into a store of its
    own (`dataset.store`).
    """

    layout: ClassVar[str] = "Parquet files with columns for id, image and label"

    pool: Names = Field(examples=[["train-*.parquet"]])
    """Names or patterns of the pool's files, below root or absolute; those of a pattern are
    sorted."""
    test: tuple[str, ...] = Field(examples=[["test-*.parquet"]])
    """Names or patterns of the test images' files, as of the pool; []: there are no test images."""
    id: str | None = "id"
    """Column of ids, unique in pool and test together; null: rows are numbered in order."""
    image: str = "image"
    """Column of images."""
    label: str | None = "label"
    """Column of class indices or class names; null: nobody has labeled the pool, and people do
    (oracle `people`, or `rayal.ActiveLearner`)."""
    classes: tuple[str, ...] | None = None
    """Class names; null: from the files' metadata (`class_names`, a JSON list, or Hugging Face's),
    else those that occur in the pool (of a pool without labels: in the test files), sorted, or the
    numbers up to the largest."""
    test_label: str | None = None
    """Column of classes in the test files, where it is another than `label`, or that is null; null:
    as `label`."""

    @model_validator(mode="after")
    def _labels_of_tests(self) -> Self:
        if self.test:
            check_test_labels(self.label, self.test_label, "their column of classes", "test: []")
        check_told(self.classes, self.tested or self.label is not None)
        return self

    @property
    def tested(self) -> bool:
        return len(self.test) > 0

    def shaping(self) -> Json:
        """Without what stores that are there were prepared before."""
        shaping = super().shaping()
        if self.test_label is None:
            del shaping["test_label"]
        return shaping

    def files(self) -> list[str]:
        return [*self._named(self.pool), *self._named(self.test)]

    def source(self) -> Source:
        pool = self._columns(self.pool, self.label)
        test = self._columns(self.test, self.test_label or self.label)
        types = _types(pool, test)
        self._check_kind(kind := types[self.image])
        for column in filter(None, dict.fromkeys([pool.label, test.label])):
            check_kind(column, types[column])
        meta = _metadata(pool.files[0])
        labels, truth = pool.labels("train"), test.labels("test")
        named = self.classes or pool.class_names() or test.class_names()
        classes = named or classes_of(truth if self.label is None else labels, truth)
        known = labels.labels if self.label is None else labels.indices(classes)
        return Source(
            classes=classes,
            pool=Units(labels.ids, known, pool),
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

    def _columns(self, patterns: Sequence[str], label: str | None) -> "_Columns":
        files = [str(self.folder / name) for name in self._named(patterns)]
        return _Columns(files, self.folder, self.id, self.image, label if files else None)


@dataclass(frozen=True)
class _Columns:
    """The columns of some files, read on demand. As an iterable: the images."""

    files: list[str]
    root: Path
    id: str | None
    image: str
    label: str | None
    """None where there are no labels."""

    @property
    def names(self) -> list[str]:
        return [name for name in (self.id, self.image, self.label) if name is not None]

    def labels(self, split: str) -> Labels:
        given = range(self._rows()) if self.id is None else self.read(self.id)
        labels = [None] * len(given) if self.label is None else self.read(self.label)
        ids = [row_id(split, unit) if isinstance(unit, int) else unit for unit in given]
        return Labels(split, ids, labels)

    def class_names(self) -> tuple[str, ...] | None:
        """Those that the first file says, if it says any."""
        return names_in(self.files[0], _metadata(self.files[0]), self.label) if self.files else None

    def _rows(self) -> int:
        rows = 0
        for file in self.files:
            with open_parquet(file) as parquet:
                rows += parquet.metadata.num_rows
        return rows

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


def _types(pool: _Columns, test: _Columns) -> dict[str, pa.DataType]:
    """Column -> type; DataError where files lack a column, or have it with different types."""
    files = [*pool.files, *test.files]
    if pool.label == test.label or not test.files:
        return {**next(iter(footers(files, pool.names).values())).types}
    names = [name for name in pool.names if name != pool.label]
    found = {**next(iter(footers(files, names).values())).types}
    for columns in (pool, test):
        if columns.label is not None:
            found |= next(iter(footers(columns.files, [columns.label]).values())).types
    return found


def _metadata(file: str) -> dict[str, str]:
    with open_parquet(file) as parquet:
        metadata = parquet.schema_arrow.metadata or {}
    return {key.decode(): value.decode(errors="replace") for key, value in metadata.items()}
