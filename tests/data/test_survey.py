"""What looking at every image tells."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayal.data.copies import Copy
from rayal.data.images import Decoding
from rayal.data.survey import Survey, look
from rayal.errors import DataError


def noise(count: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, 5, 4), dtype=np.uint8)


def png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def surveyed(channels: int, size: tuple[int, int], **splits: list[object]) -> Survey:
    survey = Survey((channels, *size))
    for split, images in splits.items():
        ids = [f"{split}-{row}" for row in range(len(images))]
        survey.add(split, ids, [look(image, Decoding()) for image in images])  # type: ignore[arg-type]
    return survey


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_the_pool(channels: int) -> None:
    """Networks are fed (pixel - mean) / std; test images must have no part in it."""
    images = noise(7, channels)
    survey = Survey((channels, 5, 4))
    for start in (0, 4):  # in two groups
        looks = [look(image, Decoding()) for image in images[start : start + 4]]
        survey.add("pool", [str(start + row) for row in range(len(looks))], looks)
    survey.add("test", ["t"], [look(np.full_like(images[0], 255), Decoding())])
    mean, std = survey.statistics()

    assert pytest.approx(images.mean((0, 2, 3)) / 255, rel=1e-12) == mean
    assert pytest.approx(images.std((0, 2, 3)) / 255, rel=1e-12) == std


def test_a_constant_channel_has_std_1() -> None:
    """Dividing by 0 would fill the network with NaN."""
    survey = surveyed(1, (2, 2), pool=[np.full((1, 2, 2), 51, np.uint8)])

    assert ((0.2,), (1.0,)) == survey.statistics()


def test_duplicates_by_content() -> None:
    """An image in pool and test makes accuracy a memory test; one twice in the pool costs twice."""
    a, b, c = noise(3, 3)
    survey = surveyed(3, (5, 4), pool=[a, b, a, a], test=[c, b, b])

    assert {"pool": 2, "across": 2} == survey.duplicates
    assert [
        Copy("pool-2", "pool", "pool-0"),
        Copy("pool-3", "pool", "pool-0"),
        Copy("test-1", "test", "pool-1"),
        Copy("test-2", "test", "pool-1"),
    ] == survey.copies


@pytest.mark.parametrize(("pixels", "found"), [(False, []), (True, [Copy("1", "pool", "0")])])
def test_content_is_what_the_store_holds(pixels: bool, found: list[Copy]) -> None:
    """Two files of the same pixels are the same image to a network that is given pixels, and two
    images where files are kept: looking at both would cost a second decoding."""
    image = Image.fromarray(noise(1, 3)[0].transpose(1, 2, 0))
    files = []
    for format in ("PNG", "BMP"):
        buffer = io.BytesIO()
        image.save(buffer, format)
        files.append(look(buffer.getvalue(), Decoding()))
    survey = Survey((3, 5, 4), pixels=pixels)
    survey.add("pool", ["0", "1"], files)

    assert found == survey.copies


def test_bad_images_are_named_and_not_counted() -> None:
    """The card is where a user looks first when a run stops for bad images."""
    survey = surveyed(3, (3, 4), pool=[png(3, 4), b"text", None, png(3, 4)], test=[b""])

    assert {
        "pool-1": "not an image in one of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP",
        "pool-2": "no data (null)",
        "test-0": "empty file",
    } == survey.bad
    assert {"3x4": 2} == dict(survey.sizes)
    assert {"pool": 1, "across": 0} == survey.duplicates


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((8, 9), np.uint8), r"\(8, 9\) and uint8.*image\[None\] makes \(1, 8, 9\)"),
        (np.zeros((8, 9, 3), np.uint8), r"transpose\(2, 0, 1\) turns it"),
        (np.zeros((3, 8, 9), np.float32), r"\(3, 8, 9\) and float32; give uint8 arrays C H W"),
        (Image.new("L", (8, 9)), "an image is Image; give uint8 arrays C H W, the bytes"),
    ],
)
def test_what_is_no_image_is_a_mistake_of_the_dataset(image: object, told: str) -> None:
    """A user's own dataset would end in an assertion, or every image would count as damaged."""
    with pytest.raises(DataError, match=told):
        look(image, Decoding())  # type: ignore[arg-type]


def test_images_as_the_message_wants_them(tmp_path: Path) -> None:
    """Arrays of both shapes that it turns round, bytes, and a path."""
    grey, last = np.zeros((8, 9), np.uint8), np.zeros((8, 9, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(png(8, 9))
    rights = (grey[None], last.transpose(2, 0, 1), png(8, 9), str(tmp_path / "a.png"))
    for image in rights:
        assert (8, 9) == look(image, Decoding()).pixels.shape[1:]  # type: ignore[union-attr]
