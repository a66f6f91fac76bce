"""Mask files become classes, in the geometry of their images, or are bad with a reason."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.path import Path as Outline
from PIL import Image

from rayal.data.images import Decoding
from rayal.data.images import decode as decode_image
from rayal.data.masks import (
    IGNORE,
    BadMask,
    MaskDecoding,
    arrange,
    decode,
    encode,
    read_mask,
    same_size,
)
from rayal.errors import UsageError

AS_STORED = Decoding()
FOUR = MaskDecoding(values={0: 0, 1: 1, 2: 2, 3: 3, 255: IGNORE})
MOVED = MaskDecoding(values={7: 0, 300: 1, 0: IGNORE})


def png(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def masks(sides: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    classes = st.sampled_from([0, 1, 2, 3, IGNORE])
    return arrays.arrays(np.uint8, st.tuples(sides, sides), elements=classes)


@given(masks(st.integers(1, 40)))
@settings(deadline=None)
def test_the_own_coding_loses_nothing(mask: np.ndarray) -> None:
    """Labels travel through ledgers and stores as these bytes."""
    np.testing.assert_array_equal(mask, decode(encode(mask), FOUR, AS_STORED), strict=True)
    assert encode(mask) == encode(mask.copy())


def test_the_own_coding_is_not_translated_again() -> None:
    """A click label of class 0 would become whatever the dataset stores as 0."""
    mask = np.array([[0, 1, IGNORE]], np.uint8)

    np.testing.assert_array_equal(mask, decode(encode(mask), MOVED, AS_STORED), strict=True)
    with pytest.raises(BadMask, match="value 2 is no class; known are 0-1, 255"):
        decode(encode(mask + 1), MOVED, AS_STORED)


PALETTE = Image.new("P", (2, 1))
PALETTE.putpalette([255, 0, 0, 0, 0, 255])
PALETTE.putpixel((1, 0), 1)

ONE_NUMBER = {
    "grey": png(Image.fromarray(np.array([[0, 1]], np.uint8))),
    "palette": png(PALETTE),
    "palette, transparent": png(PALETTE, transparency=0),
    "1 bit": png(Image.fromarray(np.array([[False, True]]))),
    "16 bits": png(Image.fromarray(np.array([[0, 1]], np.uint16))),
    "TIFF": png(Image.fromarray(np.array([[0, 1]], np.uint8)), "TIFF"),
    "32 bits": png(Image.fromarray(np.array([[0, 1]], np.int32)), "TIFF"),
    "16 bits, big end first": png(Image.frombytes("I;16B", (2, 1), b"\0\0\0\1"), "TIFF"),
}


@pytest.mark.parametrize("kind", ONE_NUMBER)
def test_the_value_counts_and_not_its_colour(kind: str) -> None:
    """VOC's masks are palette images: read as colours, background would be black and class 0."""
    assert [[0, 1]] == read_mask(ONE_NUMBER[kind], FOUR, AS_STORED).tolist()


def test_values_are_translated() -> None:
    """34 label ids of Cityscapes are 19 classes; 16 bits hold more than 255 of them."""
    stored = png(Image.fromarray(np.array([[7, 300, 0]], np.uint16)))

    assert [[0, 1, IGNORE]] == read_mask(stored, MOVED, AS_STORED).tolist()


@pytest.mark.parametrize(
    "data, reason",
    [
        (png(Image.new("RGB", (2, 2))), "mode RGB has 3 numbers for each pixel; convert it"),
        (png(Image.new("RGBA", (2, 2))), "mode RGBA"),
        (png(Image.new("LA", (2, 2))), "mode LA"),
        (png(Image.new("F", (2, 2)), "TIFF"), "mode F has no whole number for each pixel"),
        (
            png(Image.fromarray(np.array([[0, -1, 65536]], np.int32)), "TIFF"),
            "values -1, 65536 are",
        ),
        (png(Image.new("L", (2, 2)), "JPEG"), "not a mask in one of the formats BMP, GIF, PNG"),
        (png(Image.new("L", (50, 50)))[:-30], "truncated"),
        (png(Image.fromarray(np.array([[0, 9, 4, 9]], np.uint8))), "values 4, 9 are no classes;"),
        (b"", "empty file"),
        (b"text", "not a mask in one of the formats"),
        (b'{"imgHeight": 1}', "not a mask in one of the formats"),
    ],
)
def test_other_files_are_bad(data: bytes, reason: str) -> None:
    """A colour picture of the classes, or one with JPEG's noise, would be labels out of range."""
    with pytest.raises(BadMask, match=reason):
        read_mask(data, FOUR, AS_STORED)


def test_many_unknown_values_are_shortened() -> None:
    """An image in the place of a mask has hundreds."""
    data = png(Image.fromarray(np.arange(100, dtype=np.uint8)[None]))
    with pytest.raises(BadMask, match="values 4, 5, 6, 7, 8, 9, 10, 11, ... are no classes"):
        read_mask(data, FOUR, AS_STORED)


def test_large_masks_are_refused_before_they_are_decoded() -> None:
    """The bomb may be the mask."""
    with pytest.raises(BadMask, match="11x10 pixels are more than max_pixels 109"):
        read_mask(png(Image.new("L", (11, 10))), FOUR, Decoding(max_pixels=109))


def test_an_address_is_read(tmp_path: Path) -> None:
    """Masks of Cityscapes stay where they are; a lost one says so."""
    file = tmp_path / "mask.png"
    file.write_bytes(ONE_NUMBER["grey"])

    assert [[0, 1]] == decode(str(file), FOUR, AS_STORED).tolist()
    with pytest.raises(BadMask, match=f"missing: {file}x"):
        decode(f"{file}x", FOUR, AS_STORED)


def test_turned_masks_are_upright() -> None:
    """Their images are made upright; the mask of a photograph may carry the same EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    data = png(Image.fromarray(np.array([[0, 1, 2]], np.uint8)), exif=exif)

    assert [[0], [1], [2]] == read_mask(data, FOUR, AS_STORED).tolist()


GEOMETRIES = [
    {"shape": (17, 31)},
    {"shape": (40, 20)},
    {"size": 16},
    {"size": 16, "squash": True},
    {"canvas": (64, 64)},
    {},
]


@pytest.mark.parametrize("options", GEOMETRIES)
@given(masks(st.integers(1, 40)))
@settings(deadline=None, max_examples=30)
def test_the_final_geometry_is_final(options: dict[str, Any], mask: np.ndarray) -> None:
    """Labels that were bought in it are decoded in every epoch."""
    decoding = Decoding(**options)
    once = arrange(mask, decoding)

    np.testing.assert_array_equal(once, decode(encode(once), FOUR, decoding), strict=True)
    assert set(once.ravel().tolist()) <= {*mask.ravel().tolist(), IGNORE}


@pytest.mark.parametrize("options", [{"shape": (17, 31)}, {"shape": (90, 70)}, {"size": 24}])
@given(st.integers(30, 70), st.integers(30, 70), st.floats(0.3, 0.7), st.booleans())
@settings(deadline=None, max_examples=50)
def test_masks_lie_where_their_images_do(
    options: dict[str, Any], height: int, width: int, place: float, across: bool
) -> None:
    """Half a pixel of drift would blur every border that the network learns."""
    mask = np.zeros((height, width), np.uint8)
    if across:
        mask[round(place * height) :] = 1
    else:
        mask[:, round(place * width) :] = 1
    image = Image.fromarray(mask * 255).convert("RGB")
    decoding = Decoding(**options)
    painted = decode_image(png(image), decoding)[0].astype(int)
    clear = abs(2 * painted - 255) > 4  # else the border runs through the middle of a pixel
    assume(len(set(painted[clear].tolist())) > 1)

    np.testing.assert_array_equal(
        painted[clear] > 127, arrange(mask, decoding)[clear] == 1, strict=True
    )


def test_enlarged_masks_repeat_their_pixels() -> None:
    """Nothing between two classes: 0 and 2 have no 1 in the middle."""
    mask = np.array([[0, 2], [3, 255]], np.uint8)

    np.testing.assert_array_equal(
        mask.repeat(3, 0).repeat(2, 1), arrange(mask, Decoding(shape=(6, 4))), strict=True
    )


def test_a_canvas_is_ignored_beside_the_mask() -> None:
    """The network would be taught that grey borders are class 0."""
    mask = arrange(np.array([[1, 2]], np.uint8), Decoding(canvas=(2, 3)))

    assert [[1, 2, IGNORE], [IGNORE] * 3] == mask.tolist()
    with pytest.raises(BadMask, match=r"1x2 \(HxW\) is larger than the canvas 1x1"):
        arrange(np.array([[1, 2]], np.uint8), Decoding(canvas=(1, 1)))


DRAWN = MaskDecoding(values={}, names={"road": 0, "car": 1, "sky": IGNORE, "plate": None})


def polygons(*objects: tuple[str, Any], height: Any = 4, width: Any = 5, **more: Any) -> bytes:
    each = [{"label": label, "polygon": points, **more} for label, points in objects]
    return json.dumps({"imgHeight": height, "imgWidth": width, "objects": each}).encode()


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def test_polygons_by_hand() -> None:
    """Later ones lie on top; a plate is part of its car; what nobody drew is ignored."""
    data = polygons(
        ("road", box(0, 1, 5, 4)),
        ("car", box(1, 1, 4, 3)),
        ("plate", box(2, 2, 3, 3)),
        ("sky", box(4, 3, 9, 9)),
    )

    assert [
        [255, 255, 255, 255, 255],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 255],
    ] == read_mask(data, DRAWN, AS_STORED).tolist()
    assert {IGNORE} == set(
        read_mask(polygons(("car", box(0, 0, 5, 4)), deleted=1), DRAWN, AS_STORED).flat
    )


@given(st.lists(st.tuples(st.integers(-5, 45), st.integers(-5, 35)), min_size=3, max_size=6))
@settings(deadline=None, max_examples=100)
def test_polygons_cover_the_centres_inside(points: list[tuple[int, int]]) -> None:
    """Against a ray from every centre, except for centres on an edge."""
    found = read_mask(polygons(("car", points), height=30, width=40), DRAWN, AS_STORED) == 1
    y, x = np.mgrid[:30, :40] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], 1)
    near = np.zeros(len(centres), bool)
    inside = np.zeros(len(centres), bool)
    for a, b in zip(np.array(points, float), np.roll(np.array(points, float), -1, 0), strict=True):
        side, out = b - a, centres - a
        along = np.clip(out @ side / max(float(side @ side), 1e-9), 0, 1)
        near |= np.hypot(*(out - along[:, None] * side).T) < 1e-6
        crosses = (a[1] > centres[:, 1]) != (b[1] > centres[:, 1])
        left = (out[:, 0] * side[1] < out[:, 1] * side[0]) == (side[1] > 0)
        inside ^= crosses & left

    np.testing.assert_array_equal(inside[~near], found.ravel()[~near], strict=True)


def test_a_triangle_agrees_with_matplotlib() -> None:
    """An outline of somebody else's geometry, with no corner on a centre."""
    points = [(2.2, 3.1), (36.7, 9.4), (11.3, 27.8)]
    found = read_mask(polygons(("car", points), height=30, width=40), DRAWN, AS_STORED) == 1
    y, x = np.mgrid[:30, :40] + 0.5
    inside = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], 1))

    np.testing.assert_array_equal(inside, found.ravel(), strict=True)


@pytest.mark.parametrize(
    "data, reason",
    [
        (polygons(("bus", box(0, 0, 1, 1))), "polygons are called 'bus'; known are road, car, sky"),
        (polygons(("car", [[0, 0], [1, 1]])), "polygons: objects.0.polygon: should be a list of"),
        (polygons(("car", [[0, 0], [1, 1], [2]])), "polygons: objects.0.polygon.2.1"),
        (polygons(("car", [[0, 0], [1, 1], [2, "x"]])), "polygons: objects.0.polygon.2.1"),
        (polygons(("car", [[0, 0], [1, 1], [2, float("nan")]])), "finite number"),
        (polygons(height=0), "imgHeight"),
        (polygons(height=10**6, width=10**6), "more than max_pixels"),
        (b"{", "not a file of polygons"),
        (b'{"a": ' + b"[" * 100_000, "not a file of polygons"),
        (b"\xff\xfe", "not a mask in one of the formats"),
    ],
)
def test_other_polygons_are_bad(data: bytes, reason: str) -> None:
    """An unknown name is a class that nobody would miss until the results are in."""
    with pytest.raises(BadMask, match=reason):
        read_mask(data, DRAWN, AS_STORED)


def test_polygons_behind_a_byte_order_mark() -> None:
    """Editors of Windows put one in front of JSON (F06)."""
    data = polygons(("car", box(0, 0, 5, 4)))

    assert {1} == set(read_mask(b"\xef\xbb\xbf" + data, DRAWN, AS_STORED).flat)
    assert {1} == set(read_mask(b"\xef\xbb\xbf \r\n" + data, DRAWN, AS_STORED).flat)


def test_what_would_have_done_is_named() -> None:
    """Whoever has polygons would else think that they must be drawn first."""
    with pytest.raises(BadMask, match="formats BMP, GIF, PNG, PPM, TIFF, JSON of polygons$"):
        read_mask(b"text", DRAWN, AS_STORED)
    with pytest.raises(BadMask, match="formats BMP, GIF, PNG, PPM, TIFF$"):
        read_mask(b"text", FOUR, AS_STORED)


def turned(height: int, width: int, kind: str) -> bytes:
    """An image that lies on its side, as a camera wrote it, of this size when it is upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(Image.new("L", (height, width)), kind, exif=exif)


@pytest.mark.parametrize(
    ("image", "mask", "same"),
    [
        (png(Image.new("RGB", (5, 4))), png(Image.new("L", (5, 4))), True),
        (png(Image.new("RGB", (5, 4)), "JPEG"), png(Image.new("P", (5, 4))), True),
        (png(Image.new("RGB", (5, 4))), png(Image.new("L", (4, 5))), False),
        (png(Image.new("RGB", (5, 4))), png(Image.new("L", (5, 3))), False),
        (turned(4, 5, "JPEG"), png(Image.new("L", (5, 4))), True),
        (turned(4, 5, "JPEG"), png(Image.new("L", (4, 5))), False),
        (turned(4, 5, "PNG"), png(Image.new("L", (5, 4))), True),
        (turned(4, 5, "TIFF"), png(Image.new("L", (4, 5))), False),
        (turned(4, 5, "TIFF"), png(Image.new("L", (5, 4))), True),
        (png(Image.new("RGB", (5, 4))), polygons(height=4, width=5), True),
        (png(Image.new("RGB", (5, 4))), b"\xef\xbb\xbf" + polygons(height=4, width=5), True),
        (png(Image.new("RGB", (5, 4))), polygons(height=4, width=6), False),
        (png(Image.new("RGB", (5, 4))), b"", False),
        (b"text", png(Image.new("L", (5, 4))), False),
        (png(Image.new("RGB", (5, 4))), png(Image.new("L", (5, 4)), "JPEG"), False),
    ],
)
def test_headers_tell_sizes(tmp_path: Path, image: bytes, mask: bytes, same: bool) -> None:
    """A mask of another size would be stretched, or filled up, to that of its image (F03)."""
    (tmp_path / "image").write_bytes(image)
    (tmp_path / "mask").write_bytes(mask)

    assert same is same_size(str(tmp_path / "image"), str(tmp_path / "mask"), DRAWN)
    assert same is same_size(f"file://{tmp_path}/image", f"file://{tmp_path}/mask", DRAWN)


def test_headers_are_at_the_front(tmp_path: Path) -> None:
    """Of 11 GB of images a megabyte is read; and a pipe, which never ends, is not opened."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    image, mask, pipe = (str(tmp_path / name) for name in ("image", "mask", "pipe"))
    Path(image).write_bytes(png(Image.fromarray(noise))[:70_000])
    Path(mask).write_bytes(png(Image.new("L", (400, 300))))
    os.mkfifo(pipe)

    assert same_size(image, mask, FOUR)
    assert not same_size(pipe, mask, FOUR)
    assert not same_size(image, pipe, FOUR)
    assert not same_size(image, f"{mask}-lost", FOUR)


def test_coordinates_may_be_anywhere() -> None:
    """Objects are cut off by the border of an image; none may crash the decoder."""
    far = polygons(("car", box(-1e300, -1e300, 1e300, 1e300)))

    assert {1} == set(read_mask(far, DRAWN, AS_STORED).flat)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: MaskDecoding(values={0: 256}), "256 is neither a class"),
        (lambda: MaskDecoding(values={0: -1}), "-1 is neither a class"),
        (lambda: MaskDecoding(values={-1: 0}), "-1 is no value of a pixel"),
        (lambda: MaskDecoding(values={2**16: 0}), "65536 is no value of a pixel"),
        (lambda: MaskDecoding(values={}, names={"a": 300}), "300 is neither a class"),
    ],
)
def test_impossible_translations_are_refused(
    build: Callable[[], MaskDecoding], message: str
) -> None:
    """A plugin's typing error would wrap around to another class."""
    with pytest.raises(UsageError, match=message):
        build()


def test_the_translation_goes_through_json() -> None:
    """It lies in the card, for workers on other machines."""
    assert DRAWN == MaskDecoding.model_validate_json(DRAWN.model_dump_json())
    assert MOVED == MaskDecoding.model_validate_json(MOVED.model_dump_json())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(ONE_NUMBER)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_damaged_masks_are_masks_or_bad(kind: str, changes: list[tuple[float, int]]) -> None:
    """Whatever Pillow's decoders raise, the message must name the file and not the decoder."""
    data = bytearray(ONE_NUMBER[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        mask = read_mask(bytes(data), FOUR, AS_STORED)
    except BadMask:
        return

    assert (2, np.uint8) == (mask.ndim, mask.dtype)
