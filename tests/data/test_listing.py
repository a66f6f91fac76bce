"""Folders of images: what counts as an image, and which classes there are."""

import logging
import os
from pathlib import Path

import pytest

from rayal.data.listing import class_folder, common_classes, list_images, units_of, walk_images
from rayal.errors import DataError


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


def test_the_order_is_that_of_the_text(tmp_path: Path) -> None:
    """Walked folder by folder, `a-b/` would come after `a/`, and a pool sorted by id elsewhere
    would have another order here."""
    paths = ["t/a-b/2.png", "t/a.png", "t/a/1.png", "t/a/b/3.png", "t/a/b0.png", "t/ab/4.png"]
    plant(tmp_path, *reversed(paths))

    assert sorted(paths) == list(walk_images(tmp_path, "t"))


def test_a_walk_holds_one_folder_at_a_time(tmp_path: Path) -> None:
    """A pool of a billion files would fill the memory before the first one is scored."""
    plant(tmp_path, "t/a/1.png", "t/b/2.png")
    walk = walk_images(tmp_path, "t")

    assert "t/a/1.png" == next(walk)

    plant(tmp_path, "t/b/3.png")

    assert ["t/b/2.png", "t/b/3.png"] == list(walk)


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
    assert (
        "left out 5 entries: 3 hidden (first 'train/__MACOSX'); 2 other files (first"
        " 'train/a/Thumbs.db')" in caplog.text
    )


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


def test_pipes_are_left_out(tmp_path: Path) -> None:
    """Reading one would wait for ever."""
    plant(tmp_path, "train/a/1.jpg")
    os.mkfifo(tmp_path / "train/a/2.jpg")

    assert ["train/a/1.jpg"] == list_images(tmp_path, "train")


def test_a_link_to_itself_is_left_out(tmp_path: Path) -> None:
    """The system refuses to look at it at all, and the whole folder would be refused with it."""
    plant(tmp_path, "train/a/1.jpg")
    (tmp_path / "train/a/self.jpg").symlink_to("self.jpg")

    assert ["train/a/1.jpg"] == list_images(tmp_path, "train")
    assert ["train/a/1.jpg"] == list_images(tmp_path, "train", follow_links=True)


def test_classes_must_agree() -> None:
    """With a class missing in one split, indices by position would shift and accuracy drop to 0."""
    assert ["10", "9"] == common_classes({"train": ["10", "9", "9"], "val": ["9", "10"]})

    with pytest.raises(DataError, match=r"train lacks \['11'\]; val lacks \['10'\]"):
        common_classes({"train": ["10", "9"], "val": ["9", "11"]})
    with pytest.raises(DataError, match=r"val lacks \['0', '1', '2', '3', '4'\] and 4 more"):
        common_classes({"train": [str(name) for name in range(10)], "val": ["9"]})


def test_a_class_is_the_first_folder() -> None:
    """What lies deeper belongs to it; what lies in none would get a file's name as its class."""
    assert "10" == class_folder("a/train/10/x/y.png", "a/train")

    with pytest.raises(
        DataError, match="train/a.png lies in no class folder; move it into one, or"
    ):
        class_folder("train/a.png", "train")
    assert "x" == class_folder("train/x/a.png", "train")


def test_labels_go_by_name(tmp_path: Path) -> None:
    """`classes` may be in any order and hold classes without images."""
    paths = ["train/10/a.png", "train/9/b.png"]
    units = units_of(tmp_path, "train", paths, ["10", "9"], ["9", "none", "10"])

    assert [2, 0] == units.labels
    assert [f"{tmp_path}/{path}" for path in paths] == list(units.images) == list(units.images)

    with pytest.raises(DataError, match=r"\['10'\] are not among"):
        units_of(tmp_path, "train", paths[:1], ["10"], ["9"])
