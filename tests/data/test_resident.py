"""Files of vectors are read once in a process, and anew where they have changed or are too many."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rayal.data import resident
from rayal.data.datasets.features import Features
from rayal.errors import DataError


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """What other tests have left in memory, and these would leave."""
    resident._files.clear()
    yield
    resident._files.clear()


def features(root: Path) -> Features:
    rng = np.random.default_rng(0)
    for name, count in (("pool", 600), ("test", 20)):
        ids = np.array([f"{name}{i}" for i in range(count)])
        vectors = rng.normal(size=(count, 4)).astype(np.float16)
        np.savez(root / f"{name}.npz", id=ids, features=vectors, label=np.arange(count) % 2)
    return Features(root=str(root), store=str(root / "stores"), pool="pool.npz", test="test.npz")


def test_what_is_in_memory_is_what_is_on_the_disk(tmp_path: Path) -> None:
    """Else a second cycle would be trained on other vectors than the first."""
    pool, there = features(tmp_path).open().pool, np.load(tmp_path / "pool.npz")
    for _ in range(2):
        read = pool.decode(pool.take(["pool3", "pool599", "pool0"])).images

        assert (there["features"][[3, 599, 0]] == read).all()
    (shard,) = pool.shards(600)
    keep = {"pool5", "pool300"}

    assert pool.decode(pool.read(shard, keep)).ids == ["pool5", "pool300"]


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """Else every cycle of every trial would read the pool again."""
    pool = features(tmp_path).open().pool
    pool.take(["pool0"])
    (before,) = resident._files.values()
    pool.take(["pool1"])

    assert [before] == list(resident._files.values())


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    """Else a store that was damaged, or put in place again, would not be noticed."""
    store = features(tmp_path).open()
    store.pool.take(["pool0"])
    file = Path(store.url) / "pool" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged"):
        store.pool.take(["pool0"])


def test_files_of_long_ago_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process would hold all stores that it has ever read."""
    monkeypatch.setattr(resident, "STAYS", 3000)
    reads: list[str] = []

    def read(name: str) -> list[pa.Table]:
        reads.append(name)
        return [pa.table({"x": np.zeros(150)})]  # 1,200 bytes

    for name in (
        "memory://a",
        "memory://b",
        "memory://a",
        "memory://c",
        "memory://a",
        "memory://b",
    ):
        resident.row_groups(name, lambda name=name: read(name))

    assert ["memory://a", "memory://b", "memory://c", "memory://b"] == reads


def test_a_large_split_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process would grow by a pool of any size."""
    store = features(tmp_path).open()
    monkeypatch.setattr(resident, "STAYS", 600 * 4 * 2 - 1)
    store.pool.take(["pool0"])

    assert not resident._files


def test_images_do_not_stay(tmp_path: Path) -> None:
    """Else every process that scores images would hold as many of them as fit."""
    rng = np.random.default_rng(0)
    assert not os.listdir(tmp_path)
    from rayal.data.datasets.base import Dataset
    from rayal.data.source import Source, Units

    class Images(Dataset):
        def files(self) -> list[str]:
            return []

        def source(self) -> Source:
            pixels = list(rng.integers(0, 256, (4, 3, 6, 5), np.uint8))
            pool, test = (
                Units(["a", "b"], [0, 1], pixels[:2]),
                Units(["c", "d"], [0, 1], pixels[2:]),
            )
            return Source(("x", "y"), pool, test, "made up", "none")

    Images(store=str(tmp_path)).open().pool.take(["a"])

    assert not resident._files
