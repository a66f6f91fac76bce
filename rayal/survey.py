"""What looking at every image once tells: bad ones, sizes, duplicates, mean and std."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rayal import uri
from rayal.card import SplitName
from rayal.errors import UsageError
from rayal.images import BadImage, Decoding, Pixels, load, pixels
from rayal.source import AnyImage, quoted

Shape = tuple[int, int, int]
"""C, H, W."""
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels in [0, 1]."""


class Look(NamedTuple):
    """One image, looked at: its pixels, or why there are none."""

    image: AnyImage | None
    """As the source gives it."""
    data: bytes | None = None
    pixels: Pixels | None = None
    size: str = ""
    """HxW before any resize."""
    bad: str | None = None


def look(image: AnyImage | None, decoding: Decoding) -> Look:
    """Read and decode one image of a source."""
    data = None
    try:
        if isinstance(image, np.ndarray):
            assert image.dtype == np.uint8 and image.ndim == 3, "raw images are uint8 C H W"
            return Look(image, image.tobytes(), image, _size(image.shape))
        if image is None:
            raise BadImage("no data (null)")
        data = uri.read(image) if isinstance(image, str) else image
        loaded = load(data, decoding)
        size = f"{loaded.height}x{loaded.width}"
        return Look(image, data, pixels(loaded, decoding), size)
    except BadImage as error:
        return Look(image, data, bad=str(error))


def _size(shape: Sequence[int]) -> str:
    """HxW of C H W."""
    return f"{shape[1]}x{shape[2]}"


class Survey:
    """Counts that grow while the images pass by."""

    def __init__(self, shape: Shape) -> None:
        """`shape` is that of all images; `add` raises UsageError for another."""
        self.bad: dict[str, str] = {}
        self.sizes: Counter[str] = Counter()
        self.duplicates = {"pool": 0, "across": 0}
        self._values = np.zeros((shape[0], 256), np.int64)  # how often each occurs in the pool
        self._shape = shape
        self._pool: set[bytes] = set()

    def add(self, split: SplitName, ids: Sequence[str], looks: Sequence[Look]) -> None:
        """Count images of a split; all of the pool comes before the test images."""
        self._check_shapes(ids, looks)
        self.bad |= {unit: seen.bad for unit, seen in zip(ids, looks, strict=True) if seen.bad}
        good = [seen for seen in looks if seen.pixels is not None]
        self.sizes.update(seen.size for seen in good)
        digests = [hashlib.sha256(seen.data or b"").digest() for seen in good]
        if split == "test":
            self.duplicates["across"] += sum(digest in self._pool for digest in digests)
        else:
            new = len(set(digests) - self._pool)
            self.duplicates["pool"] += len(digests) - new
            self._pool.update(digests)
            self._count_values([seen.pixels for seen in good if seen.pixels is not None])

    def statistics(self) -> Statistics:
        """Mean and population standard deviation of the pool, from exact counts; std 1 where 0."""
        values = np.arange(256) / 255
        shares = self._values / self._values.sum(axis=1, keepdims=True)
        mean = shares @ values
        std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
        return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())

    def _check_shapes(self, ids: Sequence[str], looks: Sequence[Look]) -> None:
        for unit, seen in zip(ids, looks, strict=True):
            if seen.pixels is not None and seen.pixels.shape != self._shape:
                raise UsageError(
                    f"images differ in size: {quoted(unit)} is {seen.size}, the first is"
                    f" {_size(self._shape)}; set dataset.size (and dataset.resize or squash)"
                )

    def _count_values(self, images: list[Pixels]) -> None:
        for channel, counts in enumerate(self._values):
            values = [image[channel].ravel() for image in images]
            counts += np.bincount(np.concatenate(values), minlength=256) if values else 0
