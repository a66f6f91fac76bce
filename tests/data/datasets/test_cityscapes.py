"""Cityscapes by reference: listed, neither copied nor decoded; its label ids are 19 classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal.data.datasets.cityscapes import CLASS_OF, EVALUATED, LABELS, Cityscapes
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, decode
from rayal.data.store import Store
from rayal.errors import DataError


def write_tree(root: Path, frames: dict[str, list[str]], height: int, width: int) -> Path:
    """Part -> frames, each a scene of road below sky, in the layout of the official archives."""
    for part, names in frames.items():
        for name in names:
            city = name.split("_")[0]
            images, masks = (root / kind / part / city for kind in ("leftImg8bit", "gtFine"))
            images.mkdir(parents=True, exist_ok=True)
            masks.mkdir(parents=True, exist_ok=True)
            labels = np.full((height, width), 23, np.uint8)
            labels[height // 2 :] = 7
            colours = np.where(labels[..., None] == 7, [128, 64, 128], [70, 130, 180])
            image = Image.fromarray(colours.astype(np.uint8))
            image.save(images / f"{name}_leftImg8bit.png", compress_level=1)
            image.save(masks / f"{name}_gtFine_color.png", compress_level=1)
            for kind, values in {
                "labelIds": labels,
                "labelTrainIds": np.where(labels == 7, 0, 10).astype(np.uint8),
            }.items():
                Image.fromarray(values).save(masks / f"{name}_gtFine_{kind}.png")
            (masks / f"{name}_gtFine_polygons.json").write_text(
                json.dumps({"imgHeight": height, "imgWidth": width, "objects": []})
            )
    return root


TRAIN = ["aachen_000000_000019", "aachen_000001_000019", "ulm_000000_000019"]
VAL = ["frankfurt_000000_000294", "lindau_000000_000019"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path, {"train": TRAIN, "val": VAL}, 8, 16)


def masks(store: Store) -> dict[str, np.ndarray]:
    assert store.card.masks is not None
    return {
        unit: decode(label, store.card.masks, store.card.decoding or Decoding())
        for unit, label in store.labels("pool").items()
        if not isinstance(label, int)
    }


def test_the_train_ids_by_hand() -> None:
    """The table that every paper's mIoU rests on."""
    assert {
        **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10},
        **{24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
    } == {label: number for label, number in CLASS_OF.items() if number != IGNORE}
    assert list(range(34)) == sorted(CLASS_OF)
    assert {0: "unlabeled", 7: "road", 17: "pole", 26: "car", 33: "bicycle"} == {
        label: LABELS[label] for label in (0, 7, 17, 26, 33)
    }
    assert 19 == len(EVALUATED) == len(Cityscapes.class_names)


def test_a_full_size_tree_stays_where_it_is(tmp_path: Path) -> None:
    """11 GB of images are not copied; a store of them is a list of addresses."""
    root = write_tree(tmp_path / "root", {"train": TRAIN, "val": VAL[:1]}, 1024, 2048)
    store = Cityscapes(root=str(root), store=str(tmp_path / "stores")).open()
    size = sum(file.stat().st_size for file in (tmp_path / "stores").rglob("*") if file.is_file())

    assert (["aachen_000000_000019", "aachen_000001_000019", "ulm_000000_000019"], VAL[:1]) == (
        store.pool.ids(),
        store.test.ids(),
    )
    assert [f"{root}/leftImg8bit/train/ulm/{TRAIN[2]}_leftImg8bit.png"] == (
        store.pool.take(TRAIN[2:])["image"].to_pylist()
    )
    assert {TRAIN[2]: f"{root}/gtFine/train/ulm/{TRAIN[2]}_gtFine_labelIds.png"} == (
        store.labels("pool", TRAIN[2:])
    )
    assert 30_000 > size
    assert ((3, 1024, 2048), (0.290, 0.328, 0.287), (0.183, 0.187, 0.184), "uri") == (
        store.card.image.shape,
        store.card.image.mean,
        store.card.image.std,
        store.card.encoding,
    )
    assert ({}, {}) == (store.card.class_counts, store.card.sizes)
    decoded = store.pool.decode(store.pool.take(TRAIN[:1]))
    mask = masks(store)[TRAIN[0]]

    assert ((1, 3, 1024, 2048), {}, None) == (decoded.images.shape, decoded.bad, decoded.sizes)
    assert [[70, 130, 180], [128, 64, 128]] == decoded.images[0, :, [0, -1], 0].tolist()
    assert [10, 0] == mask[[511, 512], 0].tolist()


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_both_kinds_of_label_images_say_the_same(root: Path, kind: Any) -> None:
    """Train ids taken for label ids would make road what is unlabeled."""
    store = Cityscapes(root=str(root), masks=kind, verify=True, encoding="auto").open()

    assert [10, 0] == masks(store)[TRAIN[0]][[0, -1], 0].tolist()
    assert 3 * 64 == store.card.class_counts["pool"][0] == store.card.class_counts["pool"][10]


def test_the_wrong_kind_is_found_by_verify(root: Path) -> None:
    """Label ids above 18 are none of the 19 classes."""
    folder = root / "gtFine/train/ulm"
    (folder / f"{TRAIN[2]}_gtFine_labelIds.png").replace(
        folder / f"{TRAIN[2]}_gtFine_labelTrainIds.png"
    )
    with pytest.raises(DataError, match="'ulm_000000_000019': .*TrainIds.png: value 23 is no"):
        Cityscapes(root=str(root), masks="labelTrainIds", verify=True).open()


@pytest.mark.parametrize("place", [f"train/ulm/{TRAIN[2]}", f"val/lindau/{VAL[1]}"])
@pytest.mark.parametrize("masks", ["labelIds", "polygons"])
@pytest.mark.parametrize("options", [{}, {"shape": (4, 4)}, {"canvas": (16, 32)}])
def test_a_mask_of_another_size_is_found_without_verify(
    root: Path, place: str, masks: Any, options: Any
) -> None:
    """Labels of half the size, as some tools write them, would be stretched to the images."""
    Cityscapes(root=str(root), masks=masks, **options).open()
    part, city, name = place.split("/")
    write_tree(root / "half", {part: [name]}, 4, 8)
    ending = {"labelIds": "labelIds.png", "polygons": "polygons.json"}[masks]
    file = f"gtFine/{part}/{city}/{name}_gtFine_{ending}"
    (root / "half" / file).replace(root / file)
    with pytest.raises(DataError, match=rf"'{name}': .*{file}: is 4x8 \(HxW\), its image 8x16"):
        Cityscapes(root=str(root), masks=masks, **options).open()


@pytest.mark.parametrize("part", ["train/aachen", "val/frankfurt"])
def test_the_wrong_kind_is_found_in_the_first(root: Path, part: str) -> None:
    """Not after a training of hours; nor, for the test images, after the first one."""
    name = {"train/aachen": TRAIN[0], "val/frankfurt": VAL[0]}[part]
    folder = root / "gtFine" / part
    (folder / f"{name}_gtFine_labelIds.png").replace(folder / f"{name}_gtFine_labelTrainIds.png")
    with pytest.raises(DataError, match=f"'{name}': .*TrainIds.png: value 23 is no"):
        Cityscapes(root=str(root), masks="labelTrainIds").open()


def test_shape_reduces_what_networks_see(root: Path) -> None:
    """688x688 of the papers, or what two cores can train on."""
    store = Cityscapes(root=str(root), shape=(4, 4)).open()
    decoded = store.pool.decode(store.pool.take(TRAIN))

    assert ((3, 3, 4, 4), {}) == (decoded.images.shape, decoded.bad)
    assert {(4, 4)} == {mask.shape for mask in masks(store).values()}


def test_an_image_of_another_size_is_bad(root: Path) -> None:
    """A thumbnail among the originals is not enlarged without a word."""
    write_tree(root, {"train": [TRAIN[1]]}, 4, 8)
    store = Cityscapes(root=str(root)).open()

    reason = "is (3, 4, 8) instead of (3, 8, 16) (C, H, W); set shape: [8, 16] of the dataset"
    assert {TRAIN[1]: f"{reason} (of `rayal score`: of decoding)"} == (
        store.pool.decode(store.pool.take(TRAIN)).bad
    )


def test_the_frames_of_dast_al(root: Path) -> None:
    """Train and val together; cities are kept apart to judge by."""
    store = Cityscapes(root=str(root), pool=("train", "val/lindau"), test=("val/frankfurt",)).open()

    assert ([*TRAIN, VAL[1]], VAL[:1]) == (store.pool.ids(), store.test.ids())
    with pytest.raises(DataError, match="1 id is used more than once in pool and test"):
        Cityscapes(root=str(root), pool=("train", "val/lindau"), test=("val",)).open()


@pytest.mark.parametrize(
    "lost, message",
    [
        ("gtFine/train/ulm/{}_gtFine_labelIds.png", "1 image has no mask, first leftImg8bit/tra"),
        ("leftImg8bit/train/ulm/{}_leftImg8bit.png", "1 mask has no image, first gtFine/train/"),
    ],
)
def test_images_and_masks_belong_together(root: Path, lost: str, message: str) -> None:
    """An archive that was cut short while unpacking; listing must find it, not a training."""
    (root / lost.format(TRAIN[2])).unlink()
    with pytest.raises(DataError, match=message):
        Cityscapes(root=str(root)).open()


def test_files_of_other_names_are_refused(root: Path) -> None:
    """Their ids would be those of nothing in a paper's list."""
    (root / "leftImg8bit/train/ulm/copy.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"ulm/copy.png is not called ..._leftImg8bit.png; rename"):
        Cityscapes(root=str(root)).open()
    (root / "leftImg8bit/train/ulm/copy.png").unlink()
    whole = Cityscapes(root=str(root)).open().pool.ids()

    image = root / f"leftImg8bit/train/ulm/{TRAIN[2]}_leftImg8bit.png"
    image.rename(image.with_name("copy.png"))
    with pytest.raises(DataError, match=r"ulm/copy.png is not called"):
        Cityscapes(root=str(root)).open()
    image.with_name("copy.png").rename(image)
    assert whole == Cityscapes(root=str(root)).open().pool.ids()


def test_the_expected_folders_are_named(tmp_path: Path) -> None:
    """The archives come one by one; gtFine is the one that is forgotten."""
    root = write_tree(tmp_path, {"train": TRAIN}, 2, 4)
    with pytest.raises(DataError, match="leftImg8bit/val is missing; dataset 'cityscapes' expects"):
        Cityscapes(root=str(root)).open()


def test_polygons_of_the_official_names(root: Path) -> None:
    """A group of cars is cars; a licence plate is not drawn, so its car stays."""
    whole = [[0, 0], [16, 0], [16, 8], [0, 8]]
    objects = [
        {"label": "road", "polygon": whole},
        {"label": "cargroup", "polygon": [[0, 0], [8, 0], [8, 8], [0, 8]]},
        {"label": "license plate", "polygon": [[0, 0], [4, 0], [4, 8], [0, 8]]},
        {"label": "polegroup", "polygon": [[12, 0], [16, 0], [16, 8], [12, 8]]},
    ]
    document = {"imgHeight": 8, "imgWidth": 16, "objects": objects}
    file = root / f"gtFine/train/aachen/{TRAIN[0]}_gtFine_polygons.json"
    file.write_text(json.dumps(document))
    store = Cityscapes(root=str(root), masks="polygons").open()

    assert [13] * 8 + [0] * 4 + [IGNORE] * 4 == masks(store)[TRAIN[0]][0].tolist()


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds", "polygons"])
def test_real_labels(shared_data: Path, kind: Any) -> None:
    """The three ways to the same classes, in every pixel, and what verify says of them."""
    root = shared_data / "samples/camvid_as_cityscapes"
    store = Cityscapes(root=str(root), masks=kind, verify=True).open()
    labels = Cityscapes(root=str(root)).open()
    wanted = masks(labels)

    assert (5, 2, (3, 360, 480)) == (store.card.pool, store.card.test, store.card.image.shape)
    assert store.pool.ids() == labels.pool.ids()
    for unit, mask in masks(store).items():
        np.testing.assert_array_equal(wanted[unit], mask, strict=True)
    assert sum(store.card.class_counts["pool"]) == sum(
        int((mask != IGNORE).sum()) for mask in wanted.values()
    )
    assert 5 == len(store.pool.decode(store.pool.take(store.pool.ids())).ids)
