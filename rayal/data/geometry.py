"""Masks back from the images that networks see to the images that people see: what `arrange` does,
undone.

H rows, W columns. `decoding` None: images are stored as networks see them (raw).
"""

import numpy as np

from rayal.data.images import Decoding, arranged, placed
from rayal.data.masks import IGNORE, Mask


def restored(mask: Mask, size: tuple[int, int], decoding: Decoding | None) -> Mask | None:
    """A mask of what networks see of an image, as a mask of that image, H W `size`: the nearest
    pixel, IGNORE where networks see nothing of it.

    Of a canvas the mask may be all of it or the image's part alone. Arranging it again gives the
    same mask where the image has at least the height and width that it is resized to. None for a
    mask that this decoding does not make of such an image.
    """
    if decoding is not None and decoding.canvas is not None:
        return _cut(mask, size)
    if decoding is None or decoding.frame is None:
        return mask if mask.shape == size else None
    if mask.shape != decoding.frame:
        return None
    whole = np.full(placed(size, decoding).resized, IGNORE, np.uint8)
    whole[placed(size, decoding).window] = mask
    back: Mask = arranged(whole[None], Decoding(shape=size), "nearest-exact")[0]
    return back


def seen_size(size: tuple[int, int], decoding: Decoding | None) -> tuple[int, int]:
    """H W of what networks see of an image of this size, without the rest of a canvas."""
    if decoding is None or decoding.canvas is not None:
        return size
    return decoding.frame or size


def _cut(mask: Mask, size: tuple[int, int]) -> Mask | None:
    """The image's part at the top left of its canvas."""
    fits = mask.shape[0] >= size[0] and mask.shape[1] >= size[1]
    return np.ascontiguousarray(mask[: size[0], : size[1]]) if fits else None
