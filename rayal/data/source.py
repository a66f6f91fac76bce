"""What a store is prepared from: ids, labels and images, and the identity of the files behind."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa

from rayal.data.bad_image import BadImage
from rayal.data.card import SplitName
from rayal.data.images import Decoding, Stored
from rayal.data.masks import IGNORE, MaskDecoding
from rayal.errors import DataError, UsageError, counted, quoted, some

HASHED = 4 * 2**20
"""Bytes hashed at each end of a file; all of it when it is at most twice as large."""

AnyImage = Stored | bytes | str
"""Pixels C H W, or the numbers of a volume, C D H W, float32; an encoded image; or the absolute
path or URL of one."""

AnyMask = bytes | str
"""An original mask file, or its absolute path or URL; what it holds, `Source.masks` says."""

Keep = Literal["auto", "raw", "bytes", "uri"]
"""How a store is to keep images; `auto`: raw up to 64 pixels a side, larger ones as bytes."""


class Units(NamedTuple):
    """One split, in a fixed order."""

    ids: Sequence[str]
    labels: Sequence[int] | Iterable[AnyMask | None]
    """Class indices; or masks, in the manner of `images`. Of a pool that people will label a list
    of None, one for every image."""
    images: Iterable[AnyImage | BadImage | None]
    """None where the original has no data, or a BadImage that says why it is none. Iterated twice,
    so not a generator; may be longer than ids, of which a small experiment takes only the first."""

    def first(self, count: int | None) -> "Units":
        """Only the first units; None: all of them."""
        labels = self.labels
        if hasattr(labels, "__getitem__"):  # as arrays have it, which are no Sequence
            labels = cast(Sequence[int], labels)[:count]
        return Units(self.ids[:count], labels, self.images)


NO_UNITS = Units((), (), ())


@dataclass(frozen=True)
class Source:
    """Everything that `prepare` writes into a store."""

    classes: Sequence[str]
    pool: Units
    test: Units
    """NO_UNITS of a dataset that is not `tested`."""
    origin: str
    licence: str
    encoding: Keep = "raw"
    decoding: Decoding = Decoding()
    """How encoded images become pixels; arrays are taken as they are."""
    verify: bool = True
    """Decode every image and mask now; without it bad ones, duplicates and statistics stay
    unknown."""
    masks: MaskDecoding | None = None
    """What the values of masks mean; None where labels are classes of whole images."""
    naming: str = ""
    """What to set where a mask has another value, for the message."""
    untested: bool = False
    """Whether there are no test images, on purpose: `Dataset.tested` says it."""

    @property
    def splits(self) -> dict[SplitName, Units]:
        """By name, the pool first."""
        return {"pool": self.pool, "test": self.test}

    @property
    def unlabeled(self) -> bool:
        """Whether the pool has no label at all: a list of None."""
        labels = self.pool.labels
        if not isinstance(labels, Sized):
            return False  # masks, each read when it is its turn
        return 0 < len(labels) == len(self.pool.ids) and all(label is None for label in labels)

    @property
    def classes_of_images(self) -> dict[SplitName, Sequence[int]]:
        """The class indices of each split, where labels are such; none of an unlabeled pool."""
        assert self.masks is None
        labels = {split: cast(Sequence[int], units.labels) for split, units in self.splits.items()}
        if self.unlabeled:
            labels["pool"] = ()
        return labels

    def digest(self) -> str:
        """sha256 of classes, ids, labels and images, where an address stands for its image."""
        digest = hashlib.sha256(repr([*self.classes]).encode())
        for units in self.splits.values():
            digest.update(repr([*units.ids]).encode())
            for item in (*units.labels, *units.images):
                shape = item.shape if isinstance(item, np.ndarray) else ()
                data = b"" if item is None else item
                data = str(data).encode() if isinstance(data, BadImage) else data
                data = data if isinstance(data, bytes) else np.asarray(data).tobytes()
                digest.update(f"{type(item).__name__}{shape}{len(data)}\0".encode() + data)
        return digest.hexdigest()

    def check(self) -> None:
        """Look at ids and labels, not at images.

        Raises DataError unless ids are non-empty Unicode strings, each used once in both splits,
        and labels, where they are no masks, are class indices; also for a split without images,
        unless it is the test split of an untested source, and for classes that are called alike.
        """
        self._check_classes()
        if self.masks is not None:
            numbers = [*self.masks.values.values(), *self.masks.names.values()]
            fine = {None, IGNORE, *range(len(self.classes))}
            if wrong := [number for number in numbers if number not in fine]:
                raise DataError(
                    f"masks say class {wrong[0]}, the dataset has classes"
                    f" 0..{len(self.classes) - 1}; add its name to these, or map it to one of them"
                )
        for split, units in self.splits.items():
            if split == "test" and self.untested:
                if len(units.ids):
                    raise DataError("the dataset says that it has no test images, and gives some")
                continue
            if not len(units.ids):
                raise DataError(f"the {split} has no images; check the dataset's files")
            if not _are_ids(units.ids):
                for row, unit in enumerate(units.ids):
                    _check_id(f"{split} row {row}", unit)
            if self.masks is None:
                self._check_labels(split)
        self._check_unique()

    def _check_classes(self) -> None:
        if not len(self.classes):
            raise DataError("there are no classes; set dataset.classes to their names")
        if twice := [name for name, count in Counter(self.classes).items() if count > 1]:
            raise DataError(f"classes: {some(twice)} twice; give each class a name of its own")

    def _check_labels(self, split: SplitName) -> None:
        if split == "pool" and self.unlabeled:
            return
        ids, labels = self.splits[split].ids, self.classes_of_images[split]
        if len(ids) != len(labels):
            raise DataError(
                f"the {split} has {counted(len(ids), 'id')} and"
                f" {counted(len(labels), 'label')}; give one label for each"
            )
        if not _are_labels(labels, len(self.classes)):
            for row, (unit, label) in enumerate(zip(ids, labels, strict=True)):
                _check_label(f"{split} row {row} ({quoted(unit)})", label, len(self.classes))

    def _check_unique(self) -> None:
        units = [unit for units in self.splits.values() for unit in units.ids]
        if len(set(units)) < len(units):
            twice = [quoted(unit) for unit, count in Counter(units).items() if count > 1]
            raise DataError(
                f"{counted(len(twice), 'id is', 'ids are')} used more than once in pool and"
                " test, first"
                f" {', '.join(twice[:5])}; make them unique"
            )


def check_source(source: object, dataset: str) -> None:
    """Look at what a user's own dataset returned before it is read: kinds alone.

    Raises UsageError with the first thing that is not what `Source` says.
    """
    where = f"dataset {dataset!r}: source()"
    if not isinstance(source, Source):
        raise UsageError(
            f"{where} returned {type(source).__name__}; return rayal.data.source"
            ".Source(classes=..., pool=Units(ids, labels, images), test=...)"
        )
    classes = source.classes
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in classes):
        raise UsageError(f"{where}.classes are {classes!r:.80}; give a list of names")
    if not len(classes) or len(set(classes)) < len(classes):
        raise UsageError(f"{where}.classes are {list(classes)!r:.80}; give each class a name once")
    for split, units in source.splits.items():
        if not isinstance(units, Units):
            raise UsageError(
                f"{where}.{split} is {type(units).__name__}; give Units(ids, labels, images)"
            )
        for field, value in units._asdict().items():
            if iter(value) is value:
                raise UsageError(
                    f"{where}.{split}.{field} can be read only once, and is read twice; give a"
                    " list, an array or an object with __iter__"
                )


def numbered(
    split: str, labels: Sequence[int], images: Iterable[AnyImage | BadImage | None]
) -> Units:
    """Units without ids of their own, named after their row: train-00012.

    Raises DataError for another number of images, where that can be known without reading them.
    """
    if isinstance(images, Sized) and len(images) != len(labels):
        raise DataError(
            f"{split} has {counted(len(labels), 'label')} and"
            f" {counted(len(images), 'image')}; give one label for each"
        )
    return Units([row_id(split, row) for row in range(len(labels))], labels, images)


def row_id(split: str, row: int) -> str:
    """An id that says split and row, such as train-00012."""
    return f"{split}-{row:05d}"


def file_identity(path: str | Path) -> str:
    """Size and sha256 of a file: they change when the content does, whatever the time stamps.

    Of a file above 8 MiB only the first and last 4 MiB are hashed, so that opening a prepared
    dataset stays fast; a change of the same length in the middle of it goes unseen.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read(2 * HASHED if size <= 2 * HASHED else HASHED))
        if size > 2 * HASHED:
            file.seek(-HASHED, os.SEEK_END)
            digest.update(file.read())
    return f"{size}:{digest.hexdigest()}"


def _are_ids(ids: Sequence[object]) -> bool:
    """Whether all are non-empty Unicode strings: what `_check_id` says, a million a second."""
    try:
        return set(map(type, ids)) == {str} and all(ids) and bool(pa.array(ids, pa.string()))
    except UnicodeEncodeError:
        return False


def _are_labels(labels: Sequence[int], num_classes: int) -> bool:
    """Whether all are class indices, as `_check_label` says."""
    if set(map(type, labels)) - {int, np.int64}:
        return False
    return 0 <= min(labels) and max(labels) < num_classes


def _check_id(place: str, unit: object) -> None:
    if not isinstance(unit, str) or not unit:
        raise DataError(f"{place}: id {quoted(unit)} is not a non-empty string; give it one")
    try:
        unit.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: id {quoted(unit)} is not Unicode; rename it") from error


def _check_label(place: str, label: object, num_classes: int) -> None:
    whole = isinstance(label, int | np.integer) and not isinstance(label, bool)
    if not whole or not 0 <= label < num_classes:  # type: ignore[operator]
        raise DataError(
            f"{place}: label {quoted(label)} is not a class index 0..{num_classes - 1}; correct it,"
            " or add its class"
        )
