"""CIFAR-10 in its official layout: a sample of it, with the sample's own checksums."""

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from rayal.data.datasets.cifar10 import Cifar10
from rayal.data.datasets.parquet import Parquet
from rayal.errors import DataError


@pytest.fixture
def samples(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the sample, accepted as if it were the official one."""
    root = shared_data / "samples"

    def own(lists: list[list[str]]) -> list[list[str]]:
        folder = root / "cifar-10-batches-py"
        return [[n, hashlib.md5((folder / n).read_bytes()).hexdigest()] for n, _ in lists]

    monkeypatch.setattr(datasets.CIFAR10, "train_list", own(datasets.CIFAR10.train_list))
    monkeypatch.setattr(datasets.CIFAR10, "test_list", own(datasets.CIFAR10.test_list))
    return root


def test_rows_of_the_official_files(samples: Path) -> None:
    """Pixels, labels and order are those of the pickles: batch after batch, row after row."""
    store = Cifar10(root=str(samples)).open()
    with open(samples / "cifar-10-batches-py" / "data_batch_2", "rb") as file:
        batch = pickle.load(file, encoding="latin1")  # the project's own sample
    ids = [f"train-{row:05d}" for row in range(200, 400)]

    assert (1000, 200, "raw") == (store.card.pool, store.card.test, store.card.encoding)
    np.testing.assert_array_equal(
        batch["data"].reshape(-1, 3, 32, 32), store.pool.decode(store.pool.take(ids)).images
    )
    labels = store.labels("pool")
    assert batch["labels"] == [labels[unit] for unit in ids]


def test_agrees_with_the_parquet_copy(samples: Path, shared_data: Path) -> None:
    """The same experiment may read either; ids and images must be the same."""
    folder = Cifar10(root=str(samples), limit_pool=200).open()
    names = {"pool": ["cifar10_train.parquet"], "test": ["cifar10_test.parquet"]}
    parquet = Parquet(root=str(shared_data), **names, limit_pool=200, limit_test=200).open()

    for split in ("pool", "test"):
        ours, theirs = getattr(folder, split), getattr(parquet, split)
        assert ours.take(ours.ids()).equals(theirs.take(theirs.ids()))
        assert folder.labels(split) == parquet.labels(split)
    assert folder.card.classes == parquet.card.classes
    assert folder.card.image == parquet.card.image


def test_unofficial_pickles_are_not_opened(tmp_path: Path, shared_data: Path) -> None:
    """A pickle can run any code; only files with the published md5 are read."""

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    folder = tmp_path / "cifar-10-batches-py"
    shutil.copytree(shared_data / "samples" / "cifar-10-batches-py", folder)
    (folder / "data_batch_1").unlink()
    (folder / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="does not hold the folder cifar-10-batches-py.*md5"):
        Cifar10(root=str(tmp_path)).open()

    assert not (tmp_path / "exploded").exists()


def test_files_that_are_fetched_again(samples: Path, tmp_path: Path) -> None:
    """One that was cut, and the same as it was published."""
    shutil.copytree(samples / "cifar-10-batches-py", tmp_path / "cifar-10-batches-py")
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    whole = batch.read_bytes()
    batch.unlink()  # the copy may be read-only
    batch.write_bytes(whole[:-1])
    dataset = Cifar10(root=str(tmp_path), store=str(tmp_path / "stores"), limit_pool=9)
    with pytest.raises(DataError, match="md5 differs.; fetch it again, or read other files with"):
        dataset.open()
    batch.write_bytes(whole)
    assert 9 == dataset.open().card.pool


def test_missing_files_are_named(tmp_path: Path) -> None:
    """The message says what to put where."""
    with pytest.raises(DataError, match="data_batch_1 is missing.*cifar-10-python.tar.gz"):
        Cifar10(root=str(tmp_path)).open()
