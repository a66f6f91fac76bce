"""Images and labels in one file of NumPy arrays."""

import numpy as np
from numpy.typing import NDArray

from rayal import Dataset, Source
from rayal.data.source import numbered

FILE = "arrays.npz"


class Arrays(Dataset):
    """`root/arrays.npz` with pool_images, pool_labels, test_images, test_labels and classes.

    Images are uint8, N H W or N H W C; labels are class indices, N; classes are their names.
    """

    layout = FILE

    def files(self) -> list[str]:
        return [FILE]

    def source(self) -> Source:
        with np.load(self.folder / FILE, allow_pickle=False) as arrays:
            pool, test = (
                numbered(split, arrays[f"{split}_labels"], _channels(arrays[f"{split}_images"]))
                for split in ("pool", "test")
            )
            classes = arrays["classes"].tolist()
        return Source(classes, pool, test, origin="our own camera", licence="not stated")


def _channels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """N H W or N H W C -> N C H W."""
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
