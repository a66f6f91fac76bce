"""Images as people open them: what the store holds, upright, in a format that browsers show."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayal.errors import DataError
from rayal.labeling.areas import Areas
from rayal.labeling.pictures import picture_of, write_pictures
from rayal.storage.folder import Folder
from rayal.testing.trainings import prepared

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


def shown(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_what_browsers_show_stays_as_it_is(kind: str) -> None:
    """A photograph would be coded again, larger and worse."""
    data = encoded(kind)
    found = picture_of("a", data)

    assert data == found.data and (4, 6) == found.size


def test_what_they_do_not_show_becomes_png() -> None:
    """Annotators would see a broken image in place of a TIFF."""
    found = picture_of("a", encoded("TIFF"))

    assert ".png" == found.suffix and np.array_equal(PIXELS, shown(found.data))


def test_a_photograph_that_lies_on_its_side() -> None:
    """Polygons drawn on the turned image would lie elsewhere in the one that trains."""
    exif = Image.Exif()
    exif[0x0112] = 6
    found = picture_of("a", encoded("JPEG", exif=exif))

    assert (6, 4) == found.size == shown(found.data).shape[:2] and ".png" == found.suffix


def test_pixels_and_what_cannot_be_read() -> None:
    """Digits that a store holds as pixels could not be shown; damage would end with a traceback."""
    grey = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)

    assert np.array_equal(grey[0], shown(picture_of("a", grey).data))
    with pytest.raises(DataError, match="'a' cannot be shown to people: .*; leave it out"):
        picture_of("a", b"no image")


def test_images_of_a_store(tmp_path: Path) -> None:
    """A unit would be shown another's image, or in another order than asked."""
    store = prepared(False)
    units = store.pool.ids()[:3][::-1]
    items = [*write_pictures(Areas(store), units, "copied", Folder(tmp_path))]
    decoded = store.pool.decode(store.pool.take(units))

    assert [*units] == [item.unit for item in items] and [1, 2, 3] == [i.rank for i in items]
    for item, unit, pixels in zip(items, decoded.ids, decoded.images, strict=True):
        assert item.unit == unit and item.size == pixels.shape[1:]
        assert np.array_equal(pixels[0], shown((tmp_path / item.image).read_bytes()))
    assert 3 == len({item.image for item in items})
