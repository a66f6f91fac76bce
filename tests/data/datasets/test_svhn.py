"""SVHN in its official layout, from files made here."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from rayal.data.datasets.svhn import Svhn
from rayal.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 3), dtype=np.uint8)  # H W C N


def write(root: Path, split: str, labels: list[int]) -> str:
    file = root / f"{split}_32x32.mat"
    savemat(file, {"X": IMAGES, "y": np.array(labels, np.uint8)[:, None]})
    return hashlib.md5(file.read_bytes()).hexdigest()


def test_zero_is_class_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files call the digit 0 class 10, which would be out of range."""
    lists = {
        split: ["", f"{split}_32x32.mat", write(tmp_path, split, [10, 1, 9])]
        for split in ("train", "test")
    }
    monkeypatch.setattr(datasets.SVHN, "split_list", {**datasets.SVHN.split_list, **lists})
    store = Svhn(root=str(tmp_path)).open()

    assert [0, 1, 9] == list(store.labels("pool").values())
    np.testing.assert_array_equal(
        IMAGES.transpose(3, 2, 0, 1),
        store.pool.decode(store.pool.take(store.pool.ids())).images,
    )


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut download would otherwise be a smaller dataset."""
    for split in ("train", "test"):
        write(tmp_path, split, [2, 1, 9])
    with pytest.raises(DataError, match="train_32x32.mat is not the official file .*; fetch it ag"):
        Svhn(root=str(tmp_path)).open()
    official = {
        split: ["", f"{split}_32x32.mat", write(tmp_path, split, [2, 1, 9])]
        for split in ("train", "test")
    }
    monkeypatch.setattr(datasets.SVHN, "split_list", official)
    assert 3 == Svhn(root=str(tmp_path)).open().card.pool
