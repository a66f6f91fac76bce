"""A folder of images that nobody has labeled: the pool has ids and images, and no labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
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
    with pytest.raises(UsageError, match="unlabeled_folder has no labels; set oracle to people"):
        rayal.run(x, tmp_path / "run")
    with rayal.ActiveLearner(x, tmp_path / "learner") as learner:
        for _ in range(2):
            learner.tell(dict.fromkeys(learner.ask(4), "dog"))
        assert learner.learn() and [4, 8] == [*learner.curve()["labels"]]


HEAP = [f"{n}.png" for n in range(8)]


def test_a_folder_as_it_is(tmp_path: Path) -> None:
    """Photographs would have to be moved before anybody can begin."""
    plant(tmp_path, *HEAP)
    for pool in (".", None):
        store = UnlabeledFolder(root=str(tmp_path), pool=pool, test=None, classes=("a", "b")).open()

        assert (HEAP, [], {}) == (store.pool.ids(), store.test.ids(), store.labels("test"))
        assert not store.card.labeled and not store.card.tested
        assert {"pool": (0, 0), "test": (0, 0)} == store.card.class_counts


def test_test_images_are_no_candidates(tmp_path: Path) -> None:
    """A model would be judged on what it is trained on."""
    plant(tmp_path, *HEAP, *TEST)
    store = UnlabeledFolder(root=str(tmp_path), pool=".").open()

    assert (HEAP, TEST) == (store.pool.ids(), store.test.ids())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_test_images_by_a_table(suffix: str, tmp_path: Path) -> None:
    """Whoever labeled some in place would have to sort them into folders."""
    plant(tmp_path, *HEAP)
    rows = {"path": ["./3.png", "1.png"], "label": ["dog", "cat"]}
    if suffix == "parquet":
        pq.write_table(pa.table(rows), tmp_path / "test.parquet")
    else:
        lines = [f"{path},{label}\n" for path, label in zip(*rows.values(), strict=True)]
        (tmp_path / "test.csv").write_text("".join(["path,label\n", *lines]))
    dataset = UnlabeledFolder(root=str(tmp_path), pool=".", test=f"test.{suffix}")
    store, before = dataset.open(), dataset.fingerprint()

    assert {"3.png": 1, "1.png": 0} == store.labels("test")
    assert [path for path in HEAP if path[0] not in "13"] == store.pool.ids()
    (tmp_path / f"test.{suffix}").unlink()
    plant(tmp_path, "9.png")
    (tmp_path / "test.csv").write_text("path,label\n1.png,dog\n")
    assert before != UnlabeledFolder(root=str(tmp_path), pool=".", test="test.csv").fingerprint()


def test_a_table_with_faults(tmp_path: Path) -> None:
    """Images that are not there would be left out in silence, classes be made up."""
    plant(tmp_path, *HEAP)
    (tmp_path / "test.csv").write_text(
        "path,label\n1.png,cat\n77.png,cat\n../2.png,dog\n3.png,owl\n"
    )
    options = {"root": str(tmp_path), "pool": ".", "test": "test.csv", "classes": ("cat", "dog")}
    with pytest.raises(DataError) as error:
        UnlabeledFolder(**options).open()
    told = str(error.value)

    assert "3 problems" in told
    assert "test.csv row 3 ('77.png'): no image '77.png' is below" in told
    assert "test.csv row 4 ('../2.png'): no image" in told
    assert "test.csv row 5 ('3.png'): class 'owl' is not in the list" in told
    (tmp_path / "test.csv").write_text("path,label\n1.png,cat\n2.png,dog\n")
    assert 2 == UnlabeledFolder(**options).open().card.test


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"test": None}, "nobody tells the classes; set classes"),
        ({"test": None, "classes": ()}, "nobody tells the classes; set classes"),
        ({"pool": "test/new"}, "lies in test 'test', whose folders are classes; move"),
    ],
)
def test_options_that_cannot_be(options: Any, told: str) -> None:
    """It would be told when all images are prepared."""
    with pytest.raises(UsageError, match=told):
        UnlabeledFolder(**options)
    UnlabeledFolder(test=None, classes=("a", "b"))


def test_folders_with_faults(tmp_path: Path) -> None:
    """A class that nobody listed would be another one; one class twice, two."""
    plant(tmp_path, *POOL, *TEST, "test/owl/1.png")
    with pytest.raises(DataError, match=r"\['owl'\] are not among the 2 classes; move them away"):
        UnlabeledFolder(root=str(tmp_path), classes=("cat", "dog")).open()
    with pytest.raises(DataError, match="classes: 'cat' twice; give each class a name of its own"):
        UnlabeledFolder(root=str(tmp_path), classes=("cat", "dog", "owl", "cat")).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images to label; correct dataset.root or"):
        UnlabeledFolder(root=str(tmp_path), pool="empty").open()
    assert 3 == len(UnlabeledFolder(root=str(tmp_path)).open().card.classes)


def test_an_image_of_the_pool_that_is_tested_on_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy under another name is told of."""
    plant(tmp_path, *POOL, *TEST)
    (tmp_path / "pool/copy.png").write_bytes((tmp_path / TEST[0]).read_bytes())
    UnlabeledFolder(root=str(tmp_path)).open()

    assert "also in the pool, byte for byte" in caplog.text
