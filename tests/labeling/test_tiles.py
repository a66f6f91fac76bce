"""Tiles cover an image, each pixel once, however it is seen."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayal.data.datasets.mask_folder import MaskFolder
from rayal.data.masks import IGNORE, decoded, encode
from rayal.data.store import Store
from rayal.errors import DataError
from rayal.labeling.areas import Areas
from rayal.labeling.pictures import Picture, dimmed
from rayal.labeling.regions import region_id
from rayal.labeling.tiles import tiles, tiles_of

SIZES = {"a.png": (20, 33), "b.png": (31, 17)}


@pytest.fixture(params=[{"canvas": (40, 40)}, {"size": 16}, {"shape": (12, 24)}], ids=str)
def store(request: pytest.FixtureRequest, tmp_path: Path, cache: object) -> Store:
    """Two images of different sizes."""
    for split in ("train", "test"):
        for name, size in SIZES.items():
            for kind in ("images", "masks"):
                (tmp_path / split / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / split / kind / name)
    options = {"encoding": "bytes", **request.param}
    return MaskFolder(root=str(tmp_path), classes=("a", "b"), **options).open()


def areas(store: Store) -> Areas:
    return Areas(store, lambda store, images: tiles_of(store, images, (2, 3)))


@pytest.mark.parametrize("size", [(7, 11), (2, 3), (1, 1), (40, 2)])
def test_tiles_cover_an_image_once(size: tuple[int, int]) -> None:
    """A pixel would be bought twice, or could never be bought."""
    found = tiles(size, (4, 5), shape=(40, 11))
    covered = np.zeros((40, 11), int)
    for tile in found:
        assert tile.mask().any()
        covered += tile.mask()

    expected = np.zeros((40, 11), int)
    expected[: size[0], : size[1]] = 1
    np.testing.assert_array_equal(expected, covered)
    assert [tile.polygon.tolist()[0] for tile in found] == sorted(
        (tile.polygon.tolist()[0] for tile in found), key=lambda corner: corner[::-1]
    )


def test_what_is_shown_of_an_image_is_what_counts(store: Store) -> None:
    """People would label one tile and the network learn another; of every image, whatever is cut
    away or laid on a canvas."""
    for image, size in zip(store.pool.ids(), SIZES.values(), strict=True):
        units = [region_id(image, number) for number in range(6)]
        shown = np.stack([areas(store).shown(unit, size) for unit in units])  # type: ignore[arg-type]

        assert (shown.sum(0) <= 1).all() and shown.any((1, 2)).all()
        if store.card.decoding and store.card.decoding.size is None:
            assert shown.sum(0).all()
        drawn = encode(np.zeros((store.card.image.height, store.card.image.width), np.uint8))
        parts = [decoded(areas(store).cut(unit, drawn)) == 0 for unit in units]  # type: ignore[arg-type]
        assert [part.sum() for part in parts] == [
            areas(store).seen(unit).sum()
            for unit in units  # type: ignore[union-attr]
        ]


def test_what_lies_outside_of_a_tile_does_not_count(store: Store) -> None:
    """Whoever draws beyond the line would label what was not paid for, and may be wrong there."""
    unit = region_id(store.pool.ids()[0], 2)
    mask = np.ones((store.card.image.height, store.card.image.width), np.uint8)
    cut = areas(store).cut(unit, encode(mask))

    assert isinstance(cut, bytes)
    np.testing.assert_array_equal(np.where(areas(store).seen(unit), 1, IGNORE), decoded(cut))
    for kept in (None, 3):
        assert kept == areas(store).cut(unit, kept)
    whole = store.pool.ids()[0]
    assert encode(mask) == areas(store).cut(whole, encode(mask))


def test_what_is_no_tile_is_refused(store: Store) -> None:
    """A run with other tiles would show and learn other parts than were chosen."""
    image = store.pool.ids()[0]
    with pytest.raises(DataError, match="has 6 regions"):
        areas(store).seen(region_id(image, 6))
    for unit, place in [("x", areas(store)), ("x/0", areas(store)), (f"{image}/0", Areas(store))]:
        with pytest.raises(DataError, match="is in no image of the pool"):
            place.shown(unit, (20, 33))
    assert areas(store).shown(f"{image}/5", (20, 33)) is not None
    assert Areas(store).shown(image, (20, 33)) is None


def test_an_image_that_has_changed_its_size_is_refused(tmp_path: Path, cache: object) -> None:
    """The tile would be shown at a place where it is not."""
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
            Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / split / kind / "a.png")
    store = MaskFolder(root=str(tmp_path), classes=("a", "b"), encoding="uri").open()
    unit = region_id(store.pool.ids()[0], 0)
    with pytest.raises(DataError, match="was of another size when .* prepared; restore the file"):
        areas(store).shown(unit, (10, 15))

    assert areas(store).shown(unit, (20, 30)).sum() == 10 * 10  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [("PNG", ".png"), ("JPEG", ".jpg")])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_the_rest_of_an_image_is_dark(kind: tuple[str, str], mode: str) -> None:
    """Nobody would see what to label, or the part itself look different."""
    if (mode, kind[0]) == ("P", "JPEG"):
        return
    buffer = io.BytesIO()
    image = Image.new("RGB", (60, 40), (200, 120, 40)).convert(mode)
    image.save(buffer, kind[0])
    part = np.zeros((40, 60), bool)
    part[16:32, 16:48] = True
    found = dimmed(Picture(buffer.getvalue(), kind[1], (40, 60)), part)
    with Image.open(io.BytesIO(found.data)) as opened:
        shown = np.asarray(opened.convert("RGB")).astype(int)
        assert (kind[0], (60, 40)) == (opened.format, opened.size)

    original = np.asarray(image.convert("RGB")).astype(int)
    inside, outside = (slice(20, 28), slice(20, 40)), (slice(0, 12), slice(0, 60))
    assert np.abs(shown - original)[inside].max() <= 3
    assert (shown[outside] < 0.6 * original[outside].max()).all()
    assert np.abs(shown[15, 20:40] - (255, 220, 0)).mean() < 60
