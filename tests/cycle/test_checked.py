"""What strategies select themselves, and what is refused; also in test_loop.py."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from rayal.cycle.checked import chosen
from rayal.errors import DataError, UsageError
from rayal.labeling.clicks import Region
from rayal.selection.candidates import Candidates
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy
from rayal.strategies.random import Random
from rayal.strategies.random_polygon import RandomPolygon
from tests.support.doubles import priced

SQUARE = np.array([(0, 0), (4, 0), (4, 4), (0, 4)])
OFFER = {
    "a": {0: Region(SQUARE, 0, 4, (8, 8)), 2: Region(SQUARE, 1, 3, (8, 8))},
    "b": {0: Region(SQUARE, 0, 5, (8, 8))},
    "c": {},
    "labeled": {0: Region(SQUARE, 0, 1, (8, 8))},
}
CLICKS = {f"{i}/{n}": region.clicks for i, of in OFFER.items() for n, region in of.items()}
COSTS = {"a": 4, "b": 5, "c": 0}
POOL = Candidates(
    Ids(["a", "b", "c"]),
    None,
    priced([*CLICKS, *COSTS], [*CLICKS.values(), *COSTS.values()]),
    regions=OFFER.__getitem__,
)


def select(
    units: Any,
    budget: float = 10,
    overshoot: bool = False,
    strategy: Strategy | None = None,
) -> tuple[list[str], float]:
    """What is left of the choice of these regions, or of images by another strategy."""
    pool, rng = replace(POOL, overshoot=overshoot), np.random.default_rng(0)
    return chosen(strategy or RandomPolygon(), lambda *_: units, "mine", pool, budget, rng)


def test_regions_cost_their_clicks():
    """A strategy that adds up wrongly would bend the cost axis of every curve."""
    assert (["a/2", "b/0"], 8.0) == select(["a/2", "b/0"])
    assert (["a/2", "b/0"], 8.0) == select(Ids(["a/2", "b/0"]))
    assert ([], 0.0) == select([], budget=4)


def test_images_cost_their_price():
    """The same of strategies that choose images."""
    assert (["b", "a"], 9.0) == select(["b", "a"], strategy=Random())


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        (["a/0", "b/0", "a/0"], "strategy 'mine' selected a unit twice"),
        (["a/1"], "selected 'a/1', which is not on offer"),  # bought before
        (["a"], "selected 'a', which is not on offer"),
        (["labeled/0"], "selected 'labeled/0', which is not on offer"),
        (["d/0"], "selected 'd/0', which is not on offer"),
        (["a/0", "b/0", "a/2"], "spent 12 of 10"),
        (7, "strategy 'mine' raised TypeError in select: 'int' object is not iterable"),
        ([["a/0"], 4.0], r"strategy 'mine' selected \['a/0'\]: select returns units"),
    ],
)
def test_nonsense_is_refused(units, problem):
    """A user's own strategy would spend the budget on it, or end in a bare KeyError."""
    with pytest.raises(DataError, match=problem):
        select(units)
    assert (["a/2", "b/0"], 8.0) == select(["a/2", "b/0"])


def test_too_little_is_refused():
    """It would pass for the end of the pool, and the run would end."""
    for strategy, units in ((Random(), ["a"]), (RandomPolygon(), ["a/0"])):
        with pytest.raises(DataError, match="selected 1 unit, the budget buys 3 or more"):
            select(units, budget=20, strategy=strategy)

    assert (["a/0", "a/2", "b/0"], 12.0) == select(["a/0", "a/2", "b/0"], budget=1000)
    assert (["a"], 4.0) == select(["a"], budget=20, strategy=Random(replace=True))
    with pytest.raises(DataError, match="selected 0 units, the budget buys 1 or more"):
        select([], budget=20, strategy=Random(replace=True))


def test_a_region_is_on_offer_only_where_regions_are_chosen():
    """An image would be labeled in part, by a strategy that knows nothing of regions."""
    with pytest.raises(DataError, match="selected 'a/0', which is not on offer"):
        select(["b", "a/0"], strategy=Random())


@pytest.mark.parametrize(
    ("budget", "overshoot", "good"),
    [(9, False, True), (8, False, False), (8, True, True), (5, True, True), (4, True, False)],
)
def test_nothing_is_bought_once_the_budget_is_spent(budget, overshoot, good):
    """Of costs 4 and 5, the second is bought with the budget used up: one image too many."""
    for select_any in (
        partial(select, ["a", "b", "c"], budget, overshoot, Random()),
        partial(select, ["a/0", "b/0"], budget, overshoot),
    ):
        if good:
            assert 2 <= len(select_any())
        else:
            with pytest.raises(DataError, match=f"spent 9 of {budget}"):
                select_any()


def test_an_image_that_is_called_like_a_region_is_refused():
    """The region's clicks would be paid and the whole other image be answered."""
    strategy = RandomPolygon()
    strategy.check(["street", "street/00", "street/a", "0", "/0"])

    with pytest.raises(UsageError, match="'street/0' has the name of region 0 of image 'street'"):
        strategy.check(["street/0", "street"])
    strategy.check(["street/zero", "street"])
