"""The identity of files, and ids for images without any."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.data.masks import MaskDecoding
from rayal.data.source import (
    HASHED,
    NO_UNITS,
    Source,
    Units,
    check_source,
    file_identity,
    numbered,
)
from rayal.errors import DataError, UsageError


def test_identity_follows_the_content_not_the_clock(tmp_path: Path) -> None:
    """A copied or touched data set must not be prepared again; a changed one must."""
    file, copy = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"content")
    copy.write_bytes(b"content")
    os.utime(copy, (0, 0))

    assert file_identity(file) == file_identity(copy)

    copy.write_bytes(b"Content")

    assert file_identity(file) != file_identity(copy)


@pytest.mark.parametrize("size", [0, 1, 2 * HASHED, 2 * HASHED + 1, 3 * HASHED])
def test_identity_sees_both_ends_and_the_length(tmp_path: Path, size: int) -> None:
    """Parquet keeps its directory at the end, pickles and tars theirs at the beginning."""
    file = tmp_path / "a"
    seen, zeros = set(), bytes(size)
    for content in (zeros, zeros + b"\0", b"\1" + zeros, zeros + b"\2"):
        file.write_bytes(content)
        seen.add(file_identity(file))

    assert 4 == len(seen)


def test_numbered_units_are_named_after_split_and_row() -> None:
    """A position alone would name a pool image and a test image alike."""
    units = numbered("train", [3, 1], [b"a", b"b"])

    assert (["train-00000", "train-00001"], [3, 1]) == (units.ids, units.labels)


@pytest.mark.parametrize("labels", [[3], [3, 1, 2]])
def test_as_many_labels_as_images(labels: list[int]) -> None:
    """Images without a label would be left out without a word, and the others be of wrong rows."""
    images = np.zeros((2, 1, 4, 4), np.uint8)
    with pytest.raises(DataError, match=f"train has {len(labels)} labels? and 2 images; give one"):
        numbered("train", labels, images)  # type: ignore[arg-type]
    units = numbered("train", [3, 1], images)  # type: ignore[arg-type]

    assert 2 == len(units.ids) == len(numbered("train", [3, 1], Once()).ids)


class Once:
    """Images in files, of which nobody knows how many there are."""

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("an image was read")


@pytest.mark.parametrize("labels", [[3, 1, 2], np.array([3, 1, 2])])
def test_the_first_units_have_their_labels(labels: Any) -> None:
    """torchvision gives labels as lists or arrays; a list too long would be refused."""
    units = Units(["a", "b", "c"], labels, []).first(2)

    assert (["a", "b"], [3, 1]) == (units.ids, list(units.labels))
    assert 3 == len(Units(["a", "b", "c"], labels, []).first(None).ids)


def test_masks_are_counted_when_they_are_read() -> None:
    """Like images: a file of masks is not read to take the first of them."""

    class Untouched:
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("a mask was read")

    assert ["a"] == Units(["a", "b"], Untouched(), Untouched()).first(1).ids


UNITS = Units(["a"], [0], [b""])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, r"source\(\) returned NoneType; return rayal.data.source.Source"),
        (Source("ab", UNITS, UNITS, "", ""), "classes are 'ab'; give a list of names"),
        (Source([], UNITS, UNITS, "", ""), r"classes are \[\]; give each class a name once"),
        (Source(["a", "a"], UNITS, UNITS, "", ""), "give each class a name once"),
        (Source([0, 1], UNITS, UNITS, "", ""), r"classes are \[0, 1\]; give a list of names"),
        (Source(["a"], (["x"], [0], [b""]), UNITS, "", ""), "pool is tuple; give Units"),
        (Source(["a"], UNITS, UNITS._replace(images=iter([])), "", ""), "test.images can be read"),
    ],
)
def test_what_a_dataset_of_ones_own_returns_is_checked(source: Any, told: str) -> None:
    """It would end in a traceback of the preparation's."""
    with pytest.raises(UsageError, match=f"dataset 'my.own': .*{told}"):
        check_source(source, "my.own")
    check_source(Source(["a", "b"], UNITS, UNITS, "", ""), "my.own")
    check_source(Source(["a"], UNITS, UNITS._replace(images=[b""]), "", ""), "my.own")


def test_ids_and_labels_are_as_many() -> None:
    """A user's own dataset would end in an assertion."""
    source = Source(["a"], Units(["x", "y"], [0], []), UNITS, "", "")
    with pytest.raises(DataError, match="the pool has 2 ids and 1 label"):
        source.check()


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ((), "there are no classes; set dataset.classes to their names"),
        (("a", "b", "a"), "classes: 'a' twice; give each class a name of its own"),
    ],
)
def test_classes_that_cannot_be(classes: tuple[str, ...], told: str) -> None:
    """Two classes of one name would be one in every table, and a label could mean both."""
    images = np.zeros((1, 1, 4, 4), np.uint8)
    pool, test = Units(["a"], [0], images), Units(["b"], [0], images)
    with pytest.raises(DataError, match=told):
        Source(classes, pool, test, "", "").check()
    Source(("a", "b", "c"), pool, test, "", "").check()


def test_a_source_without_test_images_says_so() -> None:
    """A folder that was lost would be a run that measures nothing."""
    images = np.zeros((1, 1, 4, 4), np.uint8)
    pool = Units(["a"], [0], images)
    with pytest.raises(DataError, match="the test has no images"):
        Source(("a",), pool, NO_UNITS, "", "").check()
    with pytest.raises(DataError, match="says that it has no test images, and gives some"):
        Source(("a",), pool, Units(["b"], [0], images), "", "", untested=True).check()
    Source(("a",), pool, NO_UNITS, "", "", untested=True).check()


def test_masks_that_people_draw_are_none() -> None:
    """A list of addresses would be read to its end to find out."""
    decoding = MaskDecoding(values={0: 0})
    images = np.zeros((2, 1, 4, 4), np.uint8)
    for labels, expected in (([None, None], True), ([None, b"x"], False), (iter(()), False)):
        pool = Units(["a", "b"], labels, images)  # type: ignore[arg-type]
        source = Source(("a",), pool, NO_UNITS, "", "", masks=decoding)
        assert expected == source.unlabeled
