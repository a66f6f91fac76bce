"""Colours of classes."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rayal.report.curves import COLOURS
from rayal.report.palette import NO_CLASS, difference, palette


def test_a_class_has_its_colour_whatever_the_others() -> None:
    """Pictures of two datasets that share their first classes could not be compared."""
    assert np.array_equal(palette(40)[:11], palette(11))
    assert np.array_equal([to_rgb(name) for name in COLOURS], palette(6))


@pytest.mark.parametrize(("count", "least"), [(11, 0.14), (21, 0.1), (254, 0.02)])
def test_colours_differ(count: int, least: float) -> None:
    """Two classes of one colour are one class: CamVid's, VOC's and the most that a mask has."""
    colours = [*palette(count), np.array(to_rgb(NO_CLASS))]
    apart = min(difference(a, b) for a, b in itertools.combinations(colours, 2))

    assert (count, 3) == palette(count).shape
    assert apart > least


def test_difference_by_hand() -> None:
    """For eyes without red cones this red and this green are nearly one colour."""
    red, green, blue = (np.array(to_rgb(name)) for name in ("#B14400", "#6F6F00", "#0000FF"))

    assert 0 == difference(red, red)
    assert 2 * difference(red, green) < difference(red, blue)
    assert difference(red, green) == difference(green, red)


def test_nobody_changes_the_colours_of_all() -> None:
    """One caller's change would reach every other picture."""
    with pytest.raises(ValueError, match="read-only"):
        palette(3)[0] = 1
