"""Images and masks in folders of one's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayal.data.datasets.mask_folder import MaskFolder
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, decode
from rayal.errors import DataError, UsageError
from tests.support import originals

CLASSES = ("grass", "road", "sky")
NUMBERS = (0, 1, 2, 255)


def plant(root: Path, images: str = "*/images", masks: str = "*/masks") -> Path:
    """Three images to choose from and one to measure with; both splits have one called `a`."""
    rng = np.random.default_rng(0)
    for split, names in (("train", ("b/a", "a", "c")), ("test", ("a",))):
        originals.plant(root, [f"{images.replace('*', split)}/{name}.jpg" for name in names])
        for name in names:
            file = root / masks.replace("*", split) / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(originals.encoded(rng.choice(np.array(NUMBERS, np.uint8), (20, 24))))
    return root


def mask(dataset: MaskFolder, unit: str) -> np.ndarray:
    """The classes of an image of the pool, as it is answered."""
    store = dataset.open()
    label = store.labels("pool")[unit]
    assert store.card.masks is not None and not isinstance(label, int)
    return decode(label, store.card.masks, store.card.decoding or Decoding())


def stored(root: Path) -> np.ndarray:
    return np.array(Image.open(root / "train/masks/c.png"))


def test_by_hand(tmp_path: Path) -> None:
    """Images that are called alike would be one, or have the mask of another."""
    dataset = MaskFolder(root=str(plant(tmp_path)), classes=CLASSES)
    store = dataset.open()
    ids = [f"train/images/{name}.jpg" for name in ("a", "b/a", "c")]

    assert (ids, ["test/images/a.jpg"]) == (store.pool.ids(), store.test.ids())
    assert CLASSES == tuple(store.card.classes)
    np.testing.assert_array_equal(stored(tmp_path), mask(dataset, ids[2]), strict=True)


def test_numbers_are_what_is_said(tmp_path: Path) -> None:
    """Masks of one thing, black and white, would have 256 classes, or a thing that is ignored."""
    root = str(plant(tmp_path))
    dataset = MaskFolder(root=root, classes=("thing", "rest"), values=(255, 0), ignore=(1, 2))
    table = np.full(256, IGNORE, np.uint8)
    table[[255, 0]] = 0, 1

    expected = table[stored(tmp_path)]
    np.testing.assert_array_equal(expected, mask(dataset, "train/images/c.jpg"), strict=True)


@pytest.mark.parametrize(
    ("images", "masks"), [("*", "*annot"), ("images/*", "masks/*"), ("a/*/x", "a/*/y/z")]
)
def test_layouts(tmp_path: Path, images: str, masks: str) -> None:
    """Whoever has another layout would have to move a million files."""
    folders = {"images": images, "masks": masks}
    dataset = MaskFolder(root=str(plant(tmp_path, **folders)), classes=CLASSES, **folders)
    expected = [f"{images.replace('*', 'train')}/{name}.jpg" for name in ("a", "b/a", "c")]

    assert expected == dataset.open().pool.ids()


def test_a_mask_that_is_missing(tmp_path: Path) -> None:
    """The masks after it would each belong to the image before."""
    (plant(tmp_path) / "train/masks/a.png").unlink()
    with pytest.raises(DataError, match=r"1 image has no mask, first train/images/a\.jpg"):
        MaskFolder(root=str(tmp_path), classes=CLASSES).open()


def test_a_number_that_nobody_named(tmp_path: Path) -> None:
    """It would be trained as some class, or be ignored without a word."""
    two = {"root": str(plant(tmp_path)), "classes": ("grass", "road")}
    said = (
        "value 2 is no class; known are 0-1, 255; add such a value to dataset.ignore, or its class"
        " to dataset.classes, or mend"
    )
    headers_only = {"verify": False, "encoding": "uri", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    for options in ({}, {**headers_only, "shape": (20, 24)}):
        with pytest.raises(DataError, match=said):
            MaskFolder(**two, **options).open()
    with pytest.raises(DataError, match=r"to dataset\.classes and dataset\.values, or mend"):
        MaskFolder(**two, values=(0, 1)).open()
    MaskFolder(**two, ignore=(2, 255)).open()
    MaskFolder(**two | {"classes": CLASSES}).open()


def test_values_for_other_classes() -> None:
    with pytest.raises(UsageError, match="1 value for 2 classes; give one for each"):
        MaskFolder(classes=("a", "b"), values=(3,))
    MaskFolder(classes=("a", "b"), values=(3, 4))


def test_a_number_that_means_two_things() -> None:
    with pytest.raises(UsageError, match=r"255 stands for two .* or set ignore: \[\]"):
        MaskFolder(classes=("a", "b"), values=(0, 255))
    MaskFolder(classes=("a", "b"), values=(0, 254))
    MaskFolder(classes=("a", "b"), values=(0, 255), ignore=())


def test_a_folder_without_the_split() -> None:
    """Images of the pool and of the test would be the same."""
    with pytest.raises(UsageError, match="should be a text that matches"):
        MaskFolder(classes=("a", "b"), images="images")
