"""Guards of a run: what they refuse, and what a run with them is tied to."""

from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
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
    ("fields", "told"),
    [
        ({"strategy": "core_set", "guards": {"per_class": 3}}, "'core_set' selects units together"),
        ({"strategy": "badge", "guards": {"min_distance": 0}}, "'badge' selects units together"),
        ({"guards": {"min_distance": -1}}, "greater than or equal to 0"),
        ({"guards": {"per_class": 0}}, "greater than 0"),
        ({"guards": {"test_images": "warn"}}, "'keep' or 'leave_out'"),
        (
            {
                "dataset": "camvid",
                "task": "segmentation",
                "model": "small_segmenter",
                "guards": {"per_class": 2},
            },
            "predicts a class for each pixel",
        ),
    ],
)
def test_what_cannot_be_guarded_is_refused_and_works_without(
    fields: dict[str, Any], told: str
) -> None:
    """A guard that has no effect would be trusted; each message is of the field to change."""
    with pytest.raises(UsageError, match=told) as refused:
        made(**fields)
    (field,) = fields["guards"]

    assert f"guards.{field}" in str(refused.value)
    if "choose a strategy with a score" in str(refused.value):
        made(**{**fields, "strategy": "entropy"})
    made(**{**fields, "guards": {}})


def test_own_selections_may_still_leave_images_out() -> None:
    """Core-set would have to buy test images: those guards have nothing to do with a ranking."""
    x = made(strategy="core_set", guards={"test_images": "leave_out", "same_images": "leave_out"})

    assert x.guards.leaves_out and not x.guards.walks


def test_older_runs_go_on() -> None:
    """All runs that were recorded before guards came would be refused."""
    fields = made().model_dump(mode="json")
    before = {key: value for key, value in fields.items() if key != "guards"}

    assert identifying(before) == identifying(fields)
    assert "guards" not in identifying(fields)
    assert made() == config.resolved(before)


def test_runs_of_other_guards_are_of_other_arms() -> None:
    """A report would average runs that were free to buy near-duplicates with some that were not."""
    some = made(guards={"per_class": 4}).model_dump(mode="json")

    assert {"per_class": 4} == of_arm(some)["guards"]
    assert identifying(some) != identifying(made().model_dump(mode="json"))
