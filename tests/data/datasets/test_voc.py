"""PASCAL VOC: what the lists name, in the sizes that the images have."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal.data.datasets.voc import Voc
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, decode
from rayal.data.store import Store
from rayal.errors import DataError

NAMES = ("2007_000032", "2007_000039", "2007_000063")
SIZES = {NAMES[0]: (20, 30), NAMES[1]: (32, 24), NAMES[2]: (8, 8)}


def palette_png(values: np.ndarray) -> bytes:
    """As VOC has them: one number a pixel, shown in colours."""
    image = Image.fromarray(values).convert("P")
    image.putpalette(list(range(256)) * 3)
    image.putdata(values.ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def mask_of(name: str, number: int) -> np.ndarray:
    """A thing with its border on background."""
    mask = np.zeros(SIZES[name], np.uint8)
    mask[2:6, 2:6] = IGNORE
    mask[3:5, 3:5] = number
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = tmp_path / "VOCdevkit/VOC2012"
    folders = ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation")
    for folder in folders:
        (base / folder).mkdir(parents=True)
    for name, (height, width) in SIZES.items():
        Image.new("RGB", (width, height), (200, 100, 0)).save(base / f"JPEGImages/{name}.jpg")
        (base / f"SegmentationClass/{name}.png").write_bytes(palette_png(mask_of(name, 20)))
        Image.fromarray(mask_of(name, 5)).save(base / f"SegmentationClassAug/{name}.png")
    write_list(tmp_path, "train", f"{NAMES[1]}\n{NAMES[0]}\n")
    write_list(tmp_path, "val", f"{NAMES[2]}\n")
    return tmp_path


def write_list(root: Path, name: str, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    (root / f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt").write_bytes(data)


def masks(store: Store, split: Any = "pool") -> dict[str, np.ndarray]:
    assert store.card.masks is not None
    return {
        unit: decode(label, store.card.masks, store.card.decoding or Decoding())
        for unit, label in store.labels(split).items()
        if not isinstance(label, int)
    }


def test_images_lie_on_a_canvas_of_one_size(root: Path) -> None:
    """Stretched to one size, things would have other shapes than in every paper."""
    store = Voc(root=str(root), canvas=(40, 48)).open()
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))

    assert ([NAMES[1], NAMES[0]], [NAMES[2]]) == (store.pool.ids(), store.test.ids())
    assert ((2, 3, 40, 48), {}) == (decoded.images.shape, decoded.bad)
    assert decoded.sizes is not None
    assert [[32, 24], [20, 30]] == decoded.sizes.tolist()
    for name, mask in masks(store).items():
        height, width = SIZES[name]

        np.testing.assert_array_equal(mask_of(name, 20), mask[:height, :width], strict=True)
        assert IGNORE == mask[height:].min() == mask[:, width:].min()
    assert {"20x30": 1, "32x24": 1, "8x8": 1} == store.card.sizes
    assert 8 == store.card.class_counts["pool"][20]
    assert (21, "bytes", (512, 512)) == (
        len(store.card.classes),
        store.card.encoding,
        Voc().decoding.frame,
    )


def test_a_larger_image_is_bad(root: Path) -> None:
    """It is counted and named; its mask is then of no use."""
    store = Voc(root=str(root), canvas=(24, 32)).open()

    assert {NAMES[1]: "32x24 (HxW) is larger than the canvas 24x32"} == store.card.bad
    assert [NAMES[0]] == list(store.labels("pool"))


def test_the_augmented_list(root: Path) -> None:
    """10,582 images with the labels of SBD, whose list has paths; val keeps its own labels."""
    line = "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png\n"
    write_list(root, "train_aug", line.format(NAMES[1]) + line.format(NAMES[0]))
    store = Voc(root=str(root), pool=("train_aug",), masks="SegmentationClassAug").open()

    assert [NAMES[1], NAMES[0]] == store.pool.ids()
    assert {0, 5, IGNORE} == set(masks(store)[NAMES[0]].flat)
    assert {0, 20, IGNORE} == set(masks(store, "test")[NAMES[2]].flat)


@pytest.mark.parametrize(
    "text",
    [
        f"{NAMES[1]}\r\n{NAMES[0]}\r\n",
        f"\n  {NAMES[1]}  \n\n{NAMES[0]}\t\n\n\n",
        f"\ufeff{NAMES[1]}\n{NAMES[0]}",
    ],
)
def test_lists_as_people_save_them(root: Path, text: str) -> None:
    """Windows line ends would otherwise be part of every name."""
    write_list(root, "train", text)

    assert [NAMES[1], NAMES[0]] == Voc(root=str(root)).open().pool.ids()


@pytest.mark.parametrize(
    "text, message",
    [
        (f"{NAMES[0]}\n{NAMES[1]}\n{NAMES[0]}", f"train: 1 name is .* first {NAMES[0]}; leave"),
        (f"{NAMES[0]} 1\n", "train.txt, line 1: '2007_000032 1' is neither a name such as"),
        (f"\n{NAMES[0]} {NAMES[1]}\n", "line 2: .* is neither a name"),
        (f"{NAMES[0]} a b\n", "line 1: .* is neither a name"),
        ("..\n", "line 1: '..' is neither a name"),
        ("a\0b\n", "is neither a name"),
        (b"\xff\xfe2\0", "train.txt is no list of images: 'utf-8' codec"),
        ("2007_000099\n", r"2 files that the lists name are missing, first VOCdevkit.*000099.jpg,"),
        ("\n", "the pool has no images"),
    ],
)
def test_other_lists_are_refused(root: Path, text: str | bytes, message: str) -> None:
    """Of 10,582 lines nobody looks at each."""
    write_list(root, "train", text)
    with pytest.raises(DataError, match=message):
        Voc(root=str(root)).open()
    write_list(root, "train", f"{NAMES[1]}\n{NAMES[0]}\n")  # correct, whole, each name once
    assert 2 == Voc(root=str(root)).open().card.pool


def test_names_in_two_lists_are_refused(root: Path) -> None:
    """trainval is train and val."""
    write_list(root, "trainval", "\n".join(NAMES))
    with pytest.raises(DataError, match="train and trainval: 2 names are listed more than once"):
        Voc(root=str(root), pool=("train", "trainval")).open()
    with pytest.raises(DataError, match="1 id is used more than once in pool and test"):
        Voc(root=str(root), pool=("trainval",)).open()


@pytest.mark.parametrize("folder, suffix", [("JPEGImages", "jpg"), ("SegmentationClass", "png")])
def test_missing_files_are_named(root: Path, folder: str, suffix: str) -> None:
    """Before any is decoded, and all of them."""
    file = f"VOCdevkit/VOC2012/{folder}/{NAMES[2]}.{suffix}"
    data = (root / file).read_bytes()
    (root / file).unlink()
    with pytest.raises(
        DataError, match=f"missing, first {file}; add them, or take them out of the"
    ):
        Voc(root=str(root)).open()
    (root / file).write_bytes(data)
    assert 1 == Voc(root=str(root)).open().card.test
    (root / file).unlink()
    write_list(root, "train", NAMES[0])
    write_list(root, "val", NAMES[1])
    assert 1 == Voc(root=str(root)).open().card.test


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pool": ("train_aug",)}, "train_aug.txt is missing; dataset 'voc' expects VOCdevkit/VOC"),
        ({"masks": "Aug"}, "VOC2012/Aug is missing; dataset 'voc' expects"),
    ],
)
def test_what_was_not_added_is_named(root: Path, options: Any, message: str) -> None:
    """The augmented list does not come with the official archive."""
    with pytest.raises(DataError, match=message):
        Voc(root=str(root), **options).open()


def test_the_inner_folder_will_do(root: Path) -> None:
    """Whoever moved VOC2012 out of VOCdevkit keeps it there."""
    store = Voc(root=str(root / "VOCdevkit/VOC2012")).open()

    assert [NAMES[1], NAMES[0]] == store.pool.ids()


def test_images_may_stay_where_they_are(root: Path) -> None:
    """A list that changes is another dataset, even where nothing else is looked at."""
    given: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "encoding": "uri"}
    store = Voc(root=str(root), verify=False, **given).open()
    write_list(root, "train", f"{NAMES[0]}\n{NAMES[1]}\n")
    other = Voc(root=str(root), verify=False, **given).open()
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))

    assert store.url != other.url
    assert (
        f"{root}/VOCdevkit/VOC2012/SegmentationClass/{NAMES[0]}.png"
        == (store.labels("pool")[NAMES[0]])
    )
    assert decoded.sizes is not None
    assert ((2, 3, 512, 512), [[32, 24], [20, 30]]) == (
        decoded.images.shape,
        decoded.sizes.tolist(),
    )


@pytest.mark.parametrize(
    "sample, pool, classes",
    [
        ("camvid_as_voc", 10, set(range(11))),
        ("voc_labelme", 2, {0, 5, 9, 15, 18}),
    ],
)
def test_real_images(shared_data: Path, sample: str, pool: int, classes: set[int]) -> None:
    """Photographs of VOC and palettes as it has them."""
    store = Voc(root=str(shared_data / "samples" / sample)).open()
    counts = store.card.class_counts["pool"]
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))

    assert (pool, {}) == (store.card.pool, store.card.bad)
    assert classes == {number for number, count in enumerate(counts) if count}
    assert (pool, 3, 512, 512) == decoded.images.shape
    assert decoded.sizes is not None and len(decoded.sizes) == pool
    assert {IGNORE} < set(masks(store)[store.pool.ids()[0]].flat)
