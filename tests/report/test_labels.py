"""What arms are called: enough to tell them apart, and no more."""

import pytest

from rayal.report.labels import described, telling, texts


def test_one_setting_that_says_it_all_is_enough() -> None:
    """A model of another name brings its own fields along, which would fill a line each."""
    facts = [
        {"model": "small_cnn", "model.width": 8, "lr": 0.1},
        {"model": "resnet18", "model.stem": "small", "lr": 0.1},
        {"model": "vgg16", "model.dropout": 0.5, "lr": 0.1},
    ]
    assert ["model"] == telling(facts)
    assert ["model=small_cnn", "model=resnet18", "model=vgg16"] == described(facts, ["model"])


def test_a_grid_needs_each_of_its_axes() -> None:
    facts = [{"a": a, "b": b, "same": 1} for a in (1, 2, 3) for b in (1, 2)]
    assert ["a", "b"] == telling(facts)
    assert [] == telling(facts[:1]) == telling([])


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.02, 0.3], ["0.02", "0.3"]),
        ([0.123451, 0.123452], ["0.123451", "0.123452"]),
        ([1e-05, 0.1 + 0.2], ["1e-05", "0.3"]),
        ([0.1 + 0.2, 0.3], ["0.30000000000000004", "0.3"]),
        (["/data/a/cats", "/data/b/dogs"], ["cats", "dogs"]),
        (["/data/a/pool", "/data/b/pool"], ["/data/a/pool", "/data/b/pool"]),
        ([None, 100, True], ["null", "100", "true"]),
        ([[1, 2], [1, 3]], ["[1, 2]", "[1, 3]"]),
        ([[{"name": "cod"}], []], ["cod", "[]"]),
        (
            [[{"name": "cod", "a": 1}], [{"name": "cod", "a": 2}]],
            ['[{"name": "cod", "a": 1}]', '[{"name": "cod", "a": 2}]'],
        ),
    ],
)
def test_values_are_short_and_stay_different(values: list[object], shown: list[str]) -> None:
    """Two draws that look alike would be one arm, and a run of it refused as a double."""
    assert shown == texts(values)
