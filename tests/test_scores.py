"""The file of a shard gives back what was put into it, whatever could not be decoded."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal import scores
from rayal.errors import DataError, StorageError
from rayal.storage import Folder

COLUMNS = {
    "score.cod": np.array([0.5, 0.25]),
    "keep.features": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float16),
    "probs": np.array([[0.5, 0.5], [0.25, 0.75]], np.float16),
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def written(folder: Folder, *shards: bytes) -> dict[str, Any]:
    """The result of a pass with these shards."""
    files = [folder.write(f"{n}-{uuid.uuid4()}.parquet", data) for n, data in enumerate(shards)]
    return {"columns": ["cod"], "shards": [file._asdict() for file in files]}


@pytest.mark.parametrize("bad", [{}, {"z": "missing"}, {"z": "empty file", "a": "x" * 1000}])
def test_what_is_written_comes_back(folder: Folder, bad: dict[str, str]) -> None:
    """With one image that cannot be decoded a shard could not be read at all (E01)."""
    result = written(folder, scores.encode(["m", "b"], COLUMNS, bad))
    name = result["shards"][0]["name"]
    whole, good = scores.read(folder, name), scores.read_good(folder, name, ["id", *COLUMNS])

    assert ["m", "b", *sorted(bad)] == whole["id"].to_pylist()
    assert ["ok", "ok", *(bad[unit] for unit in sorted(bad))] == whole["status"].to_pylist()
    assert [0.5, 0.25, *[None] * len(bad)] == whole["score.cod"].to_pylist()
    for column in ("keep.features", "probs"):
        np.testing.assert_array_equal(COLUMNS[column], scores.matrix(good[column]), strict=True)
        assert np.isnan(scores.matrix(whole[column])[2:]).all()


def test_shards_are_one_pool_sorted_by_id(folder: Folder) -> None:
    """The order in which shards are listed would decide what is chosen."""
    first = scores.encode(["m", "b"], COLUMNS, {"z": "missing"})
    second = scores.encode(["a"], {name: values[:1] for name, values in COLUMNS.items()}, {})
    only_bad = scores.encode([], {}, {"y": "missing", "x": "missing"})
    pool = scores.load(folder, written(folder, first, only_bad, second), ["features"])["cod"]

    assert ["a", "b", "m"] == list(pool.ids)
    assert [0.5, 0.25, 0.5] == list(pool.scores)
    assert [[1, 2, 3], [4, 5, 6], [1, 2, 3]] == pool.kept["features"].tolist()
    assert [1.0, 1.0, 1.0] == list(pool.costs)


@pytest.mark.parametrize("shards", [[], [scores.encode([], {}, {"x": "missing"})]])
def test_nothing_that_can_be_chosen(folder: Folder, shards: list[bytes]) -> None:
    """A pool whose last images are all undecodable would end in a traceback (E07)."""
    pool = scores.load(folder, written(folder, *shards))["cod"]

    assert ([], []) == (list(pool.ids), list(pool.scores))


@pytest.mark.parametrize(
    "other",
    [
        {**COLUMNS, "keep.features": COLUMNS["keep.features"][:, :2]},
        {name: values for name, values in COLUMNS.items() if name != "score.cod"},
    ],
)
def test_shards_that_do_not_fit_together(folder: Folder, other: dict[str, Any]) -> None:
    """Features of another width would be cut into the wrong rows (G09)."""
    shards = scores.encode(["a", "b"], COLUMNS, {}), scores.encode(["c", "d"], other, {})
    with pytest.raises(DataError, match=f"{folder.url}: the shards do not fit together"):
        scores.load(folder, written(folder, *shards), ["features"])


def test_no_bit_of_a_shard_can_flip_unseen(folder: Folder) -> None:
    """A resumed pass would take a damaged shard for a whole one, or stop at it for ever (B05)."""
    data = scores.encode(["a", "b"], COLUMNS, {"z": "missing"})
    name = written(folder, data)["shards"][0]["name"]
    whole, damaged = repr(scores.read(folder, name).to_pydict()), 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        (Path(folder.url) / name).write_bytes(flipped)
        try:
            assert whole == repr(scores.read(folder, name).to_pydict())  # it says nothing
        except StorageError as error:
            damaged += 1
            assert f"/{name} is damaged" in str(error)

    assert damaged > len(data) // 3


def test_what_is_kept_of_nothing_is_empty(folder: Folder) -> None:
    """The last cycle of a run would crash in `select` where no candidate can be decoded."""
    only_bad = scores.encode([], {}, {"a": "missing"})
    for shards in ([], [only_bad]):
        pool = scores.load(folder, written(folder, *shards), ["features"])["cod"]

        assert 0 == len(pool.ids) == len(pool.kept["features"]) == len(pool.labeled["features"])


def test_labeled_units_are_apart(folder: Folder) -> None:
    """Core-set would pick what is labeled, or not know where the labels are."""
    shard = scores.encode(["m", "b"], COLUMNS, {})
    pool = scores.load(folder, written(folder, shard), ["features"], {"b", "z"})["cod"]

    assert (["m"], ["b"]) == (list(pool.ids), list(pool.labeled_ids))
    assert [0.5] == list(pool.scores)
    assert [[1.0, 2.0, 3.0]] == pool.kept["features"].tolist()
    assert [[4.0, 5.0, 6.0]] == pool.labeled["features"].tolist()
