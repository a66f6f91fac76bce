import base64
import io

import numpy as np
from PIL import Image

from rayal.report.page.thumbnails import SIDE, Thumbnails, encoded


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)


def test_large_images_are_made_small() -> None:
    """Ten photographs would be all that a page holds."""
    found = opened(encoded(noise(300, 600)))

    assert ("JPEG", (SIDE, SIDE // 2)) == (found.format, found.size)


def test_tiny_images_stay_what_they_are() -> None:
    """An 8 x 8 digit as JPEG is twenty times as long, and grey in grey."""
    digit = noise(8, 8)
    found = opened(encoded(digit))

    assert "PNG" == found.format and np.array_equal(digit, np.asarray(found.convert("RGB")))


def test_room_is_kept() -> None:
    """A page would be larger than its bound, by as much as the images are."""
    length = len(encoded(noise(8, 8)))
    room = Thumbnails(2 * length + 1)

    assert [True, True, False] == [room.made(noise(8, 8)) is not None for _ in range(3)]
    assert 1 == room.room
