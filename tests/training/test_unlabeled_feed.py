"""Unlabeled batches: every image in turn, the same for any number of workers and any memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rayal.cycle import train
from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.training.augment import Augment, normalise
from rayal.training.base import Unlabeled
from rayal.training.feed import UnlabeledFeed, Views
from rayal.training.images import Resident, Streaming, open_images

SPEC = ImageSpec(channels=1, height=1, width=1, mean=(0.0,), std=(1 / 255,))
"""Normalised, an image of this kind is its own pixel."""


class Numbers:
    """Images of one pixel: their place in the list."""

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield part.to(torch.uint8)[:, None, None, None]


def feed(
    count: int, size: int, *, fixed: bool = False, cycle: int = 3, rank: int = 0, workers: int = 1
) -> UnlabeledFeed:
    return UnlabeledFeed(
        Numbers(),
        count,
        Unlabeled(size, fixed),
        Augment(),
        SPEC,
        key=(7, cycle),
        rank=rank,
        workers=workers,
    )


def places(one: UnlabeledFeed, steps: range) -> list[list[int]]:
    return [batch.flatten().round().int().tolist() for batch in plain(one, steps)]


def plain(one: UnlabeledFeed, steps: range) -> list[Tensor]:
    """The first view of each step."""
    found = [views.plain for views in one.views(steps)]
    return [batch for batch in found if batch is not None]


@given(count=st.integers(1, 40), size=st.integers(1, 100), passes=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_every_image_once_before_any_twice(count: int, size: int, passes: int) -> None:
    """Some images of the pool would be seen more often than others, or never; a pool that is
    smaller than a batch would end the training."""
    steps = -(-count * passes // size)
    batches = places(feed(count, size), range(steps))
    row = [place for batch in batches for place in batch]

    assert {size} == {len(batch) for batch in batches}
    for start in range(0, count * passes, count):
        assert list(range(count)) == sorted(row[start : start + count])


def test_every_pass_has_an_order_of_its_own() -> None:
    """The same unlabeled images would meet in every pass, in every cycle."""
    first, second = places(feed(30, 30), range(2))
    (other_cycle,) = places(feed(30, 30, cycle=4), range(1))

    assert first != second
    assert first != other_cycle
    assert list(range(30)) not in (first, second, other_cycle)


def test_a_step_depends_on_its_number_alone() -> None:
    """A training that continues from a checkpoint would see other unlabeled images."""
    straight = places(feed(30, 8), range(20))

    assert straight[13:] == places(feed(30, 8), range(13, 20))
    again = feed(30, 8)
    assert straight[5:9] == places(again, range(5, 9))
    assert straight[0:3] == places(again, range(3))


@pytest.mark.parametrize(("count", "size"), [(30, 8), (3, 8), (30, 12)])
def test_fixed_is_the_first_batch_for_ever(count: int, size: int) -> None:
    """TOD's first cycle would not be the official one: all its steps see the same images."""
    steps = places(feed(count, size, fixed=True), range(10))

    assert [places(feed(count, size), range(1))[0]] * 10 == steps


PLAIN = Augment(flip=True, crop=2, cutout=3)
STRONG = Augment(crop=2, padding="reflect", policy="uda", cutout=3)


def augmented(
    store: Store,
    memory: int,
    rank: int = 0,
    workers: int = 1,
    strong: Augment | None = STRONG,
    steps: range = range(7),
) -> list[Views]:
    """Batches of 16 of 50 digits, under all the augmentation that digits can take."""
    ids, spec = store.pool.ids()[:50], store.card.image
    images = open_images(store.pool, ids, spec, torch.device("cpu"), memory)
    assert type(images) is (Resident if memory else Streaming)
    shown = UnlabeledFeed(
        images,
        len(ids),
        Unlabeled(16, strong=strong),
        PLAIN,
        spec,
        key=(0, 1),
        rank=rank,
        workers=workers,
    )
    return list(shown.views(steps))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Digits(store=str(tmp_path_factory.mktemp("stores"))).open()


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("memory", [2**20, 0])
def test_workers_and_memory_change_nothing(store: Store, workers: int, memory: int) -> None:
    """The same seed would give other weights on another machine."""
    shared = [augmented(store, memory, rank, workers) for rank in range(workers)]

    for alone, parts in zip(augmented(store, 2**20), zip(*shared, strict=True), strict=True):
        for whole, *shares in zip(alone, *parts, strict=True):
            assert {16 // workers} == {len(share) for share in shares}
            assert torch.equal(whole, torch.cat(shares))


def test_a_strong_view_is_of_the_same_images_with_draws_of_its_own(store: Store) -> None:
    """A model would be told to say of one image what it says of another; or both views would be
    cropped alike."""
    ids, spec = store.pool.ids()[:50], store.card.image
    own = torch.from_numpy(store.pool.decode(store.pool.take(ids)).images)
    untouched = normalise(own, spec).flatten(1).tolist()
    for name, strong in (("none", Augment()), ("as the other", PLAIN)):
        for views in augmented(store, 2**20, strong=strong):
            assert views.plain is not None and views.strong is not None
            assert not torch.equal(views.plain, views.strong), name
    seen = UnlabeledFeed(
        open_images(store.pool, ids, spec, torch.device("cpu"), 2**20),
        *(50, Unlabeled(50, strong=Augment(flip=True)), Augment(), spec),
        key=(0, 1),
    )
    for plain_view, strong_view in seen.views(range(2)):
        assert plain_view is not None and strong_view is not None
        assert sorted(untouched) == sorted(plain_view.flatten(1).tolist())
        flipped = (plain_view != strong_view).flatten(1).any(dim=1)
        mirrored = torch.where(flipped[:, None, None, None], plain_view.flip(3), plain_view)
        assert torch.equal(mirrored, strong_view)
        assert 10 < flipped.sum() < 40


def test_a_strong_view_depends_on_its_step_and_changes_no_other(store: Store) -> None:
    """A training that goes on from a checkpoint would see other views; or asking for a second one
    would change the first."""
    straight, again = augmented(store, 2**20), augmented(store, 0, steps=range(4, 7))
    for whole, part in zip(straight[4:], again, strict=True):
        assert whole.strong is not None and part.strong is not None
        assert torch.equal(whole.strong, part.strong)
    for views, alone in zip(straight, augmented(store, 2**20, strong=None), strict=True):
        assert views.plain is not None and alone.plain is not None
        assert torch.equal(views.plain, alone.plain)
        assert alone.strong is None


def test_images_are_normalised_and_augmented_anew(store: Store) -> None:
    """The model would see unlabeled images on another scale than labeled ones, or each always
    augmented in the same way."""
    ids, spec = store.pool.ids()[:16], store.card.image
    images = open_images(store.pool, ids, spec, torch.device("cpu"), 2**20)
    own = torch.from_numpy(store.pool.decode(store.pool.take(ids)).images)

    def batches(augment: Augment, *, fixed: bool) -> list[Tensor]:
        wanted = Unlabeled(16, fixed)
        return plain(UnlabeledFeed(images, 16, wanted, augment, spec, key=(0,)), range(3))

    for batch in batches(Augment(), fixed=False):
        expected = normalise(own, spec).flatten(1).tolist()
        assert sorted(expected) == sorted(batch.flatten(1).tolist())
    first, second, _ = batches(Augment(crop=2), fixed=True)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("labeled_too", [False, True])
def test_a_training_sees_neither_labeled_nor_undecodable_images(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labeled_too: bool
) -> None:
    """Labeled images would be pulled as unlabeled ones, unless asked for; a broken image would end
    the run."""
    ids = store.pool.ids()
    labeled, bad = ids[3:43], ids[50:53]
    opened: list[list[str]] = []
    monkeypatch.setattr(
        train,
        "open_images",
        lambda split, ids, *rest: opened.append(list(ids)) or open_images(split, ids, *rest),
    )
    broken = store.card.model_copy(update={"bad": dict.fromkeys(bad, "broken")})
    monkeypatch.setattr(Store, "card", property(lambda _: broken))
    x = Experiment.model_validate(
        {
            "name": "test",
            "dataset": "digits",
            "model": {"name": "small_cnn", "width": 4},
            "scheme": {"name": "uda", "steps": 1, "batch_size": 8, "unlabeled_batch_size": 8}
            | {"labeled_too": labeled_too},
            "strategy": "random",
            "budget": {"initial": 40, "per_cycle": 1, "total": 40},
            "tracking": "none",
        }
    )
    answers = store.labels("pool")
    values = np.array([answers[unit] for unit in labeled], np.int64)
    train.train(TrainJob(x, 0, store.url, tuple(labeled), values, None, str(tmp_path)), Worker())

    left_out = {*bad, *(() if labeled_too else labeled)}
    assert [labeled, [unit for unit in ids if unit not in left_out]] == opened
