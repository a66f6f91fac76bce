"""The pixels of Pillow's images as arrays: copied, or where they lie.

On the usual way to an array Pillow copies an image twice and NumPy once more, none of which lets
other threads work. Arrow's interface lends the memory itself.
"""

from contextlib import suppress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from torch.utils.dlpack import from_dlpack

BLOCK = 2**29
"""Bytes of memory that Pillow may ask for at once: more than any image that is not refused takes.
One in several pieces cannot be lent."""

core = Image.core  # type: ignore[attr-defined]
core.set_block_size(BLOCK)
GAPLESS = core.get_alignment() == 1
"""Whether rows lie one behind the other; PILLOW_ALIGNMENT may say otherwise."""


def in_place(image: Image.Image) -> NDArray[np.uint8]:
    """An image in mode L or RGB, (C, H, W), to be read and not kept. Where it is lent, a fourth
    channel without meaning follows those of RGB."""
    if image.mode == "RGB" and GAPLESS:
        with suppress(ValueError):  # in several pieces
            lent: NDArray[np.uint8] = from_dlpack(pa.array(image).values).numpy()
            return lent.reshape(image.height, image.width, 4).transpose(2, 0, 1)
    return copied(image)


def copied(image: Image.Image) -> NDArray[np.uint8]:
    """The same, (C, H, W) with C as in the image, in memory of its own."""
    array = np.array(image)  # not asarray: torch wants to be able to write
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
