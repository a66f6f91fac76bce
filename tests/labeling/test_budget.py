"""Budgets that are not spent to the point: what is due, when it ends, and what a purchase buys."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rayal.errors import UsageError
from rayal.labeling.budget import Budget
from rayal.selection.candidates import Candidates, bought, spend
from rayal.selection.greedy import buy
from rayal.storage.ids import Ids
from tests.support.doubles import priced

COSTS = st.lists(st.integers(0, 9), max_size=12)
BUDGETS = st.integers(-5, 40)


def pool(costs: Sequence[float], overshoot: bool) -> Candidates:
    ids = Ids([f"unit-{i}" for i in range(len(costs))])
    return Candidates(ids, None, priced(ids, costs), overshoot=overshoot)


def one_by_one(costs: Sequence[float], budget: float, overshoot: bool) -> int:
    """How many units are bought, as one would do it at a counter."""
    spent = 0.0
    for number, cost in enumerate(costs):
        if spent >= budget if overshoot else spent + cost > budget:
            return number
        spent += cost
    return len(costs)


def test_what_is_left_is_spent_later():
    """Clicks that no image cost exactly would be lost in every cycle."""
    budget = Budget(initial=50, per_cycle=30, total=130, unit="clicks")

    assert [80, 110, 130, 130] == [budget.due(cycle) for cycle in range(4)]
    assert [False, False, False, True] == [budget.is_spent(cycle, 20.0) for cycle in range(4)]
    assert budget.is_spent(0, 130) and budget.is_spent(1, 131)


@pytest.mark.parametrize(
    ("initial", "per_cycle", "total", "cycles"),
    [(20, 20, 60, 2), (20, 25, 60, 2), (60, 20, 60, 0), (20, 100, 21, 1), (1, 1, 7, 6)],
)
def test_as_many_cycles_as_purchases(initial, per_cycle, total, cycles):
    """A run would train once more for nothing, or miss its last purchase, whatever was left."""
    budget = Budget(initial=initial, per_cycle=per_cycle, total=total, unit="clicks")

    for left in (0.0, 0.5, initial / 2):
        spent, cycle = initial - left, 0
        while not budget.is_spent(cycle, spent):
            spent, cycle = budget.due(cycle) - left, cycle + 1
        assert (cycles, total - left) == (cycle, spent)


@settings(deadline=None)
@given(COSTS, BUDGETS, st.booleans())
def test_a_purchase_is_that_of_a_counter(costs, budget, overshoot):
    """Images without regions cost nothing, and budgets may be exceeded before a cycle."""
    units = pool(costs, overshoot)
    order = np.random.default_rng(0).permutation(len(costs))
    count = one_by_one([costs[i] for i in order], budget, overshoot)

    assert count == bought(units.costs[order], budget, overshoot)
    assert order[:count].tolist() == spend(units, order, budget).tolist()


@settings(deadline=None)
@given(COSTS, BUDGETS, st.booleans())
def test_greedy_strategies_buy_as_all_others(costs, budget, overshoot):
    """The same budget would buy a unit more with core-set than with entropy."""
    units = pool(costs, overshoot)
    order = np.random.default_rng(0).permutation(len(costs))

    expected = spend(units, order, budget).tolist()
    assert expected == buy(units, iter(order.tolist()), budget).tolist()


def test_overshoot_by_hand():
    """The unit at which the budget is exceeded is bought, the one after it is not."""
    costs = np.array([3.0, 3.0, 3.0, 3.0])

    assert [2, 2, 3] == [bought(costs, budget, overshoot=False) for budget in (6, 8.9, 9)]
    assert [2, 3, 3] == [bought(costs, budget, overshoot=True) for budget in (6, 8.9, 9)]
    assert [0, 1, 0, 0] == [
        bought(costs, budget, overshoot) for budget in (0, 0.1) for overshoot in (True,)
    ] + [bought(costs, budget, overshoot=False) for budget in (0, 0.1)]


def test_a_budget_may_be_open():
    """Whoever asks for so many at a time would have to invent amounts; a run that has none would
    never end."""
    budget = Budget()

    assert budget.is_open and budget.unit == "samples" and budget == Budget(initial=None)
    assert not budget.is_spent(3, 1e9) and [] == [*budget.contradictions(3)]
    for ask in (lambda: budget.amounts, lambda: budget.due(0), lambda: budget.left(0, 0)):
        with pytest.raises(UsageError, match="budget: is required"):
            ask()
    assert (1, 2, 3) == Budget(initial=1, per_cycle=2, total=3).amounts


def test_a_budget_has_all_amounts_or_none():
    """Half of a budget is a mistake: the rest was forgotten."""
    with pytest.raises(ValidationError) as caught:
        Budget.model_validate({"initial": 0, "total": None, "per_cycle": 3})

    assert [("total", "missing")] == [
        (error["loc"][0], error["type"]) for error in caught.value.errors()
    ]


def test_seconds_end_as_clicks_do():
    """Annotators who are slower than was thought would be asked in every cycle to come, or a rest
    of a few seconds keep a run from its end."""
    budget = Budget(initial=100, per_cycle=100, total=300, unit="seconds")

    assert [100.0, 60.5, 0.0] == [budget.left(0, spent) for spent in (100.0, 139.5, 250.0)]
    assert not budget.is_spent(1, 250.0) and not budget.is_last(0) and budget.is_last(1)
    assert budget.is_spent(1, 300.5) and budget.is_spent(2, 299.5)
