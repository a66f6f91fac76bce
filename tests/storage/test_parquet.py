"""Somebody's Parquet files are read in bounded memory, whatever they say of their size."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.data.datasets.parquet import Parquet
from rayal.data.images import Decoding
from rayal.data.pool.files import ParquetImages
from rayal.data.pool.source import cut
from rayal.errors import DataError

MEGABYTE, ROWS = bytes(2**20), 150_000


def repeated(file: Path, name: str, value: bytes, rows: int = ROWS) -> Path:
    """A small file of so many values."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    rest = {"image": ["x.png"] * rows} if name == "id" else {}
    table = pa.table({name: values, **rest})
    pq.write_table(table, file, compression="zstd", store_schema=False)
    return file


@pytest.mark.parametrize("name", ["image", "id"])
def test_a_small_file_cannot_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Four kilobytes that unpack to 150 GB would take the machine."""
    monkeypatch.setattr("rayal.storage.parquet.UNPACKED", 2**24)
    file = repeated(tmp_path / "a.parquet", name, MEGABYTE)
    images = ParquetImages(
        str(tmp_path), "id" if name == "id" else None, "image", False, Decoding(size=8), (3, 8, 8)
    )
    (shard,) = cut({str(file): [ROWS]}, ROWS)

    assert file.stat().st_size < 40_000
    with pytest.raises(DataError, match=f"columns .*{name}.* take more than .* of which the file"):
        images.read(shard)


def test_a_few_rows_at_a_time_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same image many times is no crime."""
    monkeypatch.setattr("rayal.storage.parquet.UNPACKED", 10**6)
    value = bytes(10**4)
    file = repeated(tmp_path / "a.parquet", "image", value, rows=1000)
    images = ParquetImages(str(tmp_path), None, "image", False, Decoding(size=8), (3, 8, 8))
    shard = cut({str(file): [1000]}, 8)[1]

    assert [value] * 8 == images.read(shard)["image"].to_pylist()


def test_the_way_out_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dictionaries a file says how large it is, and is cut accordingly."""
    monkeypatch.setattr("rayal.storage.parquet.UNPACKED", 10**6)
    file = repeated(tmp_path / "a.parquet", "image", bytes(10**4), rows=1000)
    images = ParquetImages(str(tmp_path), None, "image", False, Decoding(size=8), (3, 8, 8))
    (shard,) = cut({str(file): [1000]}, 1000)
    with pytest.raises(DataError, match="use_dictionary=False"):
        images.read(shard)

    pq.write_table(pq.read_table(file), tmp_path / "b.parquet", use_dictionary=False)
    assert 1000 == images.read(shard._replace(file=str(tmp_path / "b.parquet"))).num_rows


def test_ordinary_files_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers use dictionaries for whatever comes, and give up when they grow; images differ in
    size a hundredfold."""
    monkeypatch.setattr("rayal.storage.parquet.UNPACKED", 10**6)
    different = [bytes([n % 256, n // 256]) * (50000 if n == 3 else 500) for n in range(4000)]
    pq.write_table(pa.table({"image": different}), tmp_path / "a.parquet")
    images = ParquetImages(str(tmp_path), None, "image", False, Decoding(size=8), (3, 8, 8))

    for rows in (4000, 100):
        first = cut({f"{tmp_path}/a.parquet": [4000]}, rows)[0]
        assert different[:rows] == images.read(first)["image"].to_pylist()


def test_a_dataset_of_such_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing reads the same files."""
    monkeypatch.setattr("rayal.storage.parquet.UNPACKED", 2**24)
    repeated(tmp_path / "a.parquet", "label", MEGABYTE)
    with pytest.raises(DataError, match="columns label take more than"):
        Parquet(root=str(tmp_path), pool=("a.parquet",), test=("a.parquet",), id=None)._columns(
            ("a.parquet",), "label"
        ).read("label")
