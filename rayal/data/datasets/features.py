"""What a frozen network says of images: a vector of features for each, in files of anybody's."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

from pydantic import Field, field_validator

from rayal.data.bad_image import BadImage
from rayal.data.card import SplitName
from rayal.data.datasets._labels import Labels, classes_of
from rayal.data.datasets._vector_files import VectorFile, Vectors
from rayal.data.datasets.base import Dataset
from rayal.data.source import NO_UNITS, Source, Units
from rayal.data.store import Split, Store
from rayal.errors import DataError
from rayal.storage.folder import Folder, Json

ASKED, STORE, MADE = "features.yaml", "store", "features.json"
"""What `rayal features` writes: what was asked, a prepared dataset, and then what it is."""
SPLITS: tuple[SplitName, ...] = ("pool", "test")
CHUNK = 4096  # vectors in memory at a time


class Features(Dataset):
    """Vectors of features instead of images: what `rayal features` wrote into root, or files there.

    `.parquet` has the columns `id` (string), `features` (lists of D numbers) and `label`; `.npz`
    the arrays of these names: N strings, N x D numbers, N names or numbers of classes. `pool.npy`
    is N x D numbers alone, and is read without being in memory; beside it lie `pool_ids.csv` with
    the columns `id` and `label` (names of classes), or `pool_ids.txt` and `pool_labels.txt` with
    one of them in each line, or the same as `.npy`. None of these can hold code. Numbers are kept
    as float16, of which the largest is 65,504: one that is larger, or not finite, makes its unit
    bad, as an image is that cannot be decoded.

    A model for vectors, such as `linear_head`, is trained on them in seconds. All strategies for
    classification work, but those that need pixels or maps. What `rayal features` wrote may lie at
    a URL; files of others lie on a disk.
    """

    layout: ClassVar[str] = "pool.parquet and test.parquet with the columns id, features and label"

    pool: str = Field(default="pool.parquet", examples=["pool.npz"])
    """File of the pool, below root."""
    test: str | None = Field(default="test.parquet", examples=["test.npz"])
    """File of the test split, below root; null: there are no test units."""
    id: str = "id"
    """Column or array of ids, unique in pool and test together."""
    features: str = "features"
    """Column or array of vectors, all of one length."""
    label: str | None = "label"
    """Column or array of class indices or class names; null: nobody has labeled the pool, see
    `rayal.ActiveLearner`."""
    classes: tuple[str, ...] | None = None
    """Class names; null: those that occur in the pool (of one without labels: in the test split),
    sorted, or the numbers up to the largest."""
    test_label: str | None = None
    """Column or array of classes of the test split, where it is another than `label`, or that is
    null; null: as `label`, or `label`."""

    @field_validator("root")
    @classmethod
    def _on_disk(cls, value: str | None) -> str | None:
        """Anywhere: the files of others alone have to lie on a disk, see `files`."""
        return None if value is None else value.removeprefix("file://")

    def shaping(self) -> Json:
        """Without what stores that are there were prepared before."""
        shaping = super().shaping()
        if self.test_label is None:
            del shaping["test_label"]
        return shaping

    def open(self) -> Store:
        """As every dataset; what `rayal features` wrote is used as it is, unless it is to be cut or
        normalised otherwise."""
        return super().open() if (there := self._there()) is None else there

    def fingerprint(self) -> str:
        return super().fingerprint() if (there := self._there()) is None else there.card.fingerprint

    def _there(self) -> Store | None:
        """The store that is there; None where one has to be prepared."""
        changes = (self.limit_pool, self.limit_test, self.mean)
        if not self._is_ours() or any(each is not None for each in changes):
            return None
        return self._made

    @cached_property
    def _made(self) -> Store:
        """What `rayal features` wrote."""
        return Store((self._place / STORE).url)

    @property
    def tested(self) -> bool:
        return self._made.card.tested if self._is_ours() else self.test is not None

    def files(self) -> list[str]:
        if self._is_ours():
            return [MADE]
        if self._place.exists(ASKED):
            raise DataError(
                f"{self._place.url}: the pass of `rayal features` is not finished; give its command"
                " again, which goes on with it"
            )
        if self._place.local is None:
            raise DataError(
                f"{self._place.url} holds nothing that `rayal features` wrote, and other files are"
                " read from a disk; copy them to one, or set dataset.root to what it wrote"
            )
        places = [place for file in self._files() for place in file.files()]
        inside = [place.is_relative_to(self.folder) for place in places]
        return [
            str(place.relative_to(self.folder) if below else place)
            for place, below in zip(places, inside, strict=True)
        ]

    def _files(self) -> list[VectorFile]:
        """That of the pool, and that of the test split where there is one."""
        pool = VectorFile(self.folder / self.pool, self.id, self.features, self.label)
        if self.test is None:
            return [pool]
        label = self.test_label or self.label or "label"
        return [pool, pool._replace(path=self.folder / self.test, label=label)]

    def identity(self, path: str) -> str:
        """Of what `rayal features` wrote that of its description, which may lie at a URL."""
        if not self._is_ours():
            return super().identity(path)
        data = self._place.read(MADE)
        return f"{len(data)}:{hashlib.sha256(data).hexdigest()}"

    @property
    def looked(self) -> Folder | None:
        """The folder of what `rayal features` wrote; None for files of others."""
        return self._place if self._is_ours() else None

    @property
    def _place(self) -> Folder:
        return Folder(self.root or str(self.folder))

    def _is_ours(self) -> bool:
        return self._place.exists(MADE)

    def source(self) -> Source:
        if self._is_ours():
            return _made_anew(self._made)
        pool, *tests = (file.read() for file in self._files())
        named = [Labels("pool", pool.ids, pool.labels)]
        for test in tests:
            if pool.vectors.shape[1] != test.vectors.shape[1]:
                raise DataError(
                    f"{self.pool} has vectors of {pool.vectors.shape[1]} features, {self.test} of"
                    f" {test.vectors.shape[1]}; make both with the same network"
                )
            named.append(Labels("test", test.ids, test.labels))
        classes = self._classes(named)
        units = [
            Units(part.ids, part.labels if unknown else each.indices(classes), part.vectors)
            for part, each, unknown in zip(
                (pool, *tests), named, (self.label is None, False), strict=False
            )
        ]
        return Source(
            classes=classes,
            pool=units[0],
            test=units[1] if tests else NO_UNITS,
            origin=f"features in {self.folder}",
            licence="not stated",
        )

    def _classes(self, named: Sequence[Labels]) -> tuple[str, ...]:
        """Of whoever tells them first: the option, the pool, the test split."""
        if self.classes:
            return self.classes
        told = named if self.label is not None else named[1:]
        if not told:
            raise DataError(
                "without labels and test units nobody tells the classes; set dataset.classes to"
                " their names"
            )
        return classes_of(told[0], told[-1])


def _made_anew(store: Store) -> Source:
    """What a store of vectors holds, to be cut or normalised otherwise."""
    pool, test = (_units(store, name) for name in SPLITS)
    card = store.card
    return Source(card.classes, pool, test, origin=card.origin, licence=card.licence)


def _units(store: Store, name: SplitName) -> Units:
    split: Split = getattr(store, name)
    ids, labels = split.ids(), store.labels(name)
    if name == "pool" and not store.card.labeled:
        return Units(ids, [None] * len(ids), _Stored(split))
    known = {unit: label for unit, label in labels.items() if isinstance(label, int)}
    return Units(ids, [known[unit] for unit in ids], _Stored(split))


class _Stored:
    """The vectors of a split, a few at a time."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __iter__(self) -> Iterator[Vectors | BadImage]:
        for rows in self.split.chunks(self.split.ids(), CHUNK):
            decoded = self.split.decode(rows)
            found = dict(zip(decoded.ids, decoded.images, strict=True))
            for unit in rows["id"].to_pylist():
                yield found[unit] if unit in found else BadImage(decoded.bad[unit])
