"""Pixels that are read in Pillow's memory are those that a copy has."""

import io
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayal.data import images, in_place
from rayal.data.images import Decoding, decode


def encoded(height: int, width: int) -> bytes:
    """Noise."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.sampled_from([1, 3]),
    options=st.sampled_from([{"size": 16, "resize": 20}, {"shape": (9, 30)}, {"size": 1}]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_pixels_are_the_same_in_place_and_copied(
    height: int, width: int, channels: Literal[1, 3], options: dict[str, Any], interpolation: str
) -> None:
    """Which memory an image lies in depends on its size and on Pillow's settings."""
    decoding = Decoding(channels=channels, interpolation=interpolation, **options)  # type: ignore[arg-type]
    data = encoded(height, width)
    lent = decode(data, decoding)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "GAPLESS", False)
        copied = decode(data, decoding)

    np.testing.assert_array_equal(copied, lent)


@pytest.mark.parametrize("height, width", [(40, 61), (33, 500)])
def test_an_image_in_several_pieces_is_read_as_one(height: int, width: int) -> None:
    data, decoding, block = encoded(height, width), Decoding(size=16), 4096
    expected = decode(data, decoding)
    assert 4 * images.PILLOW_LIMIT <= in_place.BLOCK == Image.core.get_block_size()

    Image.core.set_block_size(block)
    try:
        found = decode(data, decoding)
    finally:
        Image.core.set_block_size(in_place.BLOCK)

    np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_decoded_outlives_the_image(channels: Literal[1, 3]) -> None:
    """It is read in the image's own memory, but is no part of it."""
    decoding = Decoding(channels=channels, size=16)
    loaded = images.load(encoded(16, 16), decoding)
    image, pixels = loaded.image, images.pixels(loaded, decoding)
    expected = pixels.copy()

    image.paste(Image.new(image.mode, image.size))

    np.testing.assert_array_equal(expected, pixels)
    pixels[:] = 0  # torch wants to be able to write
