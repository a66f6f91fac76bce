"""The contract of a dataset: what its prepared store promises.

N images of C channels, H rows, W columns; of volumes also planes, before the rows.
"""

from collections import Counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rayal.data.card import SplitName
from rayal.data.datasets.base import Dataset
from rayal.data.images import Decoding
from rayal.data.masks import BadMask, LabelValue, decode
from rayal.data.pool import Decoded
from rayal.data.store import Split, Store
from rayal.errors import DataError
from rayal.testing.contract import PartContract, scratch

SPLITS: tuple[SplitName, ...] = ("pool", "test")
DIVISIONS = 1, 7, 1000
"""Rows of a shard: the pool is read in each of these divisions."""


class DatasetContract(PartContract):
    """What every dataset promises. Its store is prepared twice, in folders that are deleted when
    the process ends, and all of it is decoded: set `limit_pool` and `limit_test` for a large one.
    """

    part: Dataset
    kind: ClassVar[str] = "dataset"

    def test_ids_are_unique_strings(self) -> None:
        """Otherwise scores, labels and choices would be of other images."""
        pool, test = ([*self._split(name).ids()] for name in SPLITS)
        for unit in pool + test:
            if not isinstance(unit, str) or not unit:
                self.broken("ids that are strings", f"one is {unit!r}")
        if len({*pool, *test}) < len(pool + test):
            twice = next(unit for unit in pool + test if (pool + test).count(unit) > 1)
            place = "pool and test" if twice in pool and twice in test else "one split, twice"
            self.broken("one image for an id", f"{twice!r} is in {place}")

    def test_images_are_as_the_card_says(self) -> None:
        """Otherwise networks would be built for other images."""
        spec = self._store.card.image
        shape, numbers = spec.shape, spec.numbers
        for name in self._filled:
            split, decoded = self._split(name), self._decoded(name)
            images = decoded.images
            if images.shape[1:] != shape or images.dtype != numbers:
                self.broken(
                    f"images {shape} of {numbers}", f"they are {images.dtype} {images.shape}"
                )
            if sorted([*decoded.ids, *decoded.bad]) != sorted(split.ids()):
                self.broken(f"every image of the {name}, or why it is bad", "some are missing")
            if not len(images):
                self.broken(f"a {name} with images", "none can be decoded")

    def test_labels_are_of_its_classes(self) -> None:
        """Otherwise a training would end at the first label that is none."""
        store = self._store
        for name in self._filled:
            labels, ids = store.labels(name), set(self._split(name).ids())
            if strange := [unit for unit in labels if unit not in ids]:
                self.broken(f"labels of the {name}", f"{strange[0]!r} is not in it")
            open_ = name == "pool" and not store.card.labeled
            missing = [unit for unit in self._decoded(name).ids if unit not in labels]
            if missing and not open_:
                self.broken("a label for every image", f"{missing[0]!r} of the {name} has none")
            for unit, label in labels.items():
                if problem := wrong_label(label, store):
                    self.broken("labels of its classes", f"that of {unit!r} {problem}")

    def test_labels_are_of_its_task(self) -> None:
        """Otherwise a run on it would be refused, or train on nonsense."""
        dense, masks = "segmentation" in self.part.tasks, self._store.card.masks is not None
        if dense != masks:
            self.broken(
                f"tasks that its labels are for: {sorted(self.part.tasks)}",
                "its labels are masks" if masks else "its labels are classes of images",
            )

    def test_the_card_counts_what_is_there(self) -> None:
        """Otherwise plans, budgets and the normalisation would be of other data."""
        card = self._store.card
        for name in SPLITS:
            counted = getattr(card, name)
            if counted != len(self._split(name).ids()):
                self.broken(f"the size of the {name}", f"its card says {counted}")
            counts = card.class_counts.get(name)
            if counts and counts != self._counted(name):
                self.broken(f"how often a class is in the {name}", f"its card says {counts}")
        if (right := self._statistics()) is not None:
            said = np.array([card.image.mean, card.image.std])
            if not np.allclose(said, right, atol=1e-5):
                self.broken(
                    f"mean and std of its pool, here {right.tolist()}", f"its card says {said}"
                )

    def test_is_prepared_the_same_again(self) -> None:
        """Otherwise a run could not be continued on another machine, or after its cache is gone."""
        first, again = self._store, self._prepared()
        if first.card.fingerprint != again.card.fingerprint:
            self.broken("one fingerprint of the same originals", "prepared again it has another")
        for file, digest in first.card.files.items():
            if again.card.files.get(file) != digest:
                self.broken("the same store of the same originals", f"{file} is another")
        if first.card != again.card:
            self.broken("the same card of the same originals", f"{first.card} and {again.card}")
        if self.part.fingerprint() != first.card.fingerprint:
            self.broken("the fingerprint of its store", "it has another before it is prepared")

    def test_options_are_in_the_fingerprint(self) -> None:
        """Otherwise a run would go on with a store that was made with other options."""
        limit = 2 if self.part.limit_pool == 1 else 1
        other = self.part.model_copy(update={"limit_pool": limit})
        if other.fingerprint() == self.part.fingerprint():
            self.broken(
                "another fingerprint with other options (Dataset.shaping)",
                f"with limit_pool {limit} it is the same",
            )

    def test_the_pool_is_the_same_in_any_division(self) -> None:
        """Otherwise another size of shards would score other images."""
        pool, whole = self._store.pool, self._decoded("pool")
        for rows in DIVISIONS:
            parts = [pool.decode(pool.read(shard)) for shard in pool.shards(rows)]
            ids = [unit for part in parts for unit in part.ids]
            images = np.concatenate([part.images for part in parts])
            if ids != whole.ids or not np.array_equal(images, whole.images):
                self.broken("the same pool in any division", f"in shards of {rows} it is another")

    @property
    def _filled(self) -> tuple[SplitName, ...]:
        """The splits that have to have images."""
        return SPLITS if self.part.tested else SPLITS[:1]

    @property
    def _store(self) -> Store:
        return self.once("store", self._prepared)

    def _prepared(self) -> Store:
        """A new store. What a dataset is refused for is a promise too."""
        try:
            return self.part.model_copy(update={"store": scratch()}).open()
        except DataError as error:
            self.broken("originals that can be prepared", str(error))

    def _split(self, name: SplitName) -> Split:
        return self._store.pool if name == "pool" else self._store.test

    def _decoded(self, name: SplitName) -> Decoded:
        """All images of a split."""
        split = self._split(name)
        return self.once(f"images of {name}", lambda: split.decode(split.take(split.ids())))

    def _statistics(self) -> NDArray[np.float64] | None:
        """Mean and std that the card has to show, 2 C: those given, else those of the pixels in
        [0, 1]; None on a canvas, where the filling does not count."""
        if self.part.mean and self.part.std:
            return np.array([self.part.mean, self.part.std])
        decoded = self._decoded("pool")
        if decoded.sizes is not None:
            return None
        values = decoded.images.astype(np.float64) / self._store.card.image.scale
        axes = (0, *range(2, values.ndim))
        mean, std = values.mean(axis=axes), values.std(axis=axes)
        return np.array([mean, np.where(std > 0, std, 1.0)])

    def _counted(self, name: SplitName) -> tuple[int, ...]:
        """Of every class the images, or the pixels of images that could be decoded."""
        store, classes = self._store, range(len(self._store.card.classes))
        labels = store.labels(name)
        if store.card.masks is None:
            counts = Counter(labels.values())
            return tuple(counts[number] for number in classes)
        pixels = Counter[int]()
        for unit in self._decoded(name).ids:
            pixels.update(_mask(labels[unit], store).ravel().tolist())
        return tuple(pixels[number] for number in classes)


def wrong_label(label: LabelValue | None, store: Store) -> str | None:
    """None, or what is wrong with a label of this store; None is one that nobody can give."""
    card = store.card
    if label is None:
        return None
    if card.masks is None:
        whole = isinstance(label, int | np.integer) and not isinstance(label, bool)
        if whole and 0 <= int(label) < len(card.classes):
            return None
        return f"is {label!r:.80}, not a class from 0 to {len(card.classes) - 1}"
    try:
        mask = _mask(label, store)
    except BadMask as error:
        return f"is no mask of it: {error}"
    size = card.image.shape[1:]
    return None if mask.shape == size else f"is {mask.shape} instead of {size} (H, W)"


def _mask(label: LabelValue, store: Store) -> NDArray[np.uint8]:
    """The classes of a mask, H W; raises BadMask."""
    assert store.card.masks is not None
    if isinstance(label, int):
        raise BadMask(f"{label} is a class of an image")
    return decode(label, store.card.masks, store.card.decoding or Decoding())
