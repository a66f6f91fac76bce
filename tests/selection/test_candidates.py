"""Selection is exact and deterministic: against sorting, a heap, and any order of arrival."""

import heapq
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rayal.selection.candidates import Candidates, ranking, spend, take_highest
from rayal.storage.ids import Ids
from tests.support.doubles import priced


def pool(scores, costs=None) -> Candidates:
    ids = Ids([f"unit-{i}" for i in range(len(scores))])
    costs = np.ones(len(scores)) if costs is None else costs
    return Candidates(ids, np.asarray(scores, float), priced(ids, costs))


def test_takes_the_highest_first():
    """The direction of every strategy."""
    picks = take_highest(pool([0.1, 0.9, 0.5, 0.7]), 3, np.random.default_rng(0))

    assert picks.tolist() == [1, 3, 2]


def test_spend_takes_a_prefix_within_the_budget():
    """A unit that does not fit ends the purchase: skipping it would buy cheap units instead."""
    order, units = np.array([2, 0, 1]), pool([0, 0, 0], [3.0, 1.0, 4.0])

    assert spend(units, order, 7).tolist() == [2, 0]
    assert spend(units, order, 7.5).tolist() == [2, 0]
    assert spend(units, order, 8).tolist() == [2, 0, 1]
    assert spend(units, order, 3.9).tolist() == []


def test_overshooting_buys_the_unit_that_exceeds():
    """Whoever wants the budget used up would get less than it."""
    order, units = np.array([2, 0, 1]), replace(pool([0, 0, 0], [3.0, 1.0, 4.0]), overshoot=True)

    assert spend(units, order, 0).tolist() == []
    assert spend(units, order, 3.9).tolist() == [2]
    assert spend(units, order, 4).tolist() == [2]
    assert spend(units, order, 4.1).tolist() == [2, 0]
    assert spend(units, order, 99).tolist() == [2, 0, 1]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(0, 70))
def test_agrees_with_a_heap(scores, k):
    """The scores taken would not be the largest ones."""
    picks = take_highest(pool(scores), k, np.random.default_rng(0))

    assert [scores[i] for i in picks] == heapq.nlargest(k, scores)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_ties_do_not_depend_on_the_order_of_arrival(scores, random):
    """Another division of the pool would choose other units among equals."""
    units = pool(scores)
    order = list(range(len(scores)))
    random.shuffle(order)
    shuffled = Candidates(units.ids[order], units.scores[order])
    ranked, again = (ranking(p.ids, p.scores, np.random.default_rng(5)) for p in (units, shuffled))

    assert list(units.ids[ranked]) == list(shuffled.ids[again])


def test_ties_are_broken_uniformly():
    """A tie-break that favours early ids is a bias of its own (methods, Sec. 10)."""
    counts = np.zeros(20)
    for seed in range(600):
        counts[take_highest(pool(np.zeros(20)), 5, np.random.default_rng(seed))] += 1

    assert abs(counts - 150).max() < 50  # 5 standard deviations are 53


def test_costs_are_asked_for_once_and_only_where_they_are_read():
    """Every mask of the pool would be read for a strategy that buys a few regions."""
    asked = []

    def price(units: Ids) -> np.ndarray:
        asked.append(list(units))
        return np.full(len(units), 2.0)

    units = Candidates(Ids(["b", "a"]), None, price)

    assert units.ids and [] == asked
    assert [2.0, 2.0] == units.costs.tolist() == units.costs.tolist()
    assert [["b", "a"]] == asked


@given(st.permutations(range(6)), st.integers(0, 6))
def test_places_of_units(order, count):
    """A choice would be shown with the scores of others."""
    units, chosen = pool(np.arange(6) / 8), [f"unit-{i}" for i in order[:count]]

    assert order[:count] == units.places(chosen).tolist()
    assert [i / 8 for i in order[:count]] == units.scores_of(chosen)
    assert units.scores_of([*chosen, "unit-0/3"]) is None is units.places([*chosen, "unit-0/3"])
    assert Candidates(units.ids, None).scores_of(chosen) is None
