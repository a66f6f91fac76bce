"""Which labeled units judge a training."""

from collections import Counter

import pytest

from rayal.data.tasks.segmentation import Segmentation
from rayal.training.schemes.supervised import Supervised
from rayal.training.stopping_rule import StoppingRule

IDS = [f"unit-{number:03d}" for number in range(200)]
CLASSES = [number % 4 for number in range(200)]
BOUGHT = [-1] * 80 + [0] * 60 + [1] * 60


def held(share: float = 0.2, count: int = 200, seed: int = 0, least: int = 2) -> frozenset[str]:
    stopping = StoppingRule(share=share)
    return stopping.held_out(IDS[:count], CLASSES[:count], BOUGHT[:count], seed, least)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_a_share_of_every_class_and_purchase(share: float) -> None:
    """A training would be judged by some classes, or by old labels alone."""
    units = held(share)
    purchases = Counter(BOUGHT[IDS.index(unit)] for unit in units)
    classes = Counter(CLASSES[IDS.index(unit)] for unit in units)

    assert round(200 * share) == len(units)
    for purchase, size in Counter(BOUGHT).items():
        assert abs(purchases[purchase] - share * size) <= 1
    for each in range(4):  # at most one too many or too few of each of three purchases
        assert abs(classes[each] - share * 50) <= 3


def test_what_was_trained_on_is_never_held_out_later() -> None:
    """A warm start would be judged by labels that its weights have seen."""
    for before, after in ((80, 140), (140, 200)):
        assert held(count=before) == held(count=after) & {*IDS[:before]}


def test_the_order_of_the_pool_says_nothing() -> None:
    """The same labels in another store would be divided otherwise."""
    stopping = StoppingRule()
    backwards = stopping.held_out(IDS[::-1], CLASSES[::-1], BOUGHT[::-1], seed=0, least=2)

    assert held() == backwards
    assert held() != held(seed=1)


def test_too_few_labels_are_not_divided() -> None:
    """One unit would decide when a training ends, or none would be left to train on."""
    assert frozenset() == held(count=4)
    assert frozenset() == held(share=0.9, count=10, least=2)
    assert 9 == len(held(share=0.9, count=10, least=1))


def test_masks_are_refused() -> None:
    """A training would end by a loss that nobody has defined."""
    scheme = Supervised(early_stopping=StoppingRule())
    key, problem = next(iter(scheme.contradictions(Segmentation(), "cold", 1)))

    assert ("scheme", "early_stopping") == key
    assert problem.endswith("set it to null")
    assert not list(Supervised().contradictions(Segmentation(), "cold", 1))
