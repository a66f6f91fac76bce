"""The 1,797 handwritten digits that come with scikit-learn: 8x8 grey, for first runs and tests."""

import numpy as np

from rayal.data.datasets.base import Dataset
from rayal.data.source import Source, Units

SPLIT_SEED = 0
TEST = 360


class Digits(Dataset):
    """1,437 in the pool and 360 test images, stratified by class; the same split for everybody.

    Values 0..16 are scaled to 0..255. Needs no files.
    """

    def files(self) -> list[str]:
        return []

    def source(self) -> Source:
        from sklearn.datasets import load_digits  # takes a second, and only preparing needs it
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]  # N 1 8 8
        rows = np.arange(len(images))
        pool, test = train_test_split(
            rows, test_size=TEST, random_state=SPLIT_SEED, stratify=digits.target
        )

        def units(rows: np.ndarray) -> Units:
            rows = np.sort(rows)
            ids = [f"digit-{row:04d}" for row in rows]
            return Units(ids, digits.target[rows], images[rows])

        return Source(
            classes=[str(digit) for digit in range(10)],
            pool=units(pool),
            test=units(test),
            origin="UCI Optical Recognition of Handwritten Digits, test part, from scikit-learn",
            licence="CC BY 4.0",
        )
