"""Fashion-MNIST: the official idx files and the Parquet copy of them."""

import gzip
import shutil
import struct
from pathlib import Path

import pytest

from rayal.data.datasets.fashion_mnist import FashionMnist, read_idx
from rayal.data.datasets.parquet import Parquet
from rayal.errors import DataError


def test_idx_by_hand(tmp_path: Path) -> None:
    """The whole format on one line."""
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6))))

    assert [[0, 1, 2], [3, 4, 5]] == read_idx(file).tolist()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        gzip.compress(b""),
        gzip.compress(struct.pack(">HBBI", 0, 8, 1, 3) + b"ab"),
        gzip.compress(struct.pack(">HBBI", 0, 13, 1, 1) + bytes(4)),
        gzip.compress(struct.pack(">HBBI", 0, 8, 1, 3) + b"abc")[:-9],
    ],
    ids=["empty", "text", "nothing packed", "one byte less", "of floats", "cut"],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A page that says 404 under the name of a dataset is a common download."""
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match="a.gz.*; fetch it again$"):
        read_idx(tmp_path / "a.gz")
    (tmp_path / "a.gz").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 3) + b"abc"))
    assert [97, 98, 99] == read_idx(tmp_path / "a.gz").tolist()


def test_agrees_with_the_parquet_copy(shared_data: Path) -> None:
    """Rows of the official files are the ids of the copy: same images, same labels."""
    names = {"pool": ["fashion_mnist_20k_train.parquet"], "test": ["fashion_mnist_4k_test.parquet"]}
    copy = Parquet(
        root=str(shared_data), **names, channels=1, limit_pool=500, limit_test=100
    ).open()
    store = FashionMnist(root=str(shared_data / "samples")).open()
    ids = [unit for unit in copy.pool.ids() if int(unit[-5:]) < 2000]

    assert 400 < len(ids)
    assert store.pool.take(ids).equals(copy.pool.take(ids))
    truth, labels = store.labels("pool"), copy.labels("pool")
    assert [truth[unit] for unit in ids] == [labels[unit] for unit in ids]
    assert (2000, 500, (1, 28, 28)) == (store.card.pool, store.card.test, store.card.image.shape)
    assert store.card.classes == copy.card.classes


def test_images_without_labels_are_refused(tmp_path: Path, shared_data: Path) -> None:
    """Files of different lengths cannot belong together."""
    raw = tmp_path / "FashionMNIST" / "raw"
    shutil.copytree(shared_data / "samples" / "FashionMNIST" / "raw", raw)
    shutil.copy(raw / "t10k-labels-idx1-ubyte.gz", raw / "copy.gz")
    (raw / "copy.gz").replace(raw / "train-labels-idx1-ubyte.gz")
    with pytest.raises(
        DataError, match=r"\(2000, 28, 28\) and labels \(500,\); fetch the files ag"
    ):
        FashionMnist(root=str(tmp_path)).open()
    whole = shared_data / "samples" / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte.gz"
    shutil.copy(whole, raw / "copy.gz")
    (raw / "copy.gz").replace(raw / "train-labels-idx1-ubyte.gz")
    assert 9 == FashionMnist(root=str(tmp_path), limit_pool=9).open().card.pool
