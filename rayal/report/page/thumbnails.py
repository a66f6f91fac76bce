"""Small pictures inside of a page: as data URIs, as far as there is room for them.

H W is the size of an image.
"""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
"""Of a picture, in pixels; smaller images stay as they are."""
QUALITY = 80
"""Of JPEG."""
TINY = 400
"""Pixels of an image that JPEG makes no shorter."""

Pixels = NDArray[np.uint8]  # H W 3


class Thumbnails:
    """Pictures of a page, until the room for them is used up."""

    def __init__(self, room: int) -> None:
        """`room`: characters of all pictures together."""
        self.room = room

    def made(self, pixels: Pixels, side: int = SIDE) -> str | None:
        """One more picture; None where there is no room."""
        uri = encoded(pixels, side)
        if len(uri) > self.room:
            return None
        self.room -= len(uri)
        return uri


def encoded(pixels: Pixels, side: int = SIDE) -> str:
    """A data URI of the picture: JPEG, or PNG where it is so small that this is shorter."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    form, out = "png" if image.width * image.height <= TINY else "jpeg", io.BytesIO()
    image.save(out, form, optimize=True, **({"quality": QUALITY} if form == "jpeg" else {}))
    return f"data:image/{form};base64,{base64.b64encode(out.getvalue()).decode()}"
