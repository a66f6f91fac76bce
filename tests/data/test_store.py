"""Reading a store: the right rows, in the right order, or an error that names the place."""

import os
import pickle
import shutil
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.data import prepare as module
from rayal.data import store_writer
from rayal.data.datasets.digits import Digits
from rayal.data.images import Decoding
from rayal.data.masks import MaskDecoding, decode, encode
from rayal.data.prepare import prepare
from rayal.data.source import Source, numbered
from rayal.data.store import Store
from rayal.errors import DataError
from rayal.storage.folder import Folder

N = 30
IMAGES = np.arange(N * 3 * 2 * 2, dtype=np.uint16).astype(np.uint8).reshape(N, 3, 2, 2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Thirty images in row groups of 4 and files of 12: 12, 12 and 6 rows."""
    out = tmp_path_factory.mktemp("store")
    pool = numbered("train", [row % 3 for row in range(N)], IMAGES)
    test = numbered("test", [0], IMAGES[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_ROWS", 4)
        patch.setattr(store_writer, "PART_BYTES", 250)
        prepare(Source(["a", "b", "c"], pool, test, origin="", licence=""), out, "toy", "", None)
    return Store(str(out))


def test_shards_by_hand(store: Store) -> None:
    """A shard is whole row groups of one file; changing the cut would orphan finished shards."""
    shards = store.pool.shards(5)

    assert [(12, 8), (12, 4), (12, 8), (12, 4), (6, 6)] == [
        (store.card.parts[shard.file], shard.rows) for shard in shards
    ]
    assert [(0, 2), (2, 1), (0, 2), (2, 1), (0, 2)] == [
        (shard.first_group, shard.groups) for shard in shards
    ]
    assert list(range(5)) == [shard.index for shard in shards]


@given(st.integers(1, 40))
@settings(deadline=None)
def test_shards_cover_the_split_once_and_in_order(store: Store, rows: int) -> None:
    """A row in two shards would be scored twice, one in none would never be selected."""
    tables = [store.pool.read(shard) for shard in store.pool.shards(rows)]

    assert store.pool.ids() == [unit for table in tables for unit in table["id"].to_pylist()]
    assert [len(table) for table in tables] == [shard.rows for shard in store.pool.shards(rows)]


@given(st.lists(st.integers(0, N - 1), max_size=50))
@settings(deadline=None)
def test_take_returns_any_ids_in_any_order(store: Store, rows: list[int]) -> None:
    """Labels are attached by place after a take; one swap would train on wrong labels."""
    ids = [f"train-{row:05d}" for row in rows]
    decoded = store.pool.decode(store.pool.take(ids))

    assert ids == decoded.ids
    np.testing.assert_array_equal(IMAGES[rows], decoded.images, strict=True)


@given(st.lists(st.integers(0, N - 1), max_size=50), st.integers(1, 20))
@settings(deadline=None)
def test_chunks_are_a_take_in_parts(store: Store, rows: list[int], size: int) -> None:
    """A training that reads its images so would have some of them twice, or under other ids."""
    ids = [f"train-{row:05d}" for row in rows]
    chunks = list(store.pool.chunks(ids, size))

    assert ids == [unit for chunk in chunks for unit in chunk["id"].to_pylist()]
    assert [len(chunk) for chunk in chunks] == [
        min(size, len(ids) - start) for start in range(0, len(ids), size)
    ]


def test_labels_of_some_units(store: Store) -> None:
    """An oracle that is asked for a hundred labels must not hold a million."""
    assert {"train-00001": 1, "train-00029": 2} == store.labels(
        "pool", ["train-00029", "train-00001", "unknown"]
    )
    assert {} == store.labels("pool", [])


@given(st.sets(st.integers(0, N - 1)))
@settings(deadline=None)
def test_keep_leaves_out_the_rest(store: Store, rows: set[int]) -> None:
    """Images that are no candidates must not cost a decoding."""
    keep = {f"train-{row:05d}" for row in rows}
    shards = store.pool.shards(7)
    decoded = [store.pool.decode(store.pool.read(shard, keep=keep)) for shard in shards]

    assert sorted(keep) == [unit for part in decoded for unit in part.ids]
    np.testing.assert_array_equal(
        IMAGES[sorted(rows)], np.concatenate([part.images for part in decoded]), strict=True
    )


def test_unknown_ids_are_an_error(store: Store) -> None:
    """Labels imported for another dataset must not be dropped silently."""
    with pytest.raises(
        DataError, match="2 of 3 ids are not in the pool of .*, first 'train-00099'"
    ):
        store.pool.take(["train-00001", "train-00099", "test-00000"])
    assert (
        1 == store.pool.take(["train-00001"]).num_rows == store.test.take(["test-00000"]).num_rows
    )


def test_images_are_writable(store: Store) -> None:
    """torch warns of memory it may not write; the warning would appear in every process."""
    assert store.pool.decode(store.pool.take(store.pool.ids())).images.flags.writeable


def test_a_split_has_no_way_to_labels(store: Store) -> None:
    """What scores the pool is handed a split; a label there would make any result worthless."""
    assert ["id", "image"] == store.pool.take(["train-00000"]).column_names
    assert not [name for name in dir(store.pool) if "label" in name]


def test_pickles_as_an_address(store: Store) -> None:
    """Stores travel with every task of a cluster; with their ids they would be megabytes."""
    store.pool.ids()
    sent = pickle.dumps((store, store.pool))

    assert 500 > len(sent)
    assert len(store.pool) == len(pickle.loads(sent)[1])


def test_reads_from_any_storage(store: Store) -> None:
    """On a cluster the store lies in a bucket or another shared place."""
    url = f"memory://{uuid4()}"
    fsspec.filesystem("memory").put(store.url, url.removeprefix("memory:/"), recursive=True)
    remote = Store(url)
    ids = remote.pool.ids()[::-7]

    assert store.pool.take(ids).equals(remote.pool.take(ids))
    assert store.labels("pool") == remote.labels("pool")


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store.url, tmp_path / "copy"))


def test_a_flipped_bit_is_found(copy: Path) -> None:
    """Without page checksums a wrong pixel or id is read as if nothing had happened."""
    file = copy / "pool/part-00001.parquet"
    column = pq.ParquetFile(file).metadata.row_group(2).column(1)
    data = bytearray(file.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    file.write_bytes(data)
    split = Store(str(copy)).pool
    (first, second) = [shard for shard in split.shards(5) if shard.file.endswith("1.parquet")]

    assert 8 == len(split.read(first))
    with pytest.raises(
        DataError, match=r"part-00001.parquet, row group 2 is damaged.*prepared anew"
    ):
        split.read(second)
    with pytest.raises(DataError, match="row group 2"):
        split.take(["train-00022"])


@pytest.mark.parametrize("file", ["pool/part-00000.parquet", "labels.parquet", "card.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_file_is_named(copy: Path, file: str, damage: str) -> None:
    """The message must say which file, and that deleting the folder mends it."""
    size = (copy / file).stat().st_size
    if damage == "gone":
        (copy / file).unlink()
    else:
        os.truncate(copy / file, size // 2 if damage == "cut" else 0)
    store = Store(str(copy))
    with pytest.raises(DataError, match=file if file != "card.json" else "not a prepared dataset"):
        store.pool.ids()
        store.labels("pool")


def test_a_store_that_is_deleted_is_prepared_anew(tmp_path: Path) -> None:
    """Of whatever file is damaged: the folder that the message names."""
    dataset = Digits(store=str(tmp_path), limit_pool=3, limit_test=1)
    url, ids = dataset.open().url, dataset.open().pool.ids()
    for file in ("pool/part-00000.parquet", "labels.parquet", "card.json"):
        os.truncate(f"{url}/{file}", 9)
        with pytest.raises(DataError, match=f"delete the folder {url} and start again") as told:
            store = dataset.open()
            _ = store.pool.take(ids), store.labels("pool"), store.card
        assert "it is prepared anew" in str(told.value)
        shutil.rmtree(url)
        assert 3 == len(dataset.open().labels("pool"))


def test_a_bit_of_the_card_is_found(copy: Path) -> None:
    """Every image would be normalised by another mean, and every score be another."""
    file, card = copy / "card.json", Store(str(copy)).card
    whole = file.read_bytes()
    damaged = 0
    for bit in range(3, 8 * len(whole), 211):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            assert card == Store(str(copy)).card  # of white space: the meaning is the same
        except DataError as error:
            damaged += 1
            assert f"delete the folder {copy} and start again" in str(error)

    assert damaged > 20


def test_a_card_without_a_seal_is_read(copy: Path) -> None:
    """Datasets that rayal 0.4 prepared would all be prepared again."""
    folder, card = Folder(copy), Store(str(copy)).card
    folder.write_json("card.json", folder.read_sealed("card.json"))

    assert card == Store(str(copy)).card


def test_a_card_of_another_version_is_refused(copy: Path) -> None:
    """A newer rayal may lay out files differently; guessing would read nonsense."""
    folder = Folder(copy)
    folder.write_sealed("card.json", {**folder.read_sealed("card.json"), "format": 2})
    with pytest.raises(DataError, match="not a prepared dataset of this rayal"):
        Store(str(copy)).pool.ids()


def test_masks_of_some_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of a whole split may be gigabytes: only the row groups that are asked for are read."""
    monkeypatch.setattr(module, "GROUP_ROWS", 4)
    masks = np.random.default_rng(0).integers(0, 3, (N, 16, 16), dtype=np.uint8)
    images = np.zeros((N, 3, 16, 16), np.uint8)
    units = numbered("train", [0] * N, images)._replace(labels=[encode(mask) for mask in masks])
    values = MaskDecoding(values={0: 0, 1: 1, 2: 2})
    source = Source(
        ["a", "b", "c"], units, units.first(1)._replace(ids=["t"]), "", "", masks=values
    )
    prepare(source, tmp_path, "toy", "", None)
    file = tmp_path / "labels.parquet"
    column = pq.ParquetFile(file).metadata.row_group(2).column(1)
    data = bytearray(file.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    file.write_bytes(data)
    store = Store(str(tmp_path))

    found = store.labels("pool", ["train-00029", "train-00001", "unknown"])

    assert ["train-00001", "train-00029"] == list(found)
    for row, label in zip((1, 29), found.values(), strict=True):
        assert isinstance(label, bytes)
        np.testing.assert_array_equal(masks[row], decode(label, values, Decoding()), strict=True)
    with pytest.raises(DataError, match="labels.parquet is damaged"):
        store.labels("pool", ["train-00008"])
