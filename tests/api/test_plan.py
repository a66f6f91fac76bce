"""`rayal.plan`: what a run or a sweep will do and cost, in Python."""

from collections.abc import Callable
from typing import Any

import pytest

import rayal
from rayal.errors import UsageError
from rayal.workflows.plan.sweep import SweepPlan


def test_a_plan_of_a_run_and_of_a_sweep(tiny: Callable[..., Any]) -> None:
    """A sweep would be planned as a single run, or its arms be priced once."""
    x = tiny(strategy="entropy")
    one = rayal.plan(x, probe=False, label_price=0.5)
    block = {"space": {"strategy": {"grid_search": ["random", "entropy"]}}, "seeds": [0, 1, 2]}
    swept = rayal.SweptExperiment.model_validate({**x.model_dump(mode="json"), "sweep": block})
    all_of_it = rayal.plan(swept, probe=False, label_price=0.5)

    assert [20, 40, 60] == [cycle.labels for cycle in one.cycles]
    assert (30.0, None) == (one.price, one.seconds) == (one.to_dict()["price"], one.seconds)
    assert isinstance(all_of_it, SweepPlan)
    assert (6, 6 * 30.0) == (all_of_it.trials, all_of_it.to_dict()["price"])
    for plan in (one, all_of_it):
        assert str(plan) in plan._repr_html_().replace("&#x27;", "'")
        assert "price" in str(plan)


def test_plugins_are_looked_at_whatever_is_planned(tiny: Callable[..., Any]) -> None:
    """A text for a list would be taken for an experiment, and refused for a sweep."""
    with pytest.raises(UsageError, match=r"plugins: 'mine' is no list of packages"):
        rayal.plan(tiny(), probe=False, plugins="mine")
    assert rayal.plan(tiny(), probe=False, plugins=["mine"]).cycles


def test_a_price_below_nothing_is_none(tiny: Callable[..., Any]) -> None:
    """A typo would make a plan look cheap."""
    with pytest.raises(UsageError, match="label_price: -1 is no price; use 0 or more, or None"):
        rayal.plan(tiny(), probe=False, label_price=-1)
    assert 0 == rayal.plan(tiny(), probe=False, label_price=0).price
    assert rayal.plan(tiny(), probe=False).price is None
