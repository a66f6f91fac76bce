"""A folder of one's own images."""

import io
from pathlib import Path

import pytest
from PIL import Image

from rayal.data.datasets.image_folder import ImageFolder
from rayal.data.listing import class_images
from rayal.errors import DataError, UsageError


def plant(root: Path, *paths: str, side: int = 8) -> None:
    for value, path in enumerate(paths):
        buffer = io.BytesIO()
        Image.new("RGB", (side, side), (value, 0, 0)).save(buffer, "PNG")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(buffer.getvalue())


def test_paths_are_ids_and_folders_are_labels(tmp_path: Path) -> None:
    """Whoever reads the list of chosen ids must find the files."""
    plant(tmp_path, "train/dog/1.png", "train/cat/x/2.png", "test/dog/3.png", "test/cat/4.png")
    store = ImageFolder(root=str(tmp_path)).open()

    assert {"train/cat/x/2.png": 0, "train/dog/1.png": 1} == store.labels("pool")
    assert ("cat", "dog") == store.card.classes
    assert [1, 0] == store.pool.decode(store.pool.take(store.pool.ids())).images[
        :, 0, 0, 0
    ].tolist()


def test_the_folders_are_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million files on a file server take minutes to list; files that come between two walks
    would be in the store and not in its fingerprint."""
    plant(tmp_path, "train/dog/1.png", "test/dog/2.png")
    listed: list[str] = []
    walk = class_images
    monkeypatch.setattr(
        "rayal.data.datasets.image_folder.class_images",
        lambda root, inside, links: listed.append(inside) or walk(root, inside, links),
    )
    dataset = ImageFolder(root=str(tmp_path))
    dataset.open()

    assert ["train", "test"] == listed
    assert dataset.source().pool.ids == ["train/dog/1.png"]


def test_splits_with_other_classes_are_refused(tmp_path: Path) -> None:
    """Unless the classes are listed; then they count by name, images or not."""
    plant(tmp_path, "train/dog/1.png", "train/cat/2.png", "val/dog/3.png")

    with pytest.raises(
        DataError, match=r"val lacks \['cat'\].*list the classes in dataset.classes"
    ):
        ImageFolder(root=str(tmp_path), test="val").open()
    plant(tmp_path, "val/cat/4.png")
    assert 2 == ImageFolder(root=str(tmp_path), test="val").open().card.test
    (tmp_path / "val/cat/4.png").unlink()
    (tmp_path / "val/cat").rmdir()

    store = ImageFolder(root=str(tmp_path), test="val", classes=("dog", "cow", "cat")).open()

    assert {"train/cat/2.png": 2, "train/dog/1.png": 0} == store.labels("pool")
    assert {"pool": (1, 0, 1), "test": (1, 0, 0)} == store.card.class_counts

    with pytest.raises(DataError, match=r"train: folders \['cat'\] are not among the 1 class"):
        ImageFolder(root=str(tmp_path), test="val", classes=("dog",)).open()
    (tmp_path / "train/cat").rename(tmp_path / "cat")
    ImageFolder(root=str(tmp_path), test="val", classes=("dog",)).open()


def test_a_class_folder_without_images_stops(tmp_path: Path) -> None:
    """A class that loses all its files would be one that no model ever sees; and so would one that
    is a link."""
    plant(tmp_path, "train/dog/1.png", "train/cat/2.jfif", "test/dog/3.png", "test/cat/4.png")
    (tmp_path / "train/owl").mkdir()
    (tmp_path / "train/owl/5.avif").write_bytes(b"\0\0\0\x1cftypavif")
    with pytest.raises(
        DataError, match=r"train: class folders \['owl'\] hold no images; .*1 image in a format"
    ):
        ImageFolder(root=str(tmp_path)).open()

    (tmp_path / "train/owl").rename(tmp_path / "owl")
    assert ("cat", "dog") == ImageFolder(root=str(tmp_path)).open().card.classes

    (tmp_path / "train/fox").symlink_to("cat")
    with pytest.raises(DataError, match=r"\['fox'\] hold no images; .*follow_links: true"):
        ImageFolder(root=str(tmp_path)).open()
    (tmp_path / "train/fox").unlink()
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none holds no images; correct dataset.root or the name"):
        ImageFolder(root=str(tmp_path), test="none").open()
    assert 2 == ImageFolder(root=str(tmp_path), test="test").open().card.test


def test_a_missing_split_is_explained(tmp_path: Path) -> None:
    """Many datasets call it val; the message names the folder that is missing."""
    plant(tmp_path, "train/dog/1.png")
    with pytest.raises(DataError, match=f"{tmp_path}/test is missing.*a folder for each split"):
        ImageFolder(root=str(tmp_path)).open()


def test_new_images_are_another_dataset(tmp_path: Path) -> None:
    """A pool that grows between two cycles would change what was already chosen from."""
    plant(tmp_path, "train/dog/1.png", "test/dog/2.png")
    before = ImageFolder(root=str(tmp_path)).open()
    plant(tmp_path, "train/dog/3.png")

    assert before.url != ImageFolder(root=str(tmp_path)).open().url


def test_real_photographs(shared_data: Path) -> None:
    """JPEGs of many sizes need a size; with one they are decoded alike everywhere."""
    root = str(shared_data / "samples" / "caltech101_imagefolder")
    with pytest.raises(UsageError, match="images differ in size.*set dataset.size"):
        ImageFolder(root=root, test="val", limit_pool=30, limit_test=5).open()

    store = ImageFolder(root=root, test="val", size=32, limit_pool=30, limit_test=5).open()

    assert ("raw", (3, 32, 32), {}) == (
        store.card.encoding,
        store.card.image.shape,
        store.card.bad,
    )
    assert 20 == len(store.card.classes)
