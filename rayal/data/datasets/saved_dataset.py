"""Hugging Face's datasets on the disk, as `save_to_disk` writes them; read without a package."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from rayal.data import uri
from rayal.data.datasets._labels import Labels, check_kind, classes_of
from rayal.data.datasets.base import EncodedDataset
from rayal.data.source import AnyImage, Source, Units, row_id
from rayal.errors import DataError, some
from rayal.storage.columns import content, held, is_binary, is_file

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
CLASSES = "ClassLabel"
"""What Hugging Face calls a column of classes."""


class SavedDataset(EncodedDataset):
    """`root/<split>/data-*.arrow`, what `DatasetDict.save_to_disk(root)` has written.

    Rows are units, numbered in their order: train-00012. The columns of images and of labels are
    found by their types where nobody names them. Images must lie in the files, as bytes or, where
    these are null, as absolute paths or storage URLs.
    """

    layout: ClassVar[str] = "what DatasetDict.save_to_disk has written, a folder for each split"

    pool: str = "train"
    """Split that is the pool: its folder below root."""
    test: str = "test"
    """Split of the test images."""
    image: str | None = None
    """Column of images; null: the only one that holds some."""
    label: str | None = None
    """Column of class indices or class names; null: the only one of Hugging Face's classes."""
    classes: tuple[str, ...] | None = None
    """Class names; null: as the dataset says, else those that occur in the pool, sorted, or the
    numbers up to the largest."""

    def files(self) -> list[str]:
        return [
            f"{split}/{name}"
            for split in (self.pool, self.test)
            for name in (STATE, INFO, *_Split(self.folder / split).names)
        ]

    def source(self) -> Source:
        pool, test = (_Split(self.folder / split) for split in (self.pool, self.test))
        image, label = self._image(pool), self._label(pool)
        for split in (pool, test):
            split.check(image, label)
        labels = [
            Labels(split, [row_id(split, row) for row in range(len(found))], found)
            for split, found in (("train", pool.read(label)), ("test", test.read(label)))
        ]
        classes = self.classes or pool.class_names(label) or classes_of(*labels)
        first, second = (
            Units(each.ids, each.indices(classes), _Images(split, image))
            for each, split in zip(labels, (pool, test), strict=True)
        )
        return Source(
            classes=classes,
            pool=first,
            test=second,
            origin=pool.said("homepage") or f"a dataset saved in {self.folder}",
            licence=pool.said("license") or "not stated",
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _image(self, split: "_Split") -> str:
        kinds = {field.name: field.type for field in split.schema}
        found = [name for name, kind in kinds.items() if is_file(kind) or is_binary(kind)]
        return self.image or _only("image", "images", found, [*kinds])

    def _label(self, split: "_Split") -> str:
        kinds = [field.name for field in split.schema]
        found = [name for name in kinds if split.class_names(name) is not None]
        if not found and "label" in kinds:
            found = ["label"]
        return self.label or _only("label", "classes", found, kinds)


class _Split:
    """A folder that `save_to_disk` has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state, self._info = (_json(folder / name) for name in (STATE, INFO))
        try:
            files = self._state["_data_files"]
            self.names: Sequence[str] = [str(each["filename"]) for each in files]
        except (LookupError, TypeError) as error:
            raise DataError(
                f"{folder / STATE} lists no files; save the dataset again with save_to_disk"
            ) from error
        if self._state.get("_indices_data_files"):
            raise DataError(
                f"{folder} keeps rows in another order than its files; save it again after"
                " flatten_indices()"
            )

    @property
    def schema(self) -> pa.Schema:
        if not self.names:
            raise DataError(f"{self.folder} has no rows; name another split in dataset.pool")
        with _stream(self.folder / self.names[0]) as stream:
            return stream.schema

    def check(self, image: str, label: str) -> None:
        """Raises DataError where a column is missing, or holds no images or no labels."""
        kinds = {field.name: field.type for field in self.schema}
        if missing := [name for name in (image, label) if name not in kinds]:
            raise DataError(
                f"{self.folder} has no column {', '.join(missing)}, its columns are"
                f" {some([*kinds])}; name them in dataset.image and dataset.label"
            )
        if not (is_file(kinds[image]) or is_binary(kinds[image])):
            raise DataError(
                f"column {image!r} holds {kinds[image]}, no image files; name another in"
                " dataset.image"
            )
        check_kind(label, kinds[label])

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """Of a column of classes; None of any other."""
        features = self._info.get("features")
        said = features.get(column) if isinstance(features, Mapping) else None
        if not isinstance(said, Mapping) or said.get("_type") != CLASSES:
            return None
        names = said.get("names")
        return tuple(map(str, names)) if isinstance(names, list) else None

    def said(self, key: str) -> str:
        """A text about the dataset; empty where there is none."""
        value = self._info.get(key)
        return value if isinstance(value, str) else ""

    def read(self, column: str) -> list[Any]:
        """All values of a column."""
        return [value for part in self.columns(column) for value in held(part).to_pylist()]

    def columns(self, name: str) -> Iterator[pa.Array]:
        """A column, a few rows at a time."""
        for file in self.names:
            with _stream(self.folder / file) as stream:
                for batch in stream:
                    yield batch[name]


@dataclass(frozen=True)
class _Images:
    """The images of a split, a few of them in memory at a time."""

    split: _Split
    column: str

    def __iter__(self) -> Iterator[AnyImage | None]:
        for part in self.split.columns(self.column):
            for value in held(part):
                stored = content(value.as_py())
                yield uri.checked(stored) if isinstance(stored, str) else stored


def _stream(file: Path) -> pa.RecordBatchStreamReader:
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file)))
    except pa.ArrowException as error:
        raise DataError(
            f"{file} is damaged: {' '.join(str(error).split())}; save the dataset again"
        ) from error


def _json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"{file} is damaged: {error}; save the dataset again") from error
    return found if isinstance(found, Mapping) else {}


def _only(field: str, what: str, found: Sequence[str], there: Sequence[str]) -> str:
    if len(found) != 1:
        which = f"columns {some(found)} hold" if found else "no column holds"
        raise DataError(
            f"{which} {what}, of {some(there)}; set dataset.{field} to the one that is meant"
        )
    return found[0]
