"""CIFAR-100 in its official layout, from files made here."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from rayal.data.datasets.cifar100 import Cifar100


def test_fine_labels_of_the_official_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files hold 20 coarse labels too; training on those would look far too good."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()

    def write(name: str, content: dict[str, object]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    data = np.arange(2 * 3072, dtype=np.uint16).astype(np.uint8).reshape(2, 3072)
    rows = {"data": data, "fine_labels": [7, 99], "coarse_labels": [0, 1]}
    names = [f"class {number}" for number in range(100)]
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", write("train", rows)]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", write("test", rows)]])
    meta = {**datasets.CIFAR100.meta, "md5": write("meta", {"fine_label_names": names})}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    store = Cifar100(root=str(tmp_path)).open()

    assert {"train-00000": 7, "train-00001": 99} == store.labels("pool")
    assert tuple(names) == store.card.classes
    np.testing.assert_array_equal(
        data.reshape(2, 3, 32, 32), store.pool.decode(store.pool.take(store.pool.ids())).images
    )
