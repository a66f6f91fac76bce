"""What strategies select themselves, and what is refused; positions also in test_loop.py."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from rayal.cycle.checked import positions, regions
from rayal.cycle.offer import Market
from rayal.errors import DataError, UsageError
from rayal.labeling.clicks import Region
from rayal.selection.scored import Scored
from rayal.storage.ids import Ids
from rayal.strategies.random import Random
from rayal.strategies.random_polygon import RandomPolygon

SQUARE = np.array([(0, 0), (4, 0), (4, 4), (0, 4)])
OFFER = {
    "a": {0: Region(SQUARE, 0, 4, (8, 8)), 2: Region(SQUARE, 1, 3, (8, 8))},
    "b": {0: Region(SQUARE, 0, 5, (8, 8))},
    "c": {},
    "labeled": {0: Region(SQUARE, 0, 1, (8, 8))},
}
POOL = Scored(Ids(["a", "b", "c"]), None, np.ones(3), regions=OFFER.__getitem__)


@dataclass
class Offers:
    """A market of regions."""

    regions: Any = OFFER.__getitem__


class Picks(RandomPolygon):
    """Selects what it was told to."""

    units: Any = None

    def select_regions(self, pool: Scored, budget: float, rng: np.random.Generator) -> Any:
        return self.units


class Positions(Random):
    """Selects the positions it was told to."""

    units: tuple[int, ...] = ()

    def select(self, pool: Scored, budget: float, rng: np.random.Generator) -> Any:
        return np.array(self.units, int)


def select(units: Any, budget: float = 10, overshoot: bool = False) -> tuple[list[str], float]:
    pool = replace(POOL, overshoot=overshoot)
    rng = np.random.default_rng(0)
    return regions(Picks(units=units), "mine", pool, cast(Market, Offers()), budget, rng)


def test_regions_cost_their_clicks():
    """A strategy that adds up wrongly would bend the cost axis of every curve."""
    assert (["a/2", "b/0"], 8.0) == select(["a/2", "b/0"])
    assert ([], 0.0) == select([])


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        (["a/0", "b/0", "a/0"], "strategy 'mine' selected a region twice"),
        (["a/1"], "selected 'a/1', which is no region on offer"),  # bought before
        (["a"], "selected 'a', which is no region on offer"),
        (["labeled/0"], "selected 'labeled/0', which is no region on offer"),
        (["d/0"], "selected 'd/0', which is no region on offer"),
        (["a/0", "b/0", "a/2"], "spent 12 of 10"),
        (7, "strategy 'mine' raised TypeError in select: 'int' object is not iterable"),
        ([["a/0"], 4.0], r"strategy 'mine' selected \['a/0'\]: select_regions returns units"),
    ],
)
def test_nonsense_is_refused(units, problem):
    """A user's own strategy would spend the budget on it, or end in a bare KeyError."""
    with pytest.raises(DataError, match=problem):
        select(units)


@pytest.mark.parametrize(
    ("budget", "overshoot", "good"),
    [(9, False, True), (8, False, False), (8, True, True), (5, True, True), (4, True, False)],
)
def test_nothing_is_bought_once_the_budget_is_spent(budget, overshoot, good):
    """Of costs 4 and 5, the second is bought with the budget used up: one image too many."""
    pool = replace(POOL, costs=np.array([4.0, 5.0, 0.0]), overshoot=overshoot)
    rng, three = np.random.default_rng(0), Positions(units=(0, 1, 2))
    for select_any in (
        partial(positions, three.select, "mine", pool, budget, rng),
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
