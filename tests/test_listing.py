"""Folders of images: what counts as an image, and which classes there are."""

import logging
from pathlib import Path

import pytest

from rayal.errors import DataError
from rayal.listing import common_classes, list_images, units_of


def plant(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def test_images_in_a_fixed_order(tmp_path: Path) -> None:
    """Ids and their order must be the same on every file system."""
    plant(
        tmp_path,
        "train/b/1.JPG",
        "train/a/10.png",
        "train/a/x/2.jpeg",
        "train/a/9.png",
        "o/c/1.png",
    )

    assert [
        "train/a/10.png",
        "train/a/9.png",
        "train/a/x/2.jpeg",
        "train/b/1.JPG",
    ] == list_images(tmp_path, "train")


def test_junk_is_left_out_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Copies that editors and zip programs leave would be scored and labeled as images."""
    junk = (
        "a/.ipynb_checkpoints/1.jpg",
        "__MACOSX/a/._1.jpg",
        "a/._1.jpg",
        "a/Thumbs.db",
        "a/b.txt",
    )
    plant(tmp_path, "train/a/1.jpg", *(f"train/{path}" for path in junk))
    with caplog.at_level(logging.WARNING):
        found = list_images(tmp_path, "train")

    assert ["train/a/1.jpg"] == found
    assert "ignored 5 entries, first 'train/__MACOSX'" in caplog.text


def test_a_missing_folder_is_reported_by_its_path(tmp_path: Path) -> None:
    """The dataset turns this into a message with the expected layout."""
    with pytest.raises(FileNotFoundError, match="train"):
        list_images(tmp_path, "train")


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    """A data set from a stranger must not pull other files of the machine into the pool."""
    plant(tmp_path, "root/train/a/1.jpg", "secret/2.jpg")
    (tmp_path / "root/train/a/link.jpg").symlink_to(tmp_path / "secret/2.jpg")
    with pytest.raises(DataError, match="link.jpg is a link out of .*follow_links"):
        list_images(tmp_path / "root", "train")

    assert 2 == len(list_images(tmp_path / "root", "train", follow_links=True))

    (tmp_path / "root/train/a/link.jpg").unlink()
    (tmp_path / "root/train/b").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="train/b is a link out of"):
        list_images(tmp_path / "root", "train")

    assert ["train/a/1.jpg", "train/b/2.jpg"] == list_images(
        tmp_path / "root", "train", follow_links=True
    )


def test_links_inside_cannot_loop(tmp_path: Path) -> None:
    """A link to a folder above would list every image for ever."""
    plant(tmp_path, "train/a/1.jpg")
    (tmp_path / "train/a/up").symlink_to("..")
    (tmp_path / "train/a/2.jpg").symlink_to("1.jpg")
    (tmp_path / "train/a/nowhere.jpg").symlink_to("lost.jpg")

    assert ["train/a/1.jpg", "train/a/2.jpg"] == list_images(tmp_path, "train")
    assert ["train/a/1.jpg", "train/a/2.jpg"] == list_images(tmp_path, "train", follow_links=True)


def test_classes_must_agree(tmp_path: Path) -> None:
    """With a class missing in one split, indices by position would shift and accuracy drop to 0."""
    splits = {"train": ["train/10/a.png", "train/9/b.png"], "val": ["val/9/c.png", "val/10/d.png"]}

    assert ["10", "9"] == common_classes(splits)

    splits["val"] = ["val/9/c.png", "val/11/d.png"]
    with pytest.raises(DataError, match=r"train lacks \['11'\]; val lacks \['10'\]"):
        common_classes(splits)
    with pytest.raises(DataError, match="a.png lies in no class folder"):
        common_classes({"train": ["train/a.png"]})


def test_labels_go_by_name(tmp_path: Path) -> None:
    """`classes` may be in any order and hold classes without images."""
    units = units_of(tmp_path, "train", ["train/10/a.png", "train/9/b.png"], ["9", "none", "10"])

    assert [2, 0] == units.labels
    assert [f"{tmp_path}/train/10/a.png", f"{tmp_path}/train/9/b.png"] == units.images

    with pytest.raises(DataError, match=r"\['10'\] are not among"):
        units_of(tmp_path, "train", ["train/10/a.png"], ["9"])
