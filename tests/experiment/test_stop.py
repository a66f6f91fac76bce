"""Rules that end a run: what each says of measured cycles, and what they are no part of."""

from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.stop import Stop
from rayal.runs.measured import Measured, measured
from tests.support.doubles import evaluated

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": "small_cnn",
    "strategy": "margin",
    "budget": {"initial": 20, "per_cycle": 20, "total": 100},
}
RISING = (0.5, 0.7, 0.8, 0.85, 0.87)


def made(**fields: Any) -> Experiment:
    return config.from_keywords({**FIELDS, **fields}, [], Experiment)


def points(*values: float) -> list[Measured]:
    return [Measured(20.0 * at, value, 200) for at, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("rules", "values", "rule"),
    [
        ({"target": 0.87}, RISING, "target"),
        ({"target": 0.88}, RISING, None),
        ({"target": 0.8}, (0.9, 0.7), None),  # of the last model, which is the one that is used
        ({"plateau": {"points": 2, "cycles": 1}}, RISING, None),
        ({"plateau": {"points": 2.1, "cycles": 1}}, RISING, "plateau"),
        ({"plateau": {"points": 1, "cycles": 2}}, (0.5, 0.8, 0.7, 0.805), "plateau"),
        ({"plateau": {"points": 1, "cycles": 3}}, (0.5, 0.8, 0.7, 0.805), None),
        ({"plateau": {"points": 1, "cycles": 2}}, (0.5, 0.5), None),
        ({"price": {"per_label": 1, "per_point": 100}}, RISING, None),
        ({"price": {"per_label": 1, "per_point": 5}}, RISING, "price"),
        ({"price": {"per_label": 1, "per_point": 5}}, RISING[:3], None),  # too few to know
        ({"price": {"per_label": 1, "per_point": 5}, "target": 0.5}, RISING, "target"),
        ({"target": 0.1}, (), None),
        ({}, RISING, None),
    ],
)
def test_each_rule(rules: dict[str, Any], values: tuple[float, ...], rule: str | None) -> None:
    """A run would end too early or buy for nothing; the next purchase is 20 labels."""
    found = Stop(**rules).reason(points(*values), 20, "samples")

    assert (None if found is None else found.rule) == rule


def test_the_price_is_that_of_the_next_purchase_in_its_unit() -> None:
    """An hour of annotation would be paid for each second; nothing is said of a purchase that is
    far larger than all before."""
    rules = Stop(price={"per_label": 10, "per_point": 20})
    reason = rules.reason(points(*RISING), 20, "samples")

    assert reason is not None
    assert reason.message.startswith("the next purchase costs 200.00 and is expected to bring 1.")
    assert rules.reason(points(*RISING), 20, "seconds") is None  # 20 / 360
    assert rules.reason(points(*RISING), 301, "samples") is None


def test_the_same_points_end_a_run_again() -> None:
    """A run that is resumed would go on where it had ended."""
    rules = Stop(price={"per_label": 1, "per_point": 5})

    assert len({rules.reason(points(*RISING), 20, "samples") for _ in range(3)}) == 1


def test_labels_of_a_random_choice_measure_the_model_before_them() -> None:
    """A point would stand at the labels that its model had not seen; without a test set the first
    cycle has none."""
    cycles = [
        evaluated(20, new_accuracy=None),
        evaluated(40, new_accuracy=0.6),
        evaluated(70, new_accuracy=0.8),
    ]

    assert measured(cycles, "new_accuracy", False, "samples") == [
        Measured(20, 0.6, 20),
        Measured(40, 0.8, 30),
    ]
    assert measured(cycles, "accuracy", True, "samples") == []


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        ({"target": 95}, "stop.target: .* less than or equal to 1"),
        ({"target": 0}, "stop.target"),
        ({"plateau": {"cycles": 0}}, "stop.plateau.cycles"),
        ({"price": {"per_label": 0.08}}, "stop.price.per_point: is required"),
        ({"pleateau": {}}, "did you mean 'plateau'"),
    ],
)
def test_what_is_no_rule(stop: dict[str, Any], told: str) -> None:
    """A misspelt rule would let a run buy on."""
    with pytest.raises(UsageError, match=told):
        made(stop=stop)


def test_rules_are_no_part_of_what_a_run_is() -> None:
    """A run could not go on with another rule, and arms would differ by it."""
    assert made(stop={"target": 0.9}).identity() == made().identity()
    assert made().stop == Stop() and made().stop.rules == ()


def test_rules_in_words() -> None:
    """A plan would not say what may end the run."""
    rules = Stop(
        target=0.95,
        plateau={"points": 0.2, "cycles": 3},
        price={"per_label": 0.08, "per_point": 50},
    )

    assert [*rules.described("accuracy")] == [
        "target: accuracy 0.95",
        "plateau: 3 cycles bring less than 0.2 points",
        "price: the next purchase costs more than 50 a point",
    ]
