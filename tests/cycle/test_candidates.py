"""Which images are candidates: what guards leave out of a pool with images that are there twice."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.cycle.candidates import candidates, left_out, of_test
from rayal.cycle.first_choice import first_tasks
from rayal.cycle.first_units import first_units
from rayal.data.card import CARD
from rayal.data.copies import COPIES
from rayal.data.store import Store
from rayal.errors import DataError, LabelsPending, UsageError
from rayal.experiment.experiment import Experiment
from rayal.parts import build
from rayal.storage.folder import Folder
from tests.support.whole_runs import go

POOL, TEST = 24, 6
A, B, C = (f"train/{name}" for name in ("a/00.png", "a/04.png", "b/01.png"))
SAME = {"train/a/06.png": A, "train/b/07.png": A, "train/b/09.png": C}
"""Images of the pool -> the one whose content they have."""
TESTED = {"test/a/00.png": A, "test/b/01.png": B}
"""Test images -> the image of the pool whose content they have."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes, each with pixels of its own, but for SAME and TESTED."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    names = [f"train/{'ab'[n % 2]}/{n:02d}.png" for n in range(POOL)]
    names = [name for name in names if name not in SAME] + [*SAME]
    names += [f"test/{'ab'[n % 2]}/{n:02d}.png" for n in range(TEST)]
    made: dict[str, bytes] = {}
    for name in [A, B, C, *names]:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "PNG")
        made.setdefault(name, buffer.getvalue())
    for name, data in made.items():
        first = (SAME | TESTED).get(name, name)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(made.get(first, data))
    return root


@pytest.fixture
def guarded(tiny: Callable[..., Any], folder: Path) -> Callable[..., Experiment]:
    def build(**guards: Any) -> Experiment:
        return tiny(
            dataset={"name": "image_folder", "root": str(folder), "test": "test"},
            model={"name": "small_cnn", "width": 4},
            scheme={"name": "supervised", "epochs": 1, "batch_size": 4},
            strategy="random",
            budget={"initial": 4, "per_cycle": 4, "total": 16},
            guards=guards,
        )

    return build


def test_all_are_candidates_unless_it_is_said(guarded: Callable[..., Experiment]) -> None:
    """Runs that were there before guards would choose other units."""
    x = guarded()

    assert x.dataset.open().pool.ids() == candidates(x, x.dataset.open(), (), 0)


def test_test_images_are_left_out(guarded: Callable[..., Experiment]) -> None:
    """Money would be spent on an image that judges; all that have its content do."""
    x = guarded(test_images="leave_out")
    store = x.dataset.open()
    known = {A, B, "train/a/06.png", "train/b/07.png"}

    assert known == left_out(x, store) == of_test(x, store)
    assert not known & {*candidates(x, store, (), 0)}


def test_one_of_each_content_is_bought(guarded: Callable[..., Experiment]) -> None:
    """An image whose copy is labeled costs money for nothing; with no copy left none is asked."""
    x = guarded(same_images="leave_out")
    store = x.dataset.open()

    assert {*SAME} == left_out(x, store)
    assert {A, "train/b/07.png", "train/b/09.png"} == left_out(x, store, {"train/a/06.png"})
    assert {"train/b/07.png", "train/b/09.png"} == left_out(x, store, {A, "train/a/06.png"})
    assert frozenset() == of_test(x, store)


def test_both(guarded: Callable[..., Experiment]) -> None:
    """What the test has is never bought, not even the first of it."""
    x = guarded(test_images="leave_out", same_images="leave_out")

    assert {A, B, *SAME} == left_out(x, x.dataset.open())


def test_a_run_never_buys_what_is_left_out(
    guarded: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The first units are drawn before any candidate is, and the last of the pool come at the end:
    of 24 images, 4 are test images and one is there again."""
    x = guarded(test_images="leave_out", same_images="leave_out")
    pool = go(x.model_copy(update={"budget": x.budget.model_copy(update={"total": 19})}), tmp_path)

    assert 19 == len(pool.labels)
    assert not {A, B, *SAME} & pool.labels.keys()
    assert not {A, B, *SAME} & {*first_units(x, x.dataset.open(), 100)}
    chosen = x.model_copy(update={"first": build("strategies", "core_set")})
    asked = [unit for task in first_tasks(chosen, x.dataset.open()) for unit in task.ids or ()]
    assert 19 == len(asked) and not {A, B, *SAME} & {*asked}


def test_more_than_guards_leave_is_refused(
    guarded: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A run would end early, in its last cycle; the number in the message works."""
    x = guarded(test_images="leave_out", same_images="leave_out")
    twenty = x.model_copy(update={"budget": x.budget.model_copy(update={"total": 20})})

    with pytest.raises(UsageError, match="20 is more than the 19 images of the pool that guards"):
        go(twenty, tmp_path)
    go(x.model_copy(update={"budget": x.budget.model_copy(update={"total": 19})}), tmp_path)


def test_whoever_asks_again_may_buy_more_than_guards_leave(
    guarded: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Second opinions would be refused for the sake of images that are left out."""
    x = guarded(test_images="leave_out", same_images="leave_out")
    budget = x.budget.model_copy(update={"total": 40})
    parts = {"strategy": build("strategies", "active_lab"), "oracle": build("oracles", "people")}
    with pytest.raises(LabelsPending, match="waiting for 4 labels"):
        go(x.model_copy(update={"budget": budget, **parts}), tmp_path)


def test_a_store_of_an_older_rayal_is_prepared_anew(
    guarded: Callable[..., Experiment], tmp_path: Path
) -> None:
    """It counted copies and did not say which they are: images would be kept that are not to be;
    without guards it is used as before, and where it has counted none nothing is missing."""
    x = guarded(test_images="leave_out")
    x = x.model_copy(
        update={"dataset": x.dataset.model_copy(update={"store": str(tmp_path / "stores")})}
    )
    store = x.dataset.open()
    _forget(store)

    old = Store(store.url)
    with pytest.raises(UsageError, match=f"delete the folder {store.url} and start again"):
        left_out(x, old)
    assert POOL == len(candidates(guarded(), old, (), 0))
    _forget(store, counted=False)
    assert frozenset() == left_out(x, Store(store.url))
    shutil.rmtree(store.url)
    assert 4 == len(left_out(x, x.dataset.open()))


def test_images_that_nobody_has_looked_at(
    guarded: Callable[..., Experiment], tmp_path: Path
) -> None:
    """With dataset.verify: false nothing is decoded: no copy would be found and none left out."""
    x = guarded(same_images="leave_out")
    dataset = x.dataset.model_copy(update={"store": str(tmp_path)})
    store = dataset.open()
    _forget(store)
    card = Store(store.url).card.model_dump(mode="json")
    Folder(store.url).write_sealed(CARD, {**card, "sizes": {}})

    with pytest.raises(UsageError, match="set dataset.verify: true, or guards to keep"):
        left_out(x, Store(store.url))
    assert frozenset() == left_out(guarded(same_images="keep"), Store(store.url))


def _forget(store: Store, counted: bool = True) -> None:
    """As an older rayal left it."""
    folder = Folder(store.url)
    card = store.card.model_dump(mode="json")
    card["files"] = {name: each for name, each in card["files"].items() if name != COPIES}
    card["duplicates"] = card["duplicates"] if counted else {"pool": 0, "across": 0}
    folder.write_sealed(CARD, card)


def test_damage_is_named(guarded: Callable[..., Experiment], tmp_path: Path) -> None:
    """Other images would be left out; the file has no other use."""
    x = guarded(same_images="leave_out")
    dataset = x.dataset.model_copy(update={"store": str(tmp_path)})
    store = dataset.open()
    Folder(store.url).write(COPIES, b"")

    with pytest.raises(DataError, match="copies.parquet is damaged.*prepared anew"):
        left_out(x, store)
    assert len(pq.read_table(f"{store.url}/labels.parquet")) == POOL
