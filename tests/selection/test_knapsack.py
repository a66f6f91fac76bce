"""The knapsack against trying every set, and the rule of all other strategies."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.errors import DataError, UsageError
from rayal.selection import knapsack
from rayal.selection.knapsack import most_valuable


def by_trying(values: list[float], costs: list[float], budget: float) -> list[int]:
    """Of all sets that the budget buys the most valuable; of equals the first that differs."""
    places = range(len(values))
    sets = chain.from_iterable(combinations(places, size) for size in range(len(values) + 1))
    return list(
        max(
            (each for each in sets if sum(costs[i] for i in each) <= budget),
            key=lambda each: (sum(values[i] for i in each), [i in each for i in places]),
        )
    )


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_trying_every_set_of_ten(seed: int) -> None:
    """Money would be left for less than it can buy (methods, Sec. 20)."""
    rng = np.random.default_rng(seed)
    values, costs = rng.random(10), rng.integers(1, 30, 10).astype(float)
    budget = float(rng.integers(5, 150))

    assert by_trying(list(values), list(costs), budget) == [*most_valuable(values, costs, budget)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=8),
    st.integers(-1, 20).map(float),
)
def test_equals_go_by_the_order_given(units: list[tuple[int, int]], budget: float) -> None:
    """Ties that the arithmetic decides would not be those of the seed; units of value 0 or cost 0
    are bought where they can be."""
    values, costs = (
        (np.array(each, float) for each in zip(*units, strict=True))
        if units
        else (
            np.empty(0),
            np.empty(0),
        )
    )
    expected = by_trying([*values], [*costs], budget) if budget >= 0 else []

    assert expected == most_valuable(values, costs, budget).tolist()


def test_better_than_the_best_first() -> None:
    """What a prefix of the ranking would buy: 10 for all the money, in place of 9 + 9."""
    values, costs = np.array([10.0, 9.0, 9.0]), np.array([8.0, 5.0, 5.0])

    assert [1, 2] == most_valuable(values, costs, 10).tolist()
    assert [0] == most_valuable(values, costs, 9.9).tolist()
    assert [1] == most_valuable(values, costs, 5).tolist()
    assert [] == most_valuable(values, costs, 4.5).tolist()


@pytest.mark.parametrize("cost", [1.0, 7.0])
def test_equal_costs_are_the_highest_values(cost: float) -> None:
    """Where every unit costs the same nothing may change, ties included."""
    values = np.random.default_rng(0).integers(0, 6, 200).astype(float)
    expected = np.argsort(-values, kind="stable")[:31]

    found = most_valuable(values, np.full(200, cost), 31 * cost + cost / 2)
    assert sorted(expected) == found.tolist()


def test_leaving_out_what_cannot_win_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of units of one cost only some are looked at: among them must be the right ones."""
    rng = np.random.default_rng(1)
    values, costs = rng.integers(0, 9, 400).astype(float), rng.integers(2, 9, 400).astype(float)
    found = most_valuable(values, costs, 100)
    few = len(knapsack._worth_it(values, costs.astype(int), 100))
    monkeypatch.setattr(knapsack, "_worth_it", lambda values, costs, budget: np.arange(400))

    np.testing.assert_array_equal(most_valuable(values, costs, 100), found)
    assert few < 200 and costs[found].sum() <= 100


def test_what_does_not_fit_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run would be killed for its memory in the middle of the night."""
    monkeypatch.setattr(knapsack, "MOST_BYTES", 2**10)
    values, costs = np.ones(1000), np.arange(1000.0)

    assert 1000 == len(most_valuable(values, costs, 1e9))
    with pytest.raises(UsageError, match=r"the best of 1000 units for 99999 .* set candidates"):
        most_valuable(values, costs, 99_999)
    assert 20 == len(most_valuable(values[:20], costs[:20], 99_999))
    assert 10 == len(most_valuable(values, costs, 50))


@pytest.mark.parametrize("cost", [0.5, -1.0, np.nan])
def test_only_whole_costs(cost: float) -> None:
    """Rounded costs would exceed the budget."""
    with pytest.raises(DataError, match=f"cost {cost:g} is not a whole number"):
        most_valuable(np.ones(2), np.array([1.0, cost]), 3)
