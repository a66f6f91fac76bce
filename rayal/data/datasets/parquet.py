"""Your own Parquet files: a row is a unit; its image is encoded, raw pixels or an address."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field, TypeAdapter, ValidationError

from rayal.data import uri
from rayal.data.datasets.base import EncodedDataset
from rayal.data.source import AnyImage, Source, Units, quoted, row_id
from rayal.errors import DataError, UsageError
from rayal.storage.parquet import (
    footers,
    is_binary,
    is_tensor,
    is_text,
    open_parquet,
    within_bounds,
)

BATCH = 256  # rows whose images are in memory at a time

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Parquet(EncodedDataset):
    """Files below `root` that all have the same columns, for example `pool: [train-*.parquet]`.

    | type of the image column            | what it holds                                      |
    |-------------------------------------|----------------------------------------------------|
    | binary                              | encoded images                                     |
    | fixed-shape tensor of uint8, C H W  | raw pixels                                         |
    | string                              | paths below `root`, absolute paths or storage URLs |

    Whole-number ids are taken as row numbers and become train-00012 in the pool and test-00012.
    """

    layout: ClassVar[str] = "Parquet files with columns for id, image and label"

    pool: Names
    """Names or patterns of the pool's files, below root; those of a pattern are sorted."""
    test: Names
    """Names or patterns of the test images' files."""
    id: str | None = "id"
    """Column of ids, unique in pool and test together; null: rows are numbered in order."""
    image: str = "image"
    """Column of images."""
    label: str = "label"
    """Column of class indices or class names."""
    classes: tuple[str, ...] | None = None
    """Class names; null: from the files' metadata (`class_names`, a JSON list), else those that
    occur in the pool, sorted."""

    def files(self) -> list[str]:
        return [*self._named(self.pool), *self._named(self.test)]

    def source(self) -> Source:
        pool, test = (self._columns(names) for names in (self.pool, self.test))
        first, *_ = footers([*pool.files, *test.files], pool.names).values()
        kind = first.types[self.image]
        self._check_kind(kind)
        meta = _metadata(pool.files[0])
        classes = self._classes(pool, meta)
        return Source(
            classes=classes,
            pool=pool.units("train", classes),
            test=test.units("test", classes),
            origin=meta.get("origin", f"Parquet files in {self.folder}"),
            licence=meta.get("license", "not stated"),
            encoding="raw" if is_tensor(kind) else self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _check_kind(self, kind: pa.DataType) -> None:
        if not (is_tensor(kind) or is_text(kind) or is_binary(kind)):
            raise DataError(
                f"column {self.image!r} holds {kind}; images are binary, string, or a fixed-shape"
                " tensor of uint8 with shape [1 or 3, height, width]"
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

    def _classes(self, pool: "_Columns", meta: dict[str, str]) -> tuple[str, ...]:
        if self.classes is not None:
            return self.classes
        if "class_names" in meta:
            return _class_names(pool.files[0], meta["class_names"])
        labels = pool.read(self.label)
        if all(isinstance(label, str) for label in labels):
            return tuple(sorted(set(labels)))
        whole = [label for label in labels if isinstance(label, int)]
        return tuple(str(number) for number in range(max(whole, default=0) + 1))


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

    def units(self, split: str, classes: Sequence[str]) -> Units:
        labels = self.read(self.label)
        given = range(len(labels)) if self.id is None else self.read(self.id)
        ids = [row_id(split, unit) if isinstance(unit, int) else unit for unit in given]
        return Units(ids, _indices(split, ids, labels, classes), self)

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
        if is_tensor(column.type):
            return iter(column.to_numpy_ndarray())  # Arrow cannot read null tensors from Parquet
        if is_text(column.type):
            return (None if path is None else self._address(path) for path in column.to_pylist())
        return iter(column.to_pylist())

    def _address(self, path: str) -> str:
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


def _class_names(file: str, text: str) -> tuple[str, ...]:
    try:
        return TypeAdapter(tuple[str, ...]).validate_json(text)
    except ValidationError as error:
        raise DataError(
            f"{file}: class_names {text[:80]!r} is not a JSON list of names; set dataset.classes"
        ) from error


def _indices(
    split: str, ids: Sequence[str], labels: Sequence[Any], classes: Sequence[str]
) -> Sequence[Any]:
    """Names become indices; whatever else is no index is left for `prepare` to refuse."""
    index = {name: number for number, name in enumerate(classes)}
    for row, label in enumerate(labels):
        if isinstance(label, str) and label not in index:
            raise DataError(
                f"{split} row {row} ({quoted(str(ids[row]))}): class {label!r} is not among"
                f" {', '.join(classes[:10])}"
            )
    return [index[label] if isinstance(label, str) else label for label in labels]
