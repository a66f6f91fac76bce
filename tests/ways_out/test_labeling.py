"""Budgets and oracles that do not fit: what the message tells to set, makes an experiment."""

from pathlib import Path
from typing import Any

import pytest

from rayal.data.datasets.digits import Digits
from rayal.errors import LockedError, UsageError
from rayal.labeling.budget import Budget
from tests.experiment.test_experiment import FIELDS, experiment, problems

DENSE: dict[str, Any] = {"task": "segmentation", "dataset": "camvid", "model": "small_segmenter"}
CLICKS = {**FIELDS["budget"], "unit": "clicks"}


def test_a_total_that_works() -> None:
    """Clicks go on from whole cycles; the message names such a total, and another --out."""
    budget = Budget(initial=20, per_cycle=30, total=200, unit="clicks")
    with pytest.raises(LockedError, match="totals such as 80, .*; use another --out .*=.$"):
        budget.check_growth(100)
    budget.check_growth(80)


def budget(**changes: int) -> dict[str, Any]:
    return {"budget": {**FIELDS["budget"], **changes}}


def test_a_total_that_the_pool_has(tmp_path: Path) -> None:
    """Lowered to what there is."""
    card = Digits(store=str(tmp_path), limit_pool=30, limit_test=1).open().card
    with pytest.raises(UsageError, match="100 is more than the 30 images of the pool; lower it$"):
        experiment().budget.check(card.pool)
    experiment(**budget(total=30)).budget.check(card.pool)


@pytest.mark.parametrize(
    ("wrong", "message", "rights"),
    [
        (
            budget(total=10),
            "20 is more than budget.total, 10; lower it, or raise that",
            [budget(initial=10, total=10), budget(total=20)],
        ),
        (
            {"candidates": 19},
            "19 cannot fill budget.per_cycle, 20; raise it, or lower that",
            [{"candidates": 20}, {"candidates": 19, **budget(per_cycle=19)}],
        ),
        (
            {"budget": CLICKS},
            "but oracle 'simulated' counts costs in samples; give both the same",
            [{"budget": FIELDS["budget"]}, {**DENSE, "budget": CLICKS, "oracle": "clicks"}],
        ),
        (
            {**DENSE, "budget": {**CLICKS, "balanced": True}, "oracle": "clicks"},
            "set it to false, or oracle to simulated",
            [
                {**DENSE, "budget": CLICKS, "oracle": "clicks"},
                {"budget": {**FIELDS["budget"], "balanced": True}, "oracle": "simulated"},
            ],
        ),
    ],
)
def test_budget_and_oracle(
    wrong: dict[str, Any], message: str, rights: list[dict[str, Any]]
) -> None:
    assert [message] == [said[-len(message) :] for said in problems(**wrong).values()]
    for right in rights:
        experiment(**right)
