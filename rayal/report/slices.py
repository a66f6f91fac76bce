"""What is shown of an image: a picture as it is, a volume by its middle plane."""

import numpy as np

from rayal.data.images import Pixels, Stored


def shown(image: Stored) -> Pixels:
    """H W 3, of pixels C H W, or of numbers C D H W: of these the plane in the middle of D, black
    where it is lowest and white where it is highest. C is 1 or 3."""
    while image.ndim > 3:
        image = image[:, image.shape[1] // 2]
    if image.dtype != np.uint8:
        lowest, highest = float(image.min()), float(image.max())
        shades = (image - lowest) / (highest - lowest or 1.0)
        image = np.rint(255 * shades).astype(np.uint8)
    pixels: Pixels = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3))
    return pixels
