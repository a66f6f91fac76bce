"""Images whose masks people draw: no mask is looked for in the pool."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayal
from rayal.data.datasets.unlabeled_scenes import UnlabeledScenes
from rayal.errors import DataError
from tests.data.datasets.test_mask_folder import CLASSES, plant
from tests.support import originals

HEAP = [f"{n}.jpg" for n in range(6)]


def test_a_heap_of_images(tmp_path: Path) -> None:
    """Who has no mask yet could not begin."""
    originals.plant(tmp_path, HEAP)
    store = UnlabeledScenes(root=str(tmp_path), pool=(".",), test=(), classes=CLASSES).open()
    card = store.card

    assert (HEAP, [], {}, {}) == (
        store.pool.ids(),
        store.test.ids(),
        store.labels("pool"),
        store.labels("test"),
    )
    assert not card.labeled and not card.tested
    assert card.masks is not None and () == card.class_counts["pool"]


def test_test_images_are_no_candidates(tmp_path: Path) -> None:
    """A model would be judged on what it is trained on, and masks be labeled as images."""
    plant(tmp_path)
    originals.plant(tmp_path, HEAP)
    dataset = UnlabeledScenes(root=str(tmp_path), pool=(".",), classes=CLASSES)
    store = dataset.open()

    assert [path for path in store.pool.ids() if path.startswith("test")] == []
    assert {*HEAP, "train/images/a.jpg", "train/masks/a.png"} < {*store.pool.ids()}
    assert ["test/images/a.jpg"] == store.test.ids() == [*store.labels("test")]
    assert 0 < sum(store.card.class_counts["test"])


def test_nothing_to_label(tmp_path: Path) -> None:
    """An empty folder would be a run of nothing."""
    plant(tmp_path)
    (tmp_path / "pool").mkdir()
    with pytest.raises(DataError, match="hold no images to label; correct dataset.root or"):
        UnlabeledScenes(root=str(tmp_path), classes=CLASSES).open()
    originals.plant(tmp_path, ["pool/a.jpg"])
    (tmp_path / "none/images").mkdir(parents=True)
    (tmp_path / "none/masks").mkdir()
    with pytest.raises(DataError, match=r"'none' hold no test images; add some, or set"):
        UnlabeledScenes(root=str(tmp_path), classes=CLASSES, test=("none",)).open()
    assert 1 == UnlabeledScenes(root=str(tmp_path), classes=CLASSES, test=()).open().card.pool


@pytest.mark.parametrize("tested", [True, False])
def test_people_draw(tested: bool, tiny: Any, tmp_path: Path) -> None:
    """Masks that were drawn would not be learned."""
    plant(tmp_path)
    originals.plant(tmp_path, [f"pool/{name}" for name in HEAP])
    x = tiny(
        dataset={
            "name": "unlabeled_scenes",
            "root": str(tmp_path),
            "classes": CLASSES,
            **({} if tested else {"test": ()}),
        },
        task="segmentation",
        model={"name": "small_segmenter"},
        scheme={"steps": 2, "batch_size": 2},
        strategy="margin",
    )
    rng = np.random.default_rng(0)
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        for _ in range(2):
            learner.tell({u: rng.integers(0, 3, (20, 24)) for u in learner.ask(2)})
        metrics = learner.learn()
    expected = ["miou", "accuracy", "nll"] if tested else ["new_miou", "fit_miou"]

    assert expected == [*metrics]
    assert all(0 <= metrics[name] for name in expected)


def test_nothing_was_drawn(tiny: Any, tmp_path: Path) -> None:
    """Images in which people found nothing would end the run when it looks back at them."""
    originals.plant(tmp_path, HEAP)
    dataset = {"name": "unlabeled_scenes", "root": str(tmp_path), "pool": (".",), "test": ()}
    x = tiny(
        dataset={**dataset, "classes": CLASSES},
        task="segmentation",
        model={"name": "small_segmenter"},
        scheme={"steps": 2, "batch_size": 2},
        strategy="margin",
    )
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        learner.tell({unit: np.full((20, 24), 1) for unit in learner.ask(2)})
        learner.tell({unit: np.full((20, 24), 255) for unit in learner.ask(2)})
        assert ["fit_miou"] == [*learner.learn()]
