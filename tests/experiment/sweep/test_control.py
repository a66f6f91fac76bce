"""The control of a sweep: which arms of random selection are missing."""

from typing import Any

import pytest

from rayal.experiment.sweep.control import controls


@pytest.mark.parametrize(
    ("arms", "added"),
    [
        ([{"strategy": "cod"}, {"strategy": "margin"}], [{"strategy": "random"}]),
        ([{"strategy": "cod"}, {"strategy": "random"}], []),
        ([{"strategy": "cod"}, {"strategy": {"name": "random"}}], []),
        ([{"strategy": {"name": "emaod", "weight": 0.1}}], [{"strategy": "random"}]),
        ([{"scheme": {"lr": 0.1}}, {"scheme": {"lr": 0.2}}], []),
        ([], []),
    ],
)
def test_by_hand(arms: list[Any], added: list[Any]) -> None:
    """One arm that is missing, whatever way the others are spelt; none where no strategy is varied:
    two learning rates are compared with each other."""
    assert added == controls(arms, "cod")


def test_one_for_each_settings() -> None:
    """Random with another learning rate is no control; one that is there is not added twice."""
    arms = [
        {"strategy": name, "scheme": {"lr": lr}}
        for lr, names in ((0.1, ("cod", "margin")), (0.2, ("cod", "random")))
        for name in names
    ]

    assert [{"scheme": {"lr": 0.1}, "strategy": "random"}] == controls(arms, "cod")


def test_fields_of_the_files_own_strategy() -> None:
    """A space may vary only its fields: of random nothing is missing, of another one random is."""
    arms = [{"strategy": {"weight": 1}}, {"strategy": {"weight": 2}}]

    assert [] == controls(arms, "random")
    assert [{"strategy": "random"}] == controls(arms, "emaod")
