"""CamVid in both forms that it comes in."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.data.datasets.camvid import PARQUET, Camvid
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, decode
from rayal.data.store import Store
from rayal.errors import DataError, UsageError


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def scene(seed: int) -> tuple[bytes, bytes]:
    """An image and a mask of 6x8."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return png(image), png(rng.integers(0, 12, (6, 8), dtype=np.uint8))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three images to train on, one to validate and one to test."""
    for seed, name in enumerate(("train/c", "train/a", "train/b", "val/v", "test/t")):
        split, stem = name.split("/")
        for folder, data in zip((split, f"{split}annot"), scene(seed), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{stem}.png").write_bytes(data)
    return tmp_path


def in_parquet(root: Path, **columns: Any) -> Path:
    """The same in a file, in a mixed order."""
    rows = [("c", "train", 0), ("v", "val", 3), ("a", "train", 1), ("t", "test", 4)]
    images, masks = zip(*(scene(seed) for *_, seed in rows), strict=True)
    table: dict[str, Any] = {
        "id": [unit for unit, *_ in rows],
        "split": [split for _, split, _ in rows],
        "image": pa.array(images, pa.binary()),
        "mask": pa.array(masks, pa.binary()),
    }
    pq.write_table(pa.table({**table, **columns}), root / PARQUET, row_group_size=2)
    return root


def masks(store: Store) -> dict[str, np.ndarray]:
    assert store.card.masks is not None
    return {
        unit: decode(label, store.card.masks, store.card.decoding or Decoding())
        for unit, label in store.labels("pool").items()
        if not isinstance(label, int)
    }


def test_folders_are_read_in_order(folders: Path) -> None:
    """Void, 11, is no class: counted as one it would be the easiest to predict."""
    store = Camvid(root=str(folders)).open()
    expected = np.array(Image.open(folders / "trainannot/a.png"))
    expected[expected == 11] = IGNORE

    assert (["a", "b", "c"], ["t"]) == (store.pool.ids(), store.test.ids())
    assert (11, (3, 6, 8)) == (len(store.card.classes), store.card.image.shape)
    np.testing.assert_array_equal(expected, masks(store)["a"], strict=True)
    assert {"segmentation"} == Camvid.tasks


def test_the_file_comes_first(folders: Path) -> None:
    """Splits are columns of it; its order is kept."""
    store = Camvid(root=str(in_parquet(folders)), pool=("train", "val")).open()

    assert (["c", "v", "a"], ["t"]) == (store.pool.ids(), store.test.ids())
    expected = np.array(Image.open(folders / "valannot/v.png"))
    expected[expected == 11] = IGNORE
    np.testing.assert_array_equal(expected, masks(store)["v"], strict=True)


def test_splits_are_chosen_by_name(folders: Path) -> None:
    """All that is labeled for the pool, or val to judge by."""
    store = Camvid(root=str(folders), pool=("train", "test"), test=("val",), limit_pool=3).open()

    assert (["a", "b", "c"], ["v"]) == (store.pool.ids(), store.test.ids())


def test_images_are_reduced_with_their_masks(folders: Path) -> None:
    """Two cores do not train on 480x360."""
    store = Camvid(root=str(folders), shape=(3, 4)).open()

    assert ((3, 3, 4), "raw") == (store.card.image.shape, store.card.encoding)
    assert {(3, 4)} == {mask.shape for mask in masks(store).values()}


def test_files_may_stay_where_they_are(folders: Path) -> None:
    """Without looking at any but the first, whose size the others have."""
    given: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    store = Camvid(root=str(folders), encoding="uri", verify=False, **given).open()

    assert {unit: f"{folders}/trainannot/{unit}.png" for unit in "abc"} == store.labels("pool")
    assert (3, 6, 8) == store.card.image.shape

    with pytest.raises(UsageError, match="needs files, but camvid.parquet holds bytes"):
        Camvid(root=str(in_parquet(folders)), encoding="uri").open()
    for another in ("raw", "bytes"):
        assert another == Camvid(root=str(folders), encoding=another).open().card.encoding


@pytest.mark.parametrize(
    "lost, message",
    [
        ("trainannot/b.png", "1 image has no mask, first train/b.png"),
        ("train/b.png", "1 mask has no image, first trainannot/b.png"),
        ("testannot/t.png", "1 image has no mask, first test/t.png"),
    ],
)
def test_images_and_masks_belong_together(folders: Path, lost: str, message: str) -> None:
    """Left out in silence, the pool would be another than the one in the paper."""
    data = (folders / lost).read_bytes()
    (folders / lost).unlink()
    with pytest.raises(DataError, match=f"{message}; add what is missing, or take these away$"):
        Camvid(root=str(folders)).open()
    (folders / lost).write_bytes(data)
    assert 3 == Camvid(root=str(folders)).open().card.pool


def test_images_whose_mask_is_lost_are_taken_away(folders: Path) -> None:
    """The other way out: the rest is a dataset."""
    (folders / "trainannot/b.png").unlink()
    (folders / "train/b.png").unlink()

    assert ["a", "c"] == Camvid(root=str(folders)).open().pool.ids()


def test_two_images_of_one_name_are_refused(folders: Path) -> None:
    """One mask cannot be of both."""
    (folders / "train/a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a.jpg and train/a.png are called alike; take one of th"):
        Camvid(root=str(folders)).open()
    (folders / "train/a.jpg").unlink()
    Camvid(root=str(folders)).open()


def test_what_is_not_there_is_named(folders: Path) -> None:
    """The commonest mistake is the wrong folder."""
    with pytest.raises(DataError, match="/all is missing; dataset 'camvid' expects camvid.parquet"):
        Camvid(root=str(folders), pool=("all",)).open()
    with pytest.raises(DataError, match="has no split 'all'; choose one of: test, train, val$"):
        Camvid(root=str(in_parquet(folders)), pool=("all",)).open()
    assert 1 == Camvid(root=str(folders), pool=("val",)).open().card.pool


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"mask": [b"text"] * 4}, "masks of the pool cannot be used: 2 of 2 .*'c': not a mask"),
        ({"mask": pa.array([None] * 4, pa.binary())}, r"'c': no mask \(null\)"),
        ({"mask": ["a.png"] * 4}, "column 'mask' holds string; write it again"),
        ({"split": [1, 2, 3, 4]}, "column 'split' holds int64; write it again"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    """Files of other programs have the same names for other things."""
    with pytest.raises(DataError, match=message):
        Camvid(root=str(in_parquet(tmp_path, **columns))).open()
    assert 2 == Camvid(root=str(in_parquet(tmp_path))).open().card.pool  # written again


def test_pool_and_test_are_apart() -> None:
    """Accuracy on trained images is no accuracy."""
    with pytest.raises(UsageError, match=r"share \['val'\], whose images .*; take it out of"):
        Camvid(pool=("train", "val"), test=("val",))
    Camvid(pool=("train",), test=("val",))
    Camvid(pool=("train", "val"), test=("test",))
    with pytest.raises(UsageError, match="masks follow no centre of a larger resize"):
        Camvid(size=100, resize=120)
    assert (100, (90, 120)) == (Camvid(size=100).size, Camvid(shape=(90, 120)).shape)


@pytest.mark.parametrize("form", ["file", "folders"])
def test_real_images(shared_data: Path, form: str) -> None:
    """Both forms of the real one agree in what they say of a frame."""
    root = shared_data if form == "file" else shared_data / "samples/CamVid"
    store = Camvid(root=str(root), limit_pool=4, limit_test=2).open()
    counts = np.array(store.card.class_counts["pool"])

    assert (4, 2, (3, 360, 480)) == (store.card.pool, store.card.test, store.card.image.shape)
    assert ({"360x480": 6}, {}) == (store.card.sizes, store.card.bad)
    assert 0.9 < counts.sum() / (4 * 360 * 480) <= 1
    assert {"Road", "Building"} <= {store.card.classes[n] for n in np.argsort(-counts)[:4]}
    original = shared_data / "samples/CamVid/trainannot/0001TP_006690.png"
    expected = np.array(Image.open(original))
    expected[expected == 11] = IGNORE
    np.testing.assert_array_equal(expected, masks(store)["0001TP_006690"], strict=True)
