"""A folder of images that nobody has labeled: the pool has ids and images, and no labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayal
from rayal.data.datasets.unlabeled_folder import UnlabeledFolder
from rayal.data.source import Source, Units
from rayal.errors import DataError, UsageError
from tests.data.datasets.test_image_folder import plant

POOL = [f"pool/{place}/{n}.png" for place in ("a", "b/c") for n in range(6)]
TEST = [f"test/{name}/{n}.png" for name in ("cat", "dog") for n in range(2)]


def test_the_pool_has_no_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folders that somebody sorted images into would become classes."""
    plant(tmp_path, *POOL, *TEST)
    store = UnlabeledFolder(root=str(tmp_path)).open()

    assert (POOL, {}) == (store.pool.ids(), store.labels("pool"))
    assert {path: n // 2 for n, path in enumerate(TEST)} == store.labels("test")
    assert {"pool": (0, 0), "test": (2, 2)} == store.card.class_counts
    assert not store.card.labeled and "no image of the pool is" not in caplog.text


def test_classes_that_no_test_image_has(tmp_path: Path) -> None:
    """People could not give the label of a rare class."""
    plant(tmp_path, *POOL, *TEST)
    store = UnlabeledFolder(root=str(tmp_path), classes=("owl", "dog", "cat")).open()

    assert ("owl", "dog", "cat") == store.card.classes
    assert {"pool": (0, 0, 0), "test": (0, 2, 2)} == store.card.class_counts


def test_some_labels_are_no_unlabeled_pool() -> None:
    """A mistake in a table would make half of a pool unlabeled."""
    images = np.zeros((2, 1, 4, 4), np.uint8)
    test = Units(["c"], [0], images)
    source = Source("x", Units(["a", "b"], [0, None], images), test, "", "")

    with pytest.raises(DataError, match="pool row 1 .* label None is not a class index"):
        source.check()
    with pytest.raises(DataError, match="label None is not a class index"):
        Source("x", test, Units(["a"], [None], images), "", "").check()


def test_people_label_it(tiny: Any, tmp_path: Path) -> None:
    """A simulation has nothing to answer with; people have."""
    plant(tmp_path, *POOL, *TEST)
    x = tiny(
        dataset={"name": "unlabeled_folder", "root": str(tmp_path)},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 4},
        budget={"initial": 4, "per_cycle": 4, "total": 8},
    )
    with pytest.raises(UsageError, match="the pool of unlabeled_folder has no labels; ask people"):
        rayal.run(x, tmp_path / "run")
    with rayal.ActiveLearner(x, tmp_path / "learner") as learner:
        for _ in range(2):
            learner.tell(dict.fromkeys(learner.ask(4), "dog"))
        assert learner.learn() and [4, 8] == [*learner.curve()["labels"]]
