"""Phases between epochs: all their images in each, beside labeled ones; nothing else changes."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rayal.data.card import ImageSpec
from rayal.training.augment import Augment
from rayal.training.base import Batch, Unlabeled
from rayal.training.feed import Feed, UnlabeledFeed
from rayal.training.schemes.supervised import Supervised

SPEC = ImageSpec(channels=1, height=1, width=1, mean=(0.0,), std=(1 / 255,))
"""Normalised, an image of this kind is its own pixel."""
PHASES = ("there", "back")


class Numbers:
    """Images of one pixel, or labels: their place in the list."""

    def __init__(self, *, labels: bool = False) -> None:
        self.labels = labels

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield part if self.labels else part.to(torch.uint8)[:, None, None, None]


def feed(
    count: int = 10,
    others: int = 30,
    size: int = 8,
    *,
    phases: tuple[str, ...] = PHASES,
    rank: int = 0,
    workers: int = 1,
    **length: Any,
) -> Feed:
    scheme = Supervised.model_validate({"batch_size": 4, "epochs": 3, "milestones": (), **length})
    shared: dict[str, Any] = {"key": (7, 3), "rank": rank, "workers": workers}
    wanted = Unlabeled(size, phases=phases)
    unlabeled = UnlabeledFeed(Numbers(), others, wanted, Augment(), SPEC, **shared)
    labels = Numbers(labels=True)
    return Feed(Numbers(), labels, count, scheme, SPEC, **shared, unlabeled=unlabeled)


def numbers(images: Tensor | None) -> list[int]:
    assert images is not None
    return images.flatten().round().int().tolist()


def of_phase(batches: list[Batch], phase: str) -> list[Batch]:
    return [batch for batch in batches if batch.phase == phase]


@given(others=st.integers(1, 40), size=st.integers(2, 50))
@settings(max_examples=50, deadline=None)
def test_every_phase_sees_every_image(others: int, size: int) -> None:
    """Images would be pulled together and never parted; a pool smaller than a batch would end the
    training."""
    made = feed(others=others, size=size)
    for epoch in (1, 2):
        batches = list(made.epoch(epoch))
        for phase in PHASES:
            seen = [numbers(batch.unlabeled) for batch in of_phase(batches, phase)]
            row = [place for batch in seen for place in batch]

            assert {size} == {len(batch) for batch in seen}
            assert list(range(others)) == sorted(row[:others])
            assert len(row) - others < size


def test_phases_come_in_turn_before_every_epoch_but_the_first() -> None:
    """A scheme's phases would be in another order, or steps of the schedule."""
    made = feed()  # three labeled batches an epoch, four of a phase
    found = [(batch.phase, batch.step, batch.steps) for e in range(3) for batch in made.epoch(e)]
    expected: list[Any] = [(None, step, 9) for step in (0, 1, 2)]
    for first in (3, 6):
        expected += [(phase, first, 9) for phase in PHASES for _ in range(4)]
        expected += [(None, step, 9) for step in range(first, first + 3)]

    assert expected == found
    assert (9, len(found)) == (made.steps, made.updates(made.epochs))
    assert {False, True} == {batch.unlabeled is None for batch in made.epoch(1)}
    assert all(batch.unlabeled is None for batch in made.epoch(1) if batch.phase is None)


def test_labeled_images_go_on_turning() -> None:
    """A phase longer than the labeled set would end early, or see the same images in one order."""
    made = feed(others=64)
    batches = of_phase(list(made.epoch(1)), "back")
    turns = [batches[:3], batches[3:6]]
    rows = [[n for batch in turn for n in numbers(batch.images)] for turn in turns]

    assert 8 == len(batches)
    assert rows[0] != rows[1]
    for row in rows:
        assert list(range(10)) == sorted(row)
    for batch in batches:
        assert numbers(batch.images) == batch.labels.tolist()


def test_the_labeled_pass_is_what_it_is_without_phases() -> None:
    """Schemes would not see the same labeled images, and could not be compared."""
    for epoch in range(3):
        plain = list(feed(phases=()).epoch(epoch))
        after = [batch for batch in feed().epoch(epoch) if batch.phase is None]

        assert [numbers(batch.images) for batch in plain] == [numbers(b.images) for b in after]
        assert [batch.step for batch in plain] == [batch.step for batch in after]


def test_an_epoch_depends_on_its_number_alone() -> None:
    """A training that continues from a checkpoint would see other images."""
    one, other = feed(), feed()
    list(one.epoch(1))
    first, second = list(one.epoch(2)), list(other.epoch(2))

    for mine, its in zip(first, second, strict=True):
        assert torch.equal(mine.images, its.images)
        assert mine.phase == its.phase and mine.step == its.step
        assert mine.phase is None or numbers(mine.unlabeled) == numbers(its.unlabeled)
    assert [numbers(b.unlabeled) for b in of_phase(first, "back")] != [
        numbers(b.unlabeled) for b in of_phase(list(one.epoch(1)), "back")
    ]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_batches_of_a_phase(workers: int) -> None:
    """Two workers would see other images than one, or one of them twice."""
    whole = (
        list(feed(count=12).epoch(1)) if workers == 2 else list(feed(12, batch_size=12).epoch(1))
    )
    size = {} if workers == 2 else {"batch_size": 12}
    parts = [list(feed(12, rank=r, workers=workers, **size).epoch(1)) for r in range(workers)]
    for batch, *shared in zip(whole, *parts, strict=True):
        images = [n for part in shared for n in numbers(part.images)]

        assert numbers(batch.images) == images
        if batch.phase is not None:
            assert numbers(batch.unlabeled) == [n for p in shared for n in numbers(p.unlabeled)]


def test_a_training_cut_by_its_steps_has_whole_phases() -> None:
    """The last, partial epoch of a training counted in steps would crash in a phase."""
    made = feed(epochs=None, steps=4)
    found = [batch.phase for epoch in range(made.epochs) for batch in made.epoch(epoch)]

    assert [None] * 3 + ["there"] * 4 + ["back"] * 4 + [None] == found
    assert len(found) == made.updates(made.epochs)


@pytest.mark.parametrize(
    ("limit", "images", "batches"), [(None, 100, 13), (40, 100, 5), (40, 7, 1), (1, 100, 1)]
)
def test_counts_by_hand(limit: int | None, images: int, batches: int) -> None:
    """A plan would promise another time than the run takes."""
    wanted = Unlabeled(8, limit=limit, phases=PHASES)

    assert batches == wanted.phase_batches(images)
    assert 2 * batches * 9 == wanted.extra_updates(images, 10)
    assert 0 == wanted.extra_updates(images, 1) == Unlabeled(8).extra_updates(images, 10)
