"""Labels as people give them: what is kept, and what is none."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import ExifTags, Image

from rayal.data.card import Card
from rayal.data.datasets.mask_folder import MaskFolder
from rayal.data.masks import arrange
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import UsageError
from rayal.labeling.areas import Areas
from rayal.labeling.label_value import label_value
from rayal.labeling.pictures import write_pictures
from rayal.storage.folder import Folder
from rayal.testing.trainings import prepared


@pytest.fixture(scope="module")
def classes(cache: object) -> Card:
    """Of images of ten classes, renamed."""
    names = ("cat", "dog", "7", *"abcdefg")
    card = prepared(False).card
    return card.model_copy(update={"classes": names[: len(card.classes)]})


@pytest.fixture(scope="module")
def masks(cache: object) -> Card:
    return prepared(True).card


def test_a_class_has_a_name_and_a_number(classes: Card) -> None:
    """A class that is called 7 would be taken for the eighth."""
    assert [0, 1, 1, 1] == [label_value(each, classes) for each in ("cat", "dog", 1, np.int32(1))]
    assert all(type(label_value(each, classes)) is int for each in ("dog", 1, np.int32(1)))
    with pytest.raises(UsageError, match="'dgo' is no class; did you mean 'dog'"):
        label_value("dgo", classes)


def test_a_mask_is_kept_as_it_is(masks: Card) -> None:
    """A pixel of no class would become one, or a class another."""
    size = masks.image.height, masks.image.width
    mask = np.full(size, 255)
    mask[0] = len(masks.classes) - 1
    kept = label_value(mask, masks, size)

    assert isinstance(kept, bytes)
    np.testing.assert_array_equal(mask, np.array(Image.open(io.BytesIO(kept))))
    for wrong in (mask[1:], mask[None], mask.astype(float), mask.tolist(), 3):
        with pytest.raises(UsageError, match="is no mask; give class indices"):
            label_value(wrong, masks, size)
    for value in (-1, len(masks.classes), 256):
        with pytest.raises(UsageError, match=f"the mask has the value {value}; give classes"):
            label_value(np.full(size, value), masks, size)


SHAPES = {
    "own sizes": ({"size": None}, (24, 32)),
    "square": ({"size": 16}, None),
    "squash": ({"size": 16, "squash": True}, None),
    "shape": ({"shape": (12, 20)}, None),
    "larger": ({"shape": (80, 90)}, None),
    "canvas": ({"canvas": (40, 40)}, None),
}


@pytest.mark.parametrize("encoding", ["bytes", "uri", "raw"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_that_people_drew_trains_as_that_of_a_dataset(
    tmp_path: Path, cache: object, shape: str, encoding: Literal["bytes", "uri", "raw"]
) -> None:
    """What people draw would be learned beside its place: turned by EXIF, cropped or stretched
    otherwise than the image."""
    options, one_size = SHAPES[shape]
    if encoding == "raw" and "canvas" in options:
        return
    drawn = _folder(tmp_path, one_size)
    dataset = MaskFolder(root=str(tmp_path), classes=("a", "b"), encoding=encoding, **options)
    store, task = dataset.open(), Segmentation()
    card, truth = store.card, store.labels("pool")
    for item in write_pictures(Areas(store), store.pool.ids(), "copied", Folder(tmp_path / "out")):
        mask = drawn[item.unit]
        if encoding == "raw":  # people see what networks see
            mask = arrange(mask, dataset.decoding)
        kept = label_value(mask, card, item.size)

        expected = task.targets({item.unit: truth[item.unit]}, card)
        np.testing.assert_array_equal(expected, task.targets({item.unit: kept}, card))
        with Image.open(tmp_path / "out" / item.image) as shown:
            assert item.size == (shown.height, shown.width) == mask.shape


def _folder(root: Path, one_size: tuple[int, int] | None) -> dict[str, np.ndarray]:
    """Images of several sizes, one turned by EXIF, with masks; id -> its mask, upright."""
    rng, drawn = np.random.default_rng(0), {}
    for number, size in enumerate([(24, 32), (33, 17), (21, 21), (24, 32)]):
        mask = rng.choice(np.array([0, 1, 255], np.uint8), one_size or size)
        split = "test" if number == 3 else "train"
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        stored = mask
        if number == 1:
            exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
            stored = np.rot90(mask).copy()
        pixels = Image.fromarray(np.repeat(stored[:, :, None], 3, 2))
        pixels.save(root / split / "images" / f"{number}.png", exif=exif)
        Image.fromarray(mask).save(root / split / "masks" / f"{number}.png")
        drawn[f"train/images/{number}.png"] = mask
    return drawn
