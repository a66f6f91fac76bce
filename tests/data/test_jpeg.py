"""A JPEG that lacks pixels is bad, however it is coded; a whole one never."""

import io
from itertools import product

import numpy as np
import pytest
from PIL import Image

from rayal.data.images import BadImage, Decoding, decode
from tests.data.test_images import encoded, photo

COLOUR, END = Decoding(channels=3), b"\xff\xd9"
CODINGS = [
    {"progressive": progressive, "subsampling": subsampling, "restart_marker_blocks": restarts}
    for progressive, subsampling, restarts in product((False, True), (0, 1, 2), (0, 3))
]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8))


def jpeg(image: Image.Image, **coding: object) -> bytes:
    return encoded(image, "JPEG", quality=90, **coding)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("coding", CODINGS)
def test_whole_ones_are_as_pillow_has_them(coding: dict[str, object], mode: str) -> None:
    """What looks for missing pixels must not cost good ones; cameras append what they like."""
    for image in (photo(33, 50), photo(1, 1), photo(8, 200), NOISE, Image.new("RGB", (40, 40))):
        data = jpeg(image.convert(mode), **coding)
        pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)

        for behind in (b"", b"\0" * 99, data):
            np.testing.assert_array_equal(pillow, decode(data + behind, COLOUR), strict=True)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_cut_file_with_an_end_is_bad(coding: dict[str, object]) -> None:
    """Tools put an end behind half of a file; what is missing is grey, or blurred, to the model."""
    data = jpeg(NOISE, **coding)
    first = data.index(b"\xff\xda") + 14

    for length in np.linspace(first + 3, len(data) - 400, 15).astype(int):
        with pytest.raises(BadImage, match="truncated|restart marker"):
            decode(data[:length] + END, COLOUR)
        with pytest.raises(BadImage, match="the end of the JPEG is missing"):
            decode(data[:length].rstrip(b"\xff"), COLOUR)


@pytest.mark.parametrize("coding", CODINGS)
def test_lost_and_overwritten_sectors_are_bad(coding: dict[str, object]) -> None:
    """Everything behind is shifted or has other colours, and nothing is said."""
    data = jpeg(NOISE, **coding)
    at = data.index(b"\xff\xda") + 500

    for damaged in (data[:at] + data[at + 512 :], data[:at] + bytes(512) + data[at + 512 :]):
        with pytest.raises(BadImage, match="truncated|corrupt"):
            decode(damaged, COLOUR)


def test_more_than_the_pixels_take_is_bad() -> None:
    """A decoder that has lost its way may find all pixels too early."""
    data = jpeg(NOISE)

    with pytest.raises(BadImage, match="more than the pixels take"):
        decode(data[:-2] + bytes(99) + END, COLOUR)
