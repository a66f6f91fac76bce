"""Shapes: where they are 1 and 0, that they fall, and how far."""

import numpy as np
import pytest

from rayal.forecasting.families import Shape, shapes


def test_every_shape_falls_from_one_to_nothing_and_never_below_its_floor() -> None:
    """What is read off the data, the error and its fall, would be of other label counts; or a curve
    would rise."""
    counts = np.array([20.0, 40, 100, 300, 1200, 1e9])
    falling = [shape for shape in shapes(20.0, 300.0) if not shape.flat]
    for shape in falling:
        g = shape.at(counts)

        assert g[[0, 3]] == pytest.approx([1, 0]), shape
        assert (np.diff(g) <= 0).all() and (g >= shape.floor).all(), shape
        assert shape.floor == pytest.approx(shape.at(np.array([1e80]))[0], abs=1e-6), shape
    assert (Shape(20.0, 300.0).at(counts) == 0).all() and len(falling) > 60


def test_beliefs_are_probabilities() -> None:
    """One family would weigh more than is said."""
    assert sum(shape.belief for shape in shapes(1.0, 2.0)) == pytest.approx(1)


def test_a_power_law_by_hand() -> None:
    """n^-1 at 1, 2 and 4: 1, 1/2, 1/4; so g is 1, 1/3 and 0, and -1/3 at the end."""
    shape = Shape(1.0, 4.0, power=1.0)

    assert shape.at(np.array([1.0, 2, 4])) == pytest.approx([1, 1 / 3, 0])
    assert shape.floor == pytest.approx(-1 / 3)
