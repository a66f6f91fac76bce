"""Shards: every row once, in order, and decoded into what it is."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayal.data.images import BadImage, Decoding
from rayal.data.pool import cut, decode_each, decode_raw, pixels
from tests.data.test_images import encoded, photo

GROUPS = st.lists(st.integers(0, 30), max_size=8)


def test_shards_by_hand() -> None:
    """Changing the cut would orphan the finished shards of every pass."""
    assert [
        (0, "a", 0, 2, 0, 8),  # 4 + 4 rows are at least 5
        (1, "a", 2, 1, 0, 4),  # what is left of the file
        (2, "b", 0, 1, 0, 5),  # 12 rows are too many for one
        (3, "b", 0, 1, 5, 5),
        (4, "b", 0, 1, 10, 2),
        (5, "d", 0, 1, 0, 1),  # a group of its own before a large one
        (6, "d", 1, 1, 0, 5),
        (7, "d", 1, 1, 5, 1),
        (8, "d", 2, 3, 0, 5),  # an empty group costs nothing
    ] == [tuple(s) for s in cut({"a": [4, 4, 4], "b": [12], "c": [], "d": [1, 6, 3, 0, 2]}, 5)]


def test_no_files_are_no_shards() -> None:
    """Files without rows are allowed."""
    assert [] == cut({}, 3) == cut({"a": [], "b": [0]}, 3)


@given(st.dictionaries(st.text("abc", min_size=1), GROUPS), st.integers(1, 20))
def test_shards_cover_every_row_once_and_in_order(files: dict[str, list[int]], rows: int) -> None:
    """A row in two shards would be scored twice, one in none would never be selected."""
    shards = cut(files, rows)
    covered = [
        (shard.file, sum(files[shard.file][: shard.first_group]) + shard.skip + row)
        for shard in shards
        for row in range(shard.rows)
    ]

    assert [(file, row) for file in files for row in range(sum(files[file]))] == covered
    assert list(range(len(shards))) == [shard.index for shard in shards]


@given(GROUPS, st.integers(1, 20))
def test_shards_are_whole_groups_or_parts_of_one(groups: list[int], rows: int) -> None:
    """What crosses the border of a large group could not be read in bounded memory."""
    for shard in cut({"a": groups}, rows):
        inside = groups[shard.first_group : shard.first_group + shard.groups]

        assert shard.rows < 2 * rows
        assert (shard.skip, shard.rows) == (0, sum(inside)) or len(inside) == 1
        assert shard.skip + shard.rows <= sum(inside)


def test_images_one_by_one(tmp_path: Path) -> None:
    """A bad one is set apart with its reason; the others keep their ids."""
    good = encoded(photo(4, 5))
    (tmp_path / "1.png").write_bytes(good)
    stored = {
        "null": None,
        "bytes": good,
        "text": b"text",
        "other size": encoded(photo(5, 4)),
        "file": f"{tmp_path}/1.png",
        "missing": f"{tmp_path}/2.png",
    }

    def decoded(value: bytes | str | None) -> np.ndarray:
        return pixels(value, Decoding(), (3, 4, 5))

    for kind, units in (
        (pa.binary(), list(stored)[:4]),
        (pa.string(), ["null", "file", "missing"]),
    ):
        images = pa.array([stored[unit] for unit in units], kind)
        found = decode_each(pa.table({"id": units, "image": images}), decoded, (3, 4, 5))

        assert [unit for unit in units if unit in ("bytes", "file")] == found.ids
        assert (1, 3, 4, 5) == found.images.shape
        assert "no data (null)" == found.bad["null"]
    assert {"null", "missing"} == found.bad.keys()
    with pytest.raises(BadImage, match=r"is \(3, 5, 4\) instead of \(3, 4, 5\)"):
        decoded(stored["other size"])


@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize("tensors", [False, True])
def test_raw_images(chunks: int, tensors: bool) -> None:
    """Pixels at the wrong offset would be another image, without any error."""
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 2, 4), dtype=np.uint8)
    ids = [f"{number}" for number in range(7)]
    if tensors:
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    else:
        column = pa.array([image.tobytes() for image in images], pa.binary(24))
    table = pa.table({"id": ids, "image": column})
    parts = pa.concat_tables(table.slice(start, 7 // chunks) for start in range(0, 7, 7 // chunks))
    found = decode_raw(parts.slice(1, 5), (3, 2, 4))

    assert ids[1:6] == found.ids
    np.testing.assert_array_equal(images[1:6], found.images, strict=True)
    assert found.images.flags.writeable


def test_raw_images_that_are_null() -> None:
    """Their rows must not shift the images of the rows after."""
    column = pa.array([None, b"aaa", None, b"bbb"], pa.binary(3))
    found = decode_raw(pa.table({"id": ["a", "b", "c", "d"], "image": column}), (3, 1, 1))

    assert (["b", "d"], [97, 98]) == (found.ids, found.images[:, 0, 0, 0].tolist())
    assert {"a": "no data (null)", "c": "no data (null)"} == found.bad


def test_no_rows_are_no_images() -> None:
    """All units of a shard may be labeled already."""
    empty = pa.table({"id": pa.array([], pa.string()), "image": pa.array([], pa.binary(3))})
    decoded = [
        decode_raw(empty, (3, 1, 1)),
        decode_each(empty, lambda stored: np.empty(0, np.uint8), (3, 1, 1)),
    ]

    assert [((0, 3, 1, 1), [], {})] * 2 == [(d.images.shape, d.ids, d.bad) for d in decoded]
