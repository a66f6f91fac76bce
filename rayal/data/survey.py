"""What looking at every image once tells: bad ones, sizes, duplicates, mean and std."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.data import uri
from rayal.data.bad_image import WrongSize
from rayal.data.card import MeanStd, Numbers, Shape, SplitName
from rayal.data.copies import Copy
from rayal.data.images import BadImage, Decoding, Stored, load, pixels
from rayal.data.masks import (
    IGNORE,
    BadMask,
    MaskDecoding,
    UnknownValues,
    arrange,
    encode,
    read_mask,
)
from rayal.data.source import AnyImage, AnyMask
from rayal.data.statistics import Counts, Moments, Statistics
from rayal.errors import DataError, UsageError, quoted

STATISTICS: dict[Numbers, type[Counts | Moments]] = {
    "uint8": Counts,
    "float32": Moments,
    "float16": Moments,
}
SPLITS: tuple[SplitName, ...] = ("pool", "test")
SHOWN = 3  # faults in a message
KINDS: dict[int, Numbers] = {1: "float16", 3: "uint8", 4: "float32"}
"""What arrays hold that are vectors, C, pictures, C H W, and volumes, C D H W."""


class MaskLook(NamedTuple):
    """The mask of an image, looked at: what a store keeps of it, or why it cannot be used."""

    label: AnyMask | None
    counts: NDArray[np.int64] | None = None  # pixels of each value, 0 to IGNORE
    fault: str | None = None
    unknown: bool = False
    """Whether the fault is a value that nobody has said the class of."""


class Look(NamedTuple):
    """One image, looked at: its pixels, or why there are none."""

    image: AnyImage | BadImage | None
    """As the source gives it."""
    data: bytes | None = None
    pixels: Stored | None = None
    size: str = ""
    """HxW before any resize, or DxHxW."""
    bad: str | None = None
    mask: MaskLook | None = None
    """None where labels are classes of images, or where nobody looked."""
    inside: tuple[int, int] | None = None
    """Height and width inside a canvas; None where the image fills it."""
    misfit: bool = False
    """Whether there are no pixels because its size is not that of all images."""


def look(image: AnyImage | BadImage | None, decoding: Decoding, shape: Shape | None = None) -> Look:
    """Read and decode one image of a source; with `shape` only one that will have it."""
    data = None
    try:
        if isinstance(image, BadImage):
            raise image
        if isinstance(image, np.ndarray):
            _check_raw(image)
            _check_finite(image)
            return Look(image, image.tobytes(), image, _size(image.shape))
        if image is None:
            raise BadImage("no data (null)")
        data = uri.read_uri(image) if isinstance(image, str) else image
        if not isinstance(data, bytes | bytearray | memoryview):
            _check_raw(data)
        loaded = load(data, decoding, shape)
        size = f"{loaded.height}x{loaded.width}"
        inside = (loaded.height, loaded.width) if decoding.canvas else None
        return Look(image, data, pixels(loaded, decoding), size, inside=inside)
    except WrongSize as error:
        return Look(image, data, size=error.size, bad=str(error), misfit=True)
    except BadImage as error:
        return Look(image, data, bad=str(error))


def _check_raw(image: object) -> None:
    """Raises DataError for what is no image: a dataset gives all of them alike."""
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"an image is {type(image).__name__}; give uint8 arrays C H W, the bytes of an image"
            " file, or its path"
        )
    shape = tuple(image.shape)
    last = image.ndim == 3 and shape[0] not in (1, 3) and shape[2] in (1, 3)
    if image.ndim in KINDS and image.dtype == KINDS[image.ndim] and not last:
        return
    way_out = "give uint8 arrays C H W, float32 arrays C D H W, or float16 arrays C"
    if image.ndim == 2:
        way_out += f": image[None] makes {(1, *shape)} of it"
    elif last:
        way_out += ": image.transpose(2, 0, 1) turns it"
    raise DataError(f"an image is an array of shape {shape} and {image.dtype}; {way_out}")


def _check_finite(image: Stored) -> None:
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise BadImage("holds numbers that are not finite")


def look_at_mask(
    original: AnyMask | None, masks: MaskDecoding, decoding: Decoding, image: Look, keep: bool
) -> MaskLook:
    """Read the mask of an image; it is kept as it is (`keep`), or in rayal's own coding."""
    try:
        if original is None:
            raise BadMask("no mask (null)")
        mask = read_mask(original, masks, decoding)
        height, width = mask.shape
        if image.size and image.size != f"{height}x{width}":
            raise BadMask(f"is {height}x{width} (HxW), its image {image.size}")
        mask = arrange(mask, decoding)
        label = original if keep else encode(mask)
        return MaskLook(label, np.bincount(mask.ravel(), minlength=IGNORE + 1))
    except BadMask as error:
        where = f"{original}: " if isinstance(original, str) else ""
        unknown = isinstance(error, UnknownValues)
        return MaskLook(original if keep else None, fault=f"{where}{error}", unknown=unknown)


def _size(shape: Sequence[int]) -> str:
    """HxW of C H W, DxHxW of C D H W."""
    return "x".join(map(str, shape[1:]))


class Survey:
    """Counts that grow while the images pass by."""

    def __init__(
        self, shape: Shape, numbers: Numbers = "uint8", naming: str = "", pixels: bool = False
    ) -> None:
        """`shape` is that of all images; `add` raises UsageError for another. `naming`: see
        `Source`. `pixels`: the content of images is their pixels, not their bytes."""
        self.bad: dict[str, str] = {}
        self.sizes: Counter[str] = Counter()
        self.copies: list[Copy] = []
        self.class_pixels = {split: np.zeros(IGNORE, np.int64) for split in SPLITS}
        self.empty_masks = self.ignored = 0
        self._pool_values: Statistics = STATISTICS[numbers](shape[0])
        self._shape = shape
        self._naming = naming
        self._pixels = pixels
        self._pool: dict[bytes, str] = {}

    def add(self, split: SplitName, ids: Sequence[str], looks: Sequence[Look]) -> None:
        """Count images of a split; all of the pool comes before the test images.

        Raises UsageError for images of another shape, DataError for masks that cannot be used,
        unless their image cannot be either.
        """
        self._check_shapes(ids, looks)
        self._add_masks(split, ids, looks)
        self.bad |= {unit: seen.bad for unit, seen in zip(ids, looks, strict=True) if seen.bad}
        good = [each for each in zip(ids, looks, strict=True) if each[1].pixels is not None]
        self.sizes.update(seen.size for _, seen in good)
        for unit, seen in good:
            self._look_for_copies(split, unit, seen)
            if split == "pool":
                self._pool_values.add(_own_pixels(seen))

    @property
    def duplicates(self) -> dict[str, int]:
        """See `Card`."""
        of = Counter(copy.split for copy in self.copies)
        return {"pool": of["pool"], "across": of["test"]}

    def _look_for_copies(self, split: SplitName, unit: str, seen: Look) -> None:
        content = seen.data or b""
        if self._pixels and seen.pixels is not None:
            content = seen.pixels.tobytes()
        digest = hashlib.sha256(content).digest()
        if (first := self._pool.get(digest)) is not None:
            self.copies.append(Copy(unit, split, first))
        elif split == "pool":
            self._pool[digest] = unit

    def statistics(self) -> MeanStd:
        """Mean and population standard deviation of the pool; std 1 where 0."""
        mean, std = self._pool_values.moments()
        return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())

    @property
    def brightest(self) -> int:
        """The highest value of the pool's pixels; 255 where nobody looked."""
        return self._pool_values.brightest

    def _add_masks(self, split: SplitName, ids: Sequence[str], looks: Sequence[Look]) -> None:
        good = {unit: seen.mask for unit, seen in zip(ids, looks, strict=True) if not seen.bad}
        faulty = {unit: mask for unit, mask in good.items() if mask and mask.fault}
        if faulty:
            first = "; ".join(f"{quoted(unit)}: {faulty[unit].fault}" for unit in [*faulty][:SHOWN])
            unknown = any(mask.unknown for mask in faulty.values())
            say = f"{self._naming}, or " if unknown and self._naming else ""
            raise DataError(
                f"masks of the {split} cannot be used: {len(faulty)} of {len(ids)} looked at,"
                f" first {first}; {say}mend them, or take these images away"
            )
        counts = [
            mask.counts[:IGNORE] for mask in good.values() if mask and mask.counts is not None
        ]
        self.class_pixels[split] += sum(counts, np.zeros(IGNORE, np.int64))
        self.ignored += sum(
            int(mask.counts[IGNORE]) for mask in good.values() if mask and mask.counts is not None
        )
        self.empty_masks += sum(not count.any() for count in counts)

    def _check_shapes(self, ids: Sequence[str], looks: Sequence[Look]) -> None:
        for unit, seen in zip(ids, looks, strict=True):
            if seen.misfit or (seen.pixels is not None and seen.pixels.shape != self._shape):
                raise UsageError(
                    f"images differ in size: {quoted(unit)} is {seen.size}, the first is"
                    f" {_size(self._shape)}; {_one_size(seen)}"
                )


def _one_size(seen: Look) -> str:
    """What gives all images one size."""
    if isinstance(seen.image, np.ndarray):
        return "give arrays of one size"
    return "set dataset.size (and dataset.resize or squash)"


def _own_pixels(seen: Look) -> Stored:
    """Those of the image, without the canvas beside it."""
    assert seen.pixels is not None
    if seen.inside is None:
        return seen.pixels
    height, width = seen.inside
    return seen.pixels[:, :height, :width]
