"""Every kind of image file becomes the documented pixels, or is bad with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from torchvision.transforms.v2 import functional

from rayal.data.images import BadImage, Decoding, decode

COLOUR, GREY = Decoding(channels=3), Decoding(channels=1)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def dots(mode: str, *values: object) -> Image.Image:
    """An image one pixel high."""
    image = Image.new(mode, (len(values), 1))
    for column, value in enumerate(values):
        image.putpixel((column, 0), value)  # type: ignore[arg-type]
    return image


def photo(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def png_header(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_channels_come_first() -> None:
    """Everything downstream takes C H W; a transposed image would train and score silently."""
    pixels = decode(encoded(dots("RGB", (1, 2, 3), (4, 5, 6))), COLOUR)

    assert [[[1, 4]], [[2, 5]], [[3, 6]]] == pixels.tolist()
    assert np.uint8 == pixels.dtype and pixels.flags.c_contiguous


PALETTE = dots("P", 0, 1)
PALETTE.putpalette([255, 0, 0, 0, 0, 255])

KINDS = {
    "1 bit": (encoded(dots("1", 0, 255)), [(0, 0, 0), (255, 255, 255)]),
    "grey": (encoded(dots("L", 0, 77)), [(0, 0, 0), (77, 77, 77)]),
    "grey, transparent": (encoded(dots("LA", (0, 0), (77, 255))), [(255,) * 3, (77,) * 3]),
    "colour, transparent": (
        encoded(dots("RGBA", (9, 9, 9, 0), (1, 2, 3, 255))),
        [(255, 255, 255), (1, 2, 3)],
    ),
    "one transparent colour": (
        encoded(dots("RGB", (9, 9, 9), (1, 2, 3)), transparency=(9, 9, 9)),
        [(255, 255, 255), (1, 2, 3)],
    ),
    "palette": (encoded(PALETTE), [(255, 0, 0), (0, 0, 255)]),
    "palette, transparent": (encoded(PALETTE, transparency=0), [(255, 255, 255), (0, 0, 255)]),
    "palette, alpha table": (
        encoded(PALETTE, transparency=b"\x00\xff"),
        [(255, 255, 255), (0, 0, 255)],
    ),
    "CMYK": (
        encoded(dots("CMYK", (0, 0, 0, 0), (255, 0, 0, 0)), "TIFF"),
        [(255, 255, 255), (0, 255, 255)],
    ),
    "16 bits": (encoded(dots("I;16", 0, 0x12FF, 0xFFFF)), [(0,) * 3, (0x12,) * 3, (255,) * 3]),
    "YCbCr": (encoded(dots("YCbCr", (99, 128, 128)), "TIFF"), [(99, 99, 99)]),
    "animation": (
        encoded(dots("L", 7), "GIF", save_all=True, append_images=[dots("L", 200)]),
        [(7, 7, 7)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_mode_has_one_conversion(kind: str) -> None:
    """The table in images.py; training and scoring must see the same pixels on every machine."""
    data, colours = KINDS[kind]

    assert colours == [tuple(dot) for dot in decode(data, COLOUR)[:, 0].T.tolist()]


@pytest.mark.parametrize("kind", KINDS)
def test_grey_is_the_luma_of_the_colours(kind: str) -> None:
    """A dataset with one channel must not depend on how its images happen to be stored."""
    data, colours = KINDS[kind]
    luma = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in colours]

    assert pytest.approx(luma, abs=0.51) == decode(data, GREY)[0, 0].tolist()


def test_turned_photographs_are_upright() -> None:
    """Phones store orientation in EXIF; ignoring it would train on images lying on their side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    data = encoded(dots("RGB", (10, 0, 0), (20, 0, 0), (30, 0, 0)), "PNG", exif=exif)

    assert [[10], [20], [30]] == decode(data, COLOUR)[0].tolist()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_unknown_ranges_are_bad(mode: str) -> None:
    """Scaling 32-bit values by a guess would make some images black."""
    with pytest.raises(BadImage, match="no known range"):
        decode(encoded(dots(mode, 1000), "TIFF"), COLOUR)


GOOD = {
    kind: encoded(photo(40, 50), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
}


@pytest.mark.parametrize("kind", GOOD)
def test_truncated_files_are_bad(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this flag, which other libraries set, Pillow fills lost rows with grey in silence."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    with pytest.raises(BadImage):
        decode(GOOD[kind][: len(GOOD[kind]) * 2 // 3], COLOUR)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<html></html>", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_other_files_are_bad(data: bytes) -> None:
    """A text file called .jpg must cost one image, not the run; PostScript must not be executed."""
    with pytest.raises(BadImage) as caught:
        decode(data, COLOUR)

    assert "0x" not in str(caught.value), "a reason must be the same on every machine"


@pytest.mark.parametrize("side", [10_000, 14_000, 60_000])
def test_decompression_bombs_are_bad(side: int) -> None:
    """A hundred bytes must not allocate gigabytes; Pillow only warns of the first."""
    with pytest.raises(BadImage):
        decode(png_header(side, side), COLOUR)


def test_max_pixels_can_be_lower() -> None:
    """Whoever knows their images to be small can refuse larger ones."""
    data = encoded(photo(10, 11))

    assert (3, 10, 11) == decode(data, Decoding(max_pixels=110)).shape
    with pytest.raises(BadImage, match="11x10 pixels are more than max_pixels 109"):
        decode(data, Decoding(max_pixels=109))


def test_a_resize_cannot_be_a_bomb() -> None:
    """A 1x10000 image is small; with its shorter side at 224 it would take 1.5 GB."""
    with pytest.raises(BadImage, match="2240000"):
        decode(encoded(photo(1, 10_000)), Decoding(size=224))

    assert (3, 16, 16) == decode(encoded(photo(1, 10_000)), Decoding(size=16)).shape
    assert (3, 16, 16) == decode(encoded(photo(1, 1)), Decoding(size=16)).shape


@pytest.mark.parametrize("height, width", [(40, 61), (61, 40), (32, 32), (33, 500), (7, 9)])
@pytest.mark.parametrize("resize, size", [(32, 32), (32, 27), (37, 32)])
@pytest.mark.parametrize("squash", [False, True])
def test_resize_and_crop_agree_with_torchvision(
    height: int, width: int, resize: int, size: int, squash: bool
) -> None:
    """Pretrained weights and published accuracies expect exactly this preprocessing."""
    image = photo(height, width)
    target = [resize, resize] if squash else [resize]
    expected = functional.center_crop(
        functional.resize(functional.pil_to_tensor(image), target), [size, size]
    )
    resized = functional.resize(image, target)
    pillow = functional.pil_to_tensor(functional.center_crop(resized, [size, size]))
    actual = decode(encoded(image), Decoding(size=size, resize=resize, squash=squash))

    np.testing.assert_array_equal(expected.numpy(), actual, strict=True)
    np.testing.assert_allclose(pillow.numpy(), actual, rtol=0, atol=1)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_damaged_files_are_images_or_bad(
    kind: str, changes: list[tuple[float, int]], keep: float
) -> None:
    """Whatever Pillow's decoders raise on hostile bytes, a pass over millions must go on."""
    data = bytearray(GOOD[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        pixels = decode(bytes(data[: int(keep * len(data)) + 1]), Decoding(size=8))
    except BadImage:
        return

    assert (3, 8, 8) == pixels.shape


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resize": 32}, "need a size"),
        ({"squash": True}, "need a size"),
        ({"size": 32, "resize": 31}, "raise resize"),
        ({"size": 0}, "greater than 0"),
        ({"channels": 4}, "1 or 3"),
        ({"max_pixels": 10**9}, "less than or equal"),
        ({"size": 8, "shape": (8, 8)}, "exclude one another"),
        ({"shape": (8, 8), "canvas": (8, 8)}, "exclude one another"),
        ({"shape": (8, 8), "resize": 9}, "need a size"),
        ({"canvas": (8, 8), "squash": True}, "need a size"),
        ({"shape": (8, 0)}, "greater than 0"),
        ({"canvas": (10, 10), "max_pixels": 99}, "more than max_pixels 99"),
        ({"canvas": (10, 10), "reduced": True}, "set size or shape"),
    ],
)
def test_contradicting_options_are_refused(options: dict[str, object], message: str) -> None:
    """A crop larger than the image would add black borders to every image."""
    with pytest.raises(ValueError, match=message):
        Decoding.model_validate(options)


def test_a_shape_is_met_whatever_the_proportions() -> None:
    """Scenes of 2048x1024 are reduced to 688x688 by the papers; a crop would cut off classes."""
    image = photo(30, 50)
    expected = functional.resize(functional.pil_to_tensor(image), [20, 44])

    np.testing.assert_array_equal(
        expected.numpy(), decode(encoded(image), Decoding(shape=(20, 44))), strict=True
    )


def test_an_image_of_the_right_shape_stays_as_it_is() -> None:
    """A resize to its own size would cost as much as decoding."""
    data = encoded(photo(30, 50))

    np.testing.assert_array_equal(
        decode(data, Decoding()), decode(data, Decoding(shape=(30, 50))), strict=True
    )


def test_a_canvas_has_the_mean_colour_beside_the_image() -> None:
    """Black borders would be edges that every network sees; the mean becomes nearly 0."""
    data = encoded(dots("RGB", (10, 0, 255), (20, 1, 255)))
    drawn = decode(data, Decoding(canvas=(2, 3)))

    assert [[10, 20, 15], [15, 15, 15]] == drawn[0].tolist()
    assert [[0, 1, 0], [0, 0, 0]] == drawn[1].tolist()
    assert {255} == set(drawn[2].flat)
    with pytest.raises(BadImage, match=r"1x2 \(HxW\) is larger than the canvas 5x1"):
        decode(data, Decoding(canvas=(5, 1)))


@pytest.mark.parametrize(
    "options, frame",
    [
        ({}, None),
        ({"size": 8}, (8, 8)),
        ({"shape": (3, 4)}, (3, 4)),
        ({"canvas": (3, 4)}, (3, 4)),
    ],
)
def test_the_frame_is_known_beforehand(
    options: dict[str, object], frame: tuple[int, int] | None
) -> None:
    """Plans and models need it before any image is read."""
    decoding = Decoding.model_validate(options)

    assert frame == decoding.frame
    assert frame in (None, decode(encoded(photo(3, 4)), decoding).shape[1:])


def test_options_that_are_not_used_leave_no_trace() -> None:
    """Stores and passes are identified by these; new ones would make all of them be done again."""
    assert {"channels", "size", "resize", "squash", "max_pixels"} == Decoding().model_dump().keys()
    shaped = Decoding(shape=(3, 4))

    assert shaped == Decoding.model_validate_json(shaped.model_dump_json())


def test_bicubic_is_that_of_torchvision() -> None:
    """Networks that were trained with it would see images of another sharpness."""
    image = photo(40, 60)
    pixels = torch.from_numpy(np.array(image).transpose(2, 0, 1))
    cubic = functional.InterpolationMode.BICUBIC
    expected = functional.resize(pixels, [16, 24], cubic, antialias=True).numpy()

    decoding = Decoding(shape=(16, 24), interpolation="bicubic")
    np.testing.assert_array_equal(expected, decode(encoded(image), decoding), strict=True)
    assert (expected != decode(encoded(image), Decoding(shape=(16, 24)))).any()
    assert "interpolation" not in Decoding().model_dump()  # what was identified before still is


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("stored", "scale"), [((401, 300), 4), ((300, 401), 4), ((95, 70), 1)])
def test_reduced_photographs_are_those_of_libjpeg(
    stored: tuple[int, int], scale: int, orientation: int
) -> None:
    """The scale is the smallest that leaves twice the sides that the resize makes, and where no
    scale does nothing is reduced; turned ones are measured as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(*stored), "JPEG", quality=95, exif=exif, subsampling=0)
    decoding = Decoding(size=24, resize=36, reduced=True)
    found = decode(data, decoding)

    whole = Image.open(io.BytesIO(data))
    whole.draft("RGB", tuple(side // scale for side in whole.size))
    assert [-(-side // scale) for side in stored[::-1]] == list(whole.size)
    upright = whole.transpose(Image.Transpose.ROTATE_270) if orientation == 6 else whole
    sides = stored[::-1] if orientation == 6 else stored
    rows, columns = (36 * side // min(sides) for side in sides)  # of the file, not of the reduced
    resized = functional.resize(
        torch.from_numpy(np.array(upright)).permute(2, 0, 1), [rows, columns], antialias=True
    )
    np.testing.assert_array_equal(functional.center_crop(resized, [24, 24]).numpy(), found)


def test_reduced_photographs_are_nearly_the_same() -> None:
    """A scale too small would show as blur, one of another image as anything."""
    data = encoded(photo(600, 800), "JPEG", quality=95)
    found = [decode(data, Decoding(size=32, reduced=on)).astype(int) for on in (False, True)]

    assert not np.array_equal(*found)
    assert 2 >= np.abs(found[0] - found[1]).max()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_what_cannot_be_reduced_stays_as_it_is(kind: str) -> None:
    """JPEG alone knows smaller versions of itself."""
    data = encoded(photo(300, 400), kind)
    found = [decode(data, Decoding(size=16, reduced=on)) for on in (False, True)]

    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_reduced_photograph_that_is_cut_is_bad(progressive: bool) -> None:
    """What is reduced is read whole all the same."""
    data = encoded(photo(300, 400), "JPEG", progressive=progressive)
    decoding = Decoding(size=16, reduced=True)
    assert (3, 16, 16) == decode(data, decoding).shape
    for cut in (data[:-200], data[:-200] + b"\xff\xd9"):
        with pytest.raises(BadImage, match="truncated"):
            decode(cut, decoding)
