"""Budgets and oracles that do not fit: what the message tells to set, makes an experiment."""

from typing import Any

import pytest

from rayal.errors import LockedError
from rayal.labeling.budget import Budget
from tests.experiment.test_experiment import FIELDS, experiment, problems

DENSE: dict[str, Any] = {"task": "segmentation", "dataset": "camvid", "model": "small_segmenter"}
CLICKS = {**FIELDS["budget"], "unit": "clicks"}


def test_a_total_that_works() -> None:
    """Clicks go on from whole cycles; the message names such a total, and another --out."""
    budget = Budget(initial=20, per_cycle=30, total=200, unit="clicks")
    with pytest.raises(LockedError, match="totals such as 80, at whole .*; use another --out$"):
        budget.check_growth(100)
    budget.check_growth(80)


@pytest.mark.parametrize(
    ("wrong", "message", "rights"),
    [
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
