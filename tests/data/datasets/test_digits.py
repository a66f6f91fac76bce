"""The dataset of first runs and of most tests."""

import hashlib
from collections import Counter

import numpy as np
from sklearn.datasets import load_digits

from rayal.data.datasets.digits import Digits


def test_the_split_never_changes() -> None:
    """Numbers of different versions and machines compare only on the same images."""
    store = Digits().open()
    ids = "\n".join(store.test.ids()).encode()

    assert (1437, 360) == (len(store.pool), len(store.test))
    assert "0d61ed2cebd35ef9" == hashlib.sha256(ids).hexdigest()[:16]
    assert set(store.pool.ids()).isdisjoint(store.test.ids())


def test_classes_are_stratified() -> None:
    """With 36 test images a class, a lucky split would move accuracy by a percent."""
    counts = Digits().open().card.class_counts["test"]

    assert {35, 36, 37} == set(Counter(counts))


def test_images_and_labels_are_those_of_sklearn() -> None:
    """An id must mean the same digit in the image file and in the label file."""
    store, digits = Digits().open(), load_digits()
    ids = store.test.ids()
    rows = [int(unit.removeprefix("digit-")) for unit in ids]
    images = store.test.decode(store.test.take(ids)).images[:, 0]

    np.testing.assert_array_equal(digits.images[rows], np.rint(images / (255 / 16)))
    assert digits.target[rows].tolist() == list(store.labels("test").values())
    assert (0, 255) == (images.min(), images.max())
