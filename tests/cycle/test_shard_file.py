"""The file of a shard gives back what was put into it, whatever could not be decoded."""

import errno
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.cycle import shard_file
from rayal.errors import DataError, StorageError
from rayal.runs.passes import Pass
from rayal.storage.folder import Folder

COLUMNS = {
    "score.cod": np.array([0.5, 0.25]),
    "keep.features": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float16),
    "probs": np.array([[0.5, 0.5], [0.25, 0.75]], np.float16),
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def written(folder: Folder, *shards: bytes) -> Pass:
    """The result of a pass with these shards."""
    files = [folder.write(f"{n}-{uuid.uuid4()}.parquet", data) for n, data in enumerate(shards)]
    return Pass(units=2 * len(files), columns=("cod",), shards=tuple(files))


@pytest.mark.parametrize("bad", [{}, {"z": "missing"}, {"z": "empty file", "a": "x" * 1000}])
def test_what_is_written_comes_back(folder: Folder, bad: dict[str, str]) -> None:
    """With one image that cannot be decoded a shard could not be read at all (E01)."""
    result = written(folder, shard_file.encode(["m", "b"], COLUMNS, bad))
    name = result.shards[0].name
    whole, good = (
        shard_file.read_shard(folder, name),
        shard_file.read_good(folder, name, ["id", *COLUMNS]),
    )

    assert ["m", "b", *sorted(bad)] == whole["id"].to_pylist()
    assert ["ok", "ok", *(bad[unit] for unit in sorted(bad))] == whole["status"].to_pylist()
    assert [0.5, 0.25, *[None] * len(bad)] == whole["score.cod"].to_pylist()
    for column in ("keep.features", "probs"):
        np.testing.assert_array_equal(COLUMNS[column], shard_file.matrix(good[column]), strict=True)
        assert np.isnan(shard_file.matrix(whole[column])[2:]).all()


def test_shards_are_one_pool_sorted_by_id(folder: Folder) -> None:
    """The order in which shards are listed would decide what is chosen."""
    first = shard_file.encode(["m", "b"], COLUMNS, {"z": "missing"})
    second = shard_file.encode(["a"], {name: values[:1] for name, values in COLUMNS.items()}, {})
    only_bad = shard_file.encode([], {}, {"y": "missing", "x": "missing"})
    pool = shard_file.load(folder, written(folder, first, only_bad, second), ["features"])["cod"]

    assert ["a", "b", "m"] == list(pool.ids)
    assert [0.5, 0.25, 0.5] == list(pool.scores)
    assert [[1, 2, 3], [4, 5, 6], [1, 2, 3]] == pool.kept["features"].tolist()
    assert [1.0, 1.0, 1.0] == list(pool.costs)


@pytest.mark.parametrize("shards", [[], [shard_file.encode([], {}, {"x": "missing"})]])
def test_nothing_that_can_be_chosen(folder: Folder, shards: list[bytes]) -> None:
    """A pool whose last images are all undecodable would end in a traceback (E07)."""
    pool = shard_file.load(folder, written(folder, *shards))["cod"]

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
    shards = shard_file.encode(["a", "b"], COLUMNS, {}), shard_file.encode(["c", "d"], other, {})
    with pytest.raises(
        DataError, match=f"{folder.url}: the shards do not fit together: .* must gi"
    ):
        shard_file.load(folder, written(folder, *shards), ["features"])
    same = shards[0], shard_file.encode(["c", "d"], COLUMNS, {})
    shard_file.load(folder, written(folder, *same), ["features"])


def test_no_bit_of_a_shard_can_flip_unseen(folder: Folder) -> None:
    """A resumed pass would take a damaged shard for a whole one, or stop at it for ever (B05)."""
    data = shard_file.encode(["a", "b"], COLUMNS, {"z": "missing"})
    name = written(folder, data).shards[0].name
    whole, damaged = repr(shard_file.read_shard(folder, name).to_pydict()), 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        (Path(folder.url) / name).write_bytes(flipped)
        try:
            assert whole == repr(shard_file.read_shard(folder, name).to_pydict())  # it says nothing
        except StorageError as error:
            damaged += 1
            assert f"/{name} is damaged" in str(error)
            assert "; restore it from a copy" in str(error)

    assert damaged > len(data) // 3
    (Path(folder.url) / name).write_bytes(data)
    assert whole == repr(shard_file.read_shard(folder, name).to_pydict())


def test_what_is_kept_of_nothing_is_empty(folder: Folder) -> None:
    """The last cycle of a run would crash in `select` where no candidate can be decoded."""
    only_bad = shard_file.encode([], {}, {"a": "missing"})
    for shards in ([], [only_bad]):
        pool = shard_file.load(folder, written(folder, *shards), ["features"])["cod"]

        assert 0 == len(pool.ids) == len(pool.kept["features"]) == len(pool.labeled["features"])


def test_labeled_units_are_apart(folder: Folder) -> None:
    """Core-set would pick what is labeled, or not know where the labels are."""
    shard = shard_file.encode(["m", "b"], COLUMNS, {})
    pool = shard_file.load(folder, written(folder, shard), ["features"], {"b", "z"})["cod"]

    assert (["m"], ["b"]) == (list(pool.ids), list(pool.labeled_ids))
    assert [0.5] == list(pool.scores)
    assert [[1.0, 2.0, 3.0]] == pool.kept["features"].tolist()
    assert [[4.0, 5.0, 6.0]] == pool.labeled["features"].tolist()


def test_what_is_kept_lies_on_disk_where_there_is_a_folder_for_it(
    folder: Folder, tmp_path: Path
) -> None:
    """Features of a large pool would fill the memory, and the disk for good where the process is
    killed; or rows come back under another id."""
    rng, shards = np.random.default_rng(0), []
    ids = [f"{n:02d}" for n in rng.permutation(60)]
    features = rng.random((60, 3)).astype(np.float16)
    probs = rng.random((60, 2)).astype(np.float16)
    for start in range(0, 60, 17):
        part = slice(start, start + 17)
        columns = {"keep.features": features[part], "keep.probs": probs[part]}
        shards.append(shard_file.encode(ids[part], columns, {"z": "missing"}))
    result, labeled = written(folder, *shards), {"07", "31", "zz"}
    keeps = ["features", "probs"]
    (tmp_path / "scratch").mkdir()
    loaded = [
        shard_file.load(folder, result, keeps, labeled, scratch=scratch)["cod"]
        for scratch in (None, tmp_path / "scratch")
    ]
    place = {unit: row for row, unit in enumerate(ids)}

    for pool in loaded:
        assert sorted(set(ids) - labeled) == list(pool.ids) and ["07", "31"] == list(
            pool.labeled_ids
        )
        assert pool.scores is None
        for signal, values in (("features", features), ("probs", probs)):
            own, seen = ([place[unit] for unit in units] for units in (pool.ids, pool.labeled_ids))
            np.testing.assert_array_equal(values[own], pool.kept[signal], strict=True)
            np.testing.assert_array_equal(values[seen], pool.labeled[signal], strict=True)
    kept = [rows for pool in loaded for rows in (*pool.kept.values(), *pool.labeled.values())]
    assert [False] * 4 + [True] * 4 == [isinstance(rows.base, np.memmap) for rows in kept]
    assert [] == list((tmp_path / "scratch").iterdir())


def test_no_space_for_what_is_kept(folder: Folder, tmp_path: Path, monkeypatch: Any) -> None:
    """The process would be killed by the system at the first row, without a word."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    result = written(folder, shard_file.encode(["m", "b"], COLUMNS, {}))
    with pytest.raises(StorageError, match="no space for 12 bytes"):
        shard_file.load(folder, result, ["features"], scratch=tmp_path)


def test_only_the_strategies_asked_for_are_loaded(folder: Folder) -> None:
    """All columns of a wide pass would be in memory for one strategy that needs them."""
    columns = {"score.cod": np.ones(2), "score.b": np.zeros(2)}
    result = written(folder, shard_file.encode(["m", "b"], columns, {}))
    result = result.model_copy(update={"columns": ("cod", "b")})

    assert ["b"] == list(shard_file.load(folder, result, names=["b"]))


@pytest.mark.parametrize("bad", [{}, {"z": "missing"}])
def test_whole_numbers_come_back(folder: Folder, bad: dict[str, str]) -> None:
    """The predicted class of a shard with an undecodable image would be a float, or wrong."""
    columns = {"predicted": np.array([3, -1], np.int32), "score.cod": np.zeros(2)}
    name = written(folder, shard_file.encode(["m", "b"], columns, bad)).shards[0].name
    good = shard_file.read_good(folder, name, ["predicted"])["predicted"]

    assert "int32" == str(good.type) and [3, -1] == good.to_pylist()
    assert [3, -1, *[None] * len(bad)] == shard_file.read_shard(folder, name)[
        "predicted"
    ].to_pylist()
