"""The random share of a purchase: how much it is, what it cannot be beside, what it is tied to."""

from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.explore import share
from rayal.experiment.identity import identifying, of_arm

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": "small_cnn",
    "strategy": "margin",
    "budget": {"initial": 20, "per_cycle": 20, "total": 100},
}


def made(**fields: Any) -> Experiment:
    return config.from_keywords({**FIELDS, **fields}, [], Experiment)


@pytest.mark.parametrize(
    ("explore", "budget", "expected"),
    [
        (0.0, 100, 0),
        (0.1, 100, 10),
        (0.1, 14, 1),  # 1.4
        (0.1, 15, 2),  # 1.5: halves up
        (0.1, 25, 3),  # 2.5: halves up, also where that is odd
        (0.1, 2, 1),  # at least 1
        (0.1, 1, 0),  # of a single unit none
        (0.1, 0, 0),
        (0.99, 10, 9),  # the strategy has at least 1
        (0.5, 7.9, 4),  # whole units only: half of 7
    ],
)
def test_share_by_hand(explore: float, budget: float, expected: int) -> None:
    """A share that is rounded away measures nothing; one of everything leaves no strategy."""
    assert expected == share(explore, budget)


CLICKS = {
    "dataset": "camvid",
    "task": "segmentation",
    "model": "small_segmenter",
    "oracle": "clicks",
    "budget": {**FIELDS["budget"], "unit": "clicks"},
}


@pytest.mark.parametrize(
    ("fields", "told", "instead"),
    [
        (CLICKS, "units differ in cost", {"explore": 0}),
        (
            {"budget": {"initial": 20, "per_cycle": 1, "total": 100}},
            "budget.per_cycle is 1, of which there is no share; raise it",
            {"budget": FIELDS["budget"]},
        ),
        (
            {**CLICKS, "strategy": "random_polygon"},
            "'random_polygon' buys regions, and whole images are drawn; set explore to 0",
            {"explore": 0},
        ),
        (
            {
                "strategy": "active_lab",
                "oracle": {"name": "people", "votes": 1},
            },
            "'active_lab' asks again for units that have a label",
            {"oracle": "simulated"},
        ),
    ],
)
def test_what_has_no_known_probability_is_refused_and_works_otherwise(
    fields: dict[str, Any], told: str, instead: dict[str, Any]
) -> None:
    """An estimate from draws of unknown probability would be a number that nobody can check."""
    with pytest.raises(UsageError, match=told) as refused:
        made(**fields, explore=0.1)

    assert "explore: 0.1" in str(refused.value)
    made(**{**fields, "explore": 0.1, **instead})


@pytest.mark.parametrize("wrong", [1, 1.5, -0.1, ".nan", "a tenth"])
def test_a_share_is_less_than_all(wrong: Any) -> None:
    """All at random is another strategy."""
    with pytest.raises(UsageError, match="explore"):
        made(explore=wrong)


def test_runs_without_it_go_on_and_others_are_tied_to_it() -> None:
    """Runs of older versions would be refused; one that is continued would mix two selections."""
    before, with_it = made(), made(explore=0.1)

    assert "explore" not in identifying(before.model_dump(mode="json"))
    assert 0.1 == identifying(with_it.model_dump(mode="json"))["explore"]
    assert 0.1 == of_arm(with_it.model_dump(mode="json"))["explore"]
