"""Strategies that do not fit task, oracle or model: each way out makes an experiment."""

from typing import Any

import pytest
from pydantic import ValidationError

from rayal.errors import UsageError
from rayal.parts import build, find
from rayal.signals.signal import SIGNAL_NAMES
from tests.experiment.test_experiment import experiment, problems
from tests.signals.test_batch import Counting, signals
from tests.ways_out.test_labeling import CLICKS, DENSE

REGIONS = {**DENSE, "strategy": "random_polygon"}
OFFICIAL = {"name": "epmcm", "update_while_scoring": True}


@pytest.mark.parametrize(
    ("wrong", "message", "right"),
    [
        ({"observers": ["variation_ratio"]}, "set `ensemble` to 2 or more (5 in the", {}),
        (REGIONS, "knows none; use clicks", {**REGIONS, "oracle": "clicks", "budget": CLICKS}),
        (
            {**DENSE, "strategy": OFFICIAL},
            "cannot update_while_scoring on maps; set it to false",
            {**DENSE, "strategy": "epmcm"},
        ),
    ],
)
def test_a_strategy_that_fits(wrong: dict[str, Any], message: str, right: dict[str, Any]) -> None:
    (said,) = problems(**wrong).values()
    assert message in said
    experiment(**right or {"observers": ["variation_ratio"], "ensemble": 2})


def test_a_strategy_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads what dense networks have alone, asked for classes of images."""
    for name, value in (("needs", {"grid_entropy"}), ("tasks", {"classification", "segmentation"})):
        monkeypatch.setattr(find("strategies", "entropy"), name, frozenset(value))
    (said,) = problems(strategy="entropy").values()
    assert said.endswith("which classify every pixel; use segmentation")
    experiment(**DENSE, strategy="entropy")

    classifier = signals(Counting().eval()).declared_by("entropy", SIGNAL_NAMES, None)
    with pytest.raises(UsageError, match="; take 'classification' out of its `tasks`$"):
        _ = classifier.grid_entropy
    monkeypatch.setattr(find("strategies", "entropy"), "tasks", frozenset({"segmentation"}))
    (said,) = problems(strategy="entropy").values()  # so that no classifier is asked
    assert "'entropy' supports segmentation, but the task is 'classification'" in said


def test_a_threshold_that_counts() -> None:
    """With pixels: above, or without a threshold."""
    part = {"name": "entropy", "threshold": 0.6}
    with pytest.raises(ValidationError, match="; set pixels to above, or threshold to null"):
        build("strategies", part)
    build("strategies", {**part, "pixels": "above"})
    build("strategies", {**part, "threshold": None})
    with pytest.raises(ValidationError, match="above needs a threshold; set it, for entropies to"):
        build("strategies", {"name": "entropy", "pixels": "above"})
