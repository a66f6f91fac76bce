"""Buying one unit at a time against the prefix rule of all other strategies."""

from collections.abc import Iterator

import numpy as np
import pytest

from rayal.selection.candidates import Candidates, spend
from rayal.selection.greedy import buy, tie_order
from rayal.storage.ids import Ids
from tests.support.doubles import priced


@pytest.mark.parametrize("budget", [0.0, 1.0, 2.5, 7.3, 1e9])
def test_buys_what_spend_buys(budget):
    """The same budget would buy more or less with a greedy strategy."""
    costs = np.random.default_rng(0).random(30) * 0.7
    order = np.random.default_rng(1).permutation(30)

    for overshoot in (False, True):
        ids = Ids([f"unit-{i:02d}" for i in range(30)])
        pool = Candidates(ids, None, priced(ids, costs), overshoot=overshoot)

        assert buy(pool, iter(order), budget).tolist() == spend(pool, order, budget).tolist()


def test_asks_for_no_pick_beyond_the_first_that_it_cannot_buy():
    """Each pick costs a search; the whole pool would be sorted for a budget of ten."""
    asked = []

    def picks() -> Iterator[int]:
        for pick in range(100):
            asked.append(pick)
            yield pick

    pool = Candidates(Ids([f"unit-{i:02d}" for i in range(100)]), None)

    assert buy(pool, picks(), 3).tolist() == [0, 1, 2]
    assert asked == [0, 1, 2, 3]


def test_tie_order_is_of_ids_and_seed():
    """Ties would be broken by the order of the shards, or the same way for every seed."""
    ids = Ids([f"unit-{i}" for i in range(50)])
    back = np.arange(50)[::-1]

    def ordered(named: np.ndarray, seed: int) -> list[str]:
        pool = Candidates(named, None)
        return list(named[tie_order(pool, np.random.default_rng(seed))])

    assert ordered(ids, 0) == ordered(ids[back], 0)
    assert ordered(ids, 0) != ordered(ids, 1)
    assert sorted(ordered(ids, 0)) == sorted(ids)
