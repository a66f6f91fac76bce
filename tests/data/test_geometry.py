"""What networks say of an image lies in the right place when people look at it."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rayal.data.geometry import restored, seen_size
from rayal.data.images import Decoding, decode
from rayal.data.masks import IGNORE, arrange

DECODINGS = {
    "as it is": Decoding(),
    "raw": None,
    "square": Decoding(size=8),
    "squash": Decoding(size=8, resize=10, squash=True),
    "centre": Decoding(size=8, resize=11),
    "shape": Decoding(shape=(6, 9)),
    "canvas": Decoding(canvas=(40, 40)),
}
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
quick = settings(deadline=None, max_examples=40)
V = IGNORE


def random_mask(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, size, np.uint8)


@pytest.mark.parametrize("name", DECODINGS)
@quick
@given(size=sizes)
def test_what_is_put_back_and_arranged_again_is_the_same(name, size):
    """What the model suggests would come back as something else, though nobody changed it."""
    decoding = DECODINGS[name] or Decoding()
    needed = decoding.shape or [decoding.resize or decoding.size or 1] * 2
    assume(all(has >= wants for has, wants in zip(size, needed, strict=True)))
    mask = random_mask(seen_size(size, DECODINGS[name]))

    back = restored(mask, size, DECODINGS[name])

    assert back is not None and size == back.shape
    again = arrange(back, decoding)
    if decoding.canvas:
        again = again[: size[0], : size[1]]
    np.testing.assert_array_equal(mask, again)


@quick
@given(size=st.tuples(st.integers(1, 6), st.integers(1, 9)))
def test_of_a_small_image_every_pixel_comes_back(size):
    """What was enlarged for networks would lie a pixel beside its place."""
    decoding = Decoding(shape=(6, 9))
    mask = random_mask(size)

    np.testing.assert_array_equal(mask, restored(arrange(mask, decoding), size, decoding))


def test_what_networks_do_not_see_is_void():
    """A hand value: of 2 x 4 pixels, enlarged to 4 x 8, networks see the four columns amid."""
    mask = np.repeat(np.repeat([[1, 2], [3, 4]], 2, 0), 2, 1).astype(np.uint8)

    assert [[V, 1, 2, V], [V, 3, 4, V]] == restored(mask, (2, 4), Decoding(size=4)).tolist()


def test_pixels_and_masks_are_put_at_the_same_place():
    """The suggestion of a photograph would be shifted: a bright spot is where its mask says."""
    import io

    from PIL import Image

    image = np.zeros((64, 96), np.uint8)
    image[24:40, 48:66] = 255
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    for decoding in (Decoding(size=32, channels=1), Decoding(shape=(32, 32), channels=1)):
        seen = decode(data.getvalue(), decoding)[0] > 127
        back = restored(seen.astype(np.uint8), image.shape, decoding)

        np.testing.assert_array_equal(image > 127, back == 1)


@pytest.mark.parametrize("decoding", [*DECODINGS.values()])
def test_a_mask_of_another_decoding_is_none(decoding):
    """It would be stretched over the image, and people shown nonsense."""
    assert restored(random_mask((7, 7)), (30, 20), decoding) is None


def test_of_a_canvas_the_image_alone_counts():
    """A canvas's rest would be shown, or a mask that was cut already be refused."""
    decoding, mask = Decoding(canvas=(40, 40)), random_mask((3, 5))
    for given_ in (mask, arrange(mask, decoding)):
        np.testing.assert_array_equal(mask, restored(given_, (3, 5), decoding))
