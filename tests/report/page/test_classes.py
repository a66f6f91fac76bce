import numpy as np

from rayal.report.page.classes import Mean, _lows


def mean(metric: str, *values: float) -> Mean:
    return Mean(metric, ["a"] * len(values), [10], np.array(values)[:, None])


def test_colours_begin_below_the_lowest_of_all_arms() -> None:
    """Classes of 88 to 100 % were all of one blue; and arms could not be compared by colour."""
    found = _lows([mean("accuracy", 0.97, 0.884), mean("accuracy", 0.99, 0.751, np.nan)])

    assert {"accuracy": 70} == found


def test_colours_have_a_range() -> None:
    """Where all is right, or nothing is known, all colours would be one."""
    found = _lows([mean("accuracy", 1.0), mean("iou", np.nan), mean("dice", 0.0)])

    assert {"accuracy": 90, "iou": 90, "dice": 0} == found
