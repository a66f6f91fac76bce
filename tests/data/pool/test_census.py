"""Ids are checked exactly: each once in the pool, each once in the scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.cycle import shard_file
from rayal.data.images import Decoding
from rayal.data.pool import census
from rayal.data.pool.census import check_ids, check_scored
from rayal.data.pool.files import ParquetImages
from rayal.data.pool.source import Pool
from rayal.errors import DataError, StorageError
from rayal.storage.folder import Folder, Json
from rayal.storage.parquet import footers


def pool_of(root: Path, *files: list[Any], kind: Any = None, unique: bool = False) -> Pool:
    """A pool of these ids, three to a row group, without images."""
    urls = [f"{root}/{number}.parquet" for number in range(len(files))]
    for url, ids in zip(urls, files, strict=True):
        array = pa.array(ids, kind or pa.string())
        pq.write_table(pa.table({"id": array}), url, row_group_size=3)
    images = ParquetImages(str(root), "id", "image", False, Decoding(), (3, 4, 4))
    groups = {url: footer.groups for url, footer in footers(urls, ["id"]).items()}
    return Pool(images, groups, "", "", unique)


def test_ids_used_once_are_fine(tmp_path: Path) -> None:
    """Whatever they look like: an id is a name, never a path."""
    strange = ["ü", "a/../b", "/etc/passwd", "x\ny", "\x1b[2J", "\0", "x" * 10_000, " ", "..", "A"]
    work = tmp_path / "work"
    work.mkdir()
    check_ids(pool_of(tmp_path, strange, ["a"], []), work)

    assert [] == list(work.iterdir())


def test_duplicates_are_named(tmp_path: Path) -> None:
    """A unit scored twice would be picked twice; the user must find the rows (E05)."""
    pool = pool_of(tmp_path, ["a", "b", "c", "d", "b"], ["e", "a\n", "b", "a\n"])
    with pytest.raises(DataError) as caught:
        check_ids(pool)

    assert str(caught.value) == (
        f"2 ids are used more than once, first 'b' ({tmp_path}/0.parquet row 1 and"
        f" {tmp_path}/0.parquet row 4), 'a\\n' ({tmp_path}/1.parquet row 1 and"
        f" {tmp_path}/1.parquet row 3); make them unique, or do without a column of ids"
    )
    check_ids(pool_of(tmp_path, ["a", "b", "c", "d", "b2"], ["e", "a\n", "b1", "a2"]))


def test_five_of_many_duplicates_are_shown(tmp_path: Path) -> None:
    """Ten thousand lines would hide what is wrong."""
    ids = [f"{number}" for number in range(100)]
    with pytest.raises(DataError, match="^100 ids are used more than once, first '0' ") as caught:
        check_ids(pool_of(tmp_path, ids, ids))

    assert "'4' (" in str(caught.value) and "'5' (" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.lists(st.text("ab", min_size=1, max_size=4), max_size=12), min_size=1),
    limit=st.integers(1, 8),
)
def test_agrees_with_a_set(
    tmp_path_factory: pytest.TempPathFactory, ids: list[list[str]], limit: int
) -> None:
    """However small the memory: buckets, batches and the second look must lose nothing."""
    every = [unit for file in ids for unit in file]
    twice = len({unit for unit in every if every.count(unit) > 1})
    pool = pool_of(tmp_path_factory.mktemp("pool"), *ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census, "ROWS", limit)
        patch.setattr(census, "SORTED", limit)
        patch.setattr(census, "SUSPECTS", limit)
        if not twice:
            return check_ids(pool)
        with pytest.raises(DataError, match=f"^{twice} ids? (is|are) used more than once"):
            check_ids(pool)


def test_a_collision_is_no_false_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among 10^10 ids two share a hash by chance; a pool that is fine must not be refused."""
    monkeypatch.setattr(census, "_hashes", lambda ids: np.array([len(i) for i in ids], np.int64))
    check_ids(pool_of(tmp_path, ["a", "b", "c"], ["d"]))

    with pytest.raises(DataError, match="^1 id is used more than once, first 'b'"):
        check_ids(pool_of(tmp_path, ["a", "b", "c"], ["d", "b"]))


@pytest.mark.parametrize(
    "ids, kind, message",
    [
        (["a", "b", "c", "d", None], None, "0.parquet, row 4: the id is null"),
        ([1, None], pa.int64(), "0.parquet, row 1: the id is null"),
        (["a", "b", "c", "", "d"], None, "0.parquet, row 3: the id is empty"),
    ],
)
def test_ids_that_name_nothing_are_refused(
    tmp_path: Path, ids: list[Any], kind: Any, message: str
) -> None:
    """A unit without a name can be neither asked for nor remembered (E09)."""
    with pytest.raises(DataError, match=message):
        check_ids(pool_of(tmp_path, ids, kind=kind))


@pytest.mark.parametrize("strange", [b"\xff\xfe", b"\xed\xa0\x80"])
def test_ids_that_are_not_unicode_are_refused(tmp_path: Path, strange: bytes) -> None:
    """Bytes of another encoding, or half a character, cannot be written into any report."""
    pool = pool_of(tmp_path, ["a", "b", "c", "d"])
    good = (tmp_path / "0.parquet").read_bytes()
    ids = pa.array([b"a", b"b", b"c", strange], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": ids}), tmp_path / "0.parquet", row_group_size=3)
    with pytest.raises(DataError, match="0.parquet, row 3: the id is not Unicode; rename it"):
        check_ids(pool)
    (tmp_path / "0.parquet").write_bytes(good)
    check_ids(pool)


def test_ids_of_our_own_are_not_read(tmp_path: Path) -> None:
    """A billion paths cannot be there twice: reading them would cost minutes."""
    pool = pool_of(tmp_path, ["a", "a"], unique=True)
    (tmp_path / "0.parquet").unlink()

    check_ids(pool)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """The folder of temporary files may be small."""
    with pytest.raises(StorageError, match="nowhere"):
        check_ids(pool_of(tmp_path, ["a"]), tmp_path / "nowhere")


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Pool, Folder, list[Json]]:
    """Two files of ids, scored in three shards; the second row of each is bad, so comes last."""
    pool = pool_of(tmp_path, ["a", "b", "c", "d", "e"], ["f", "g"])
    folder = Folder(tmp_path / "scores")
    return pool, folder, [write(folder, i, unit) for i, unit in enumerate(["abc", "de", "fg"])]


def write(folder: Folder, shard: int, ids: str) -> Json:
    good = [unit for place, unit in enumerate(ids) if place != 1]
    data = shard_file.encode(good, {"score.x": np.zeros(len(good))}, {ids[1]: "not an image"})
    return folder.write(f"shard-{shard:05d}.parquet", data)


def test_every_row_scored_once(scored: tuple[Pool, Folder, list[Json]]) -> None:
    """The end of a pass."""
    pool, folder, records = scored

    check_scored(pool, pool.shards(3), folder, records)


@pytest.mark.parametrize(
    "ids, message",
    [
        ("dxe", "of 2 ids 0 are missing, and of its 3 1 do not belong, first 'x'"),
        ("fg", "of 2 ids 2 are missing, and of its 2 2 do not belong, first 'd'"),
        ("ded", "of 2 ids 0 are missing, and of its 3 0 do not belong, first 'd'"),
        ("dd", "of 2 ids 1 are missing, and of its 2 0 do not belong, first 'e'"),
    ],
)
def test_a_wrong_shard_is_named(
    scored: tuple[Pool, Folder, list[Json]], ids: str, message: str
) -> None:
    """A row lost or there twice would make the exact selection after it wrong."""
    pool, folder, records = scored
    write(folder, 1, ids)
    with pytest.raises(StorageError, match=f"shard-00001.parquet: {message}; delete the file to"):
        check_scored(pool, pool.shards(3), folder, records)
    folder.remove("shard-00001.parquet")
    write(folder, 1, "de")  # as the pass does where a shard is not there
    check_scored(pool, pool.shards(3), folder, records)


def test_missing_and_damaged_shards_are_named(scored: tuple[Pool, Folder, list[Json]]) -> None:
    """The message must say which file to delete."""
    pool, folder, records = scored
    with pytest.raises(StorageError, match="2 files of scores for 3 shards; delete the folder to"):
        check_scored(pool, pool.shards(3), folder, records[:2])
    folder.delete()
    for shard, unit in enumerate(["abc", "de", "fg"]):
        write(folder, shard, unit)
    check_scored(pool, pool.shards(3), folder, records)

    data = bytearray(folder.read("shard-00001.parquet"))
    data[8] ^= 1
    folder.write("shard-00001.parquet", bytes(data))
    with pytest.raises(StorageError, match="cannot be read.* copy, or delete it to score again$"):
        check_scored(pool, pool.shards(3), folder, records)
    folder.remove("shard-00001.parquet")
    write(folder, 1, "de")
    check_scored(pool, pool.shards(3), folder, records)

    folder.remove("shard-00001.parquet")
    with pytest.raises(StorageError, match="shard-00001.parquet cannot be read"):
        check_scored(pool, pool.shards(3), folder, records)
