import numpy as np

from rayal.report.page.pool_map import _data


def test_places_as_exactly_as_a_screen() -> None:
    """Digits that nobody sees made a page of four maps a tenth larger; too few would lay units on a
    grid. By hand: 200 wide, so that a place is 1 of 2,000."""
    placed = np.array([[-100.0, 0.123456], [100.0, 50.0], [0.04, 1.26]])
    found = _data(["a", "b", "c"], placed, [None, 0, -1], {"a": "dog", "c": "cat"}, {"c": "uri"})

    assert [-100, 100, 0] == found["x"] and [0.1, 50, 1.3] == found["y"]
    assert (["cat", "dog"], [1, -1, 0]) == (found["classes"], found["labels"])
    assert {"2": "uri"} == found["pictures"]


def test_equal_places() -> None:
    """No width has no logarithm."""
    assert [3, 3] == _data(["a", "b"], np.full((2, 2), 3.0), [None, None], {}, {})["x"]
