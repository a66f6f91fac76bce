"""Colours of classes."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rayal.report.drawing import COLOURS
from rayal.report.palette import NO_CLASS, difference, palette


def test_a_class_has_its_colour_whatever_the_others() -> None:
    """Pictures of two datasets that share their first classes could not be compared."""
    assert np.array_equal(palette(40)[:11], palette(11))
    assert np.array_equal([to_rgb(name) for name in COLOURS], palette(6))


XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750]]
XYZ += [[0.0193339, 0.1191920, 0.9503041]]
TO_LMS = [[0.8189330101, 0.3618667424, -0.1288597137], [0.0329845436, 0.9293118715, 0.0361456387]]
TO_LMS += [[0.0482003018, 0.2643662691, 0.6338517070]]
TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
TO_LAB += [[0.0259040371, 0.7827717662, -0.8086757660]]
WITHOUT_RED = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
WITHOUT_GREEN = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]


def oklab(colour: np.ndarray, vision: list[list[float]]) -> np.ndarray:
    """By way of XYZ, as Ottosson defines it; the table of Machado et al. has three decimals."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    seen = np.clip(np.array(vision) @ linear, 0, 1)
    return np.array(TO_LAB) @ np.cbrt(np.array(TO_LMS) @ (np.array(XYZ) @ seen))


@pytest.mark.parametrize(("count", "least"), [(11, 0.075), (21, 0.07), (254, 0.012)])
def test_colours_differ(count: int, least: float) -> None:
    """Two classes of one colour are one class: CamVid's, VOC's and the most that a mask has. For
    none of the three kinds of eyes, and not for the mean of them."""
    colours = [*palette(count), np.array(to_rgb(NO_CLASS))]
    for vision in (np.eye(3).tolist(), WITHOUT_RED, WITHOUT_GREEN):
        places = [oklab(colour, vision) for colour in colours]
        apart = min(np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2))

        assert apart > least
    assert (count, 3) == palette(count).shape


def test_the_difference_is_that_of_the_eyes_that_see_least() -> None:
    """Against Oklab by its own definition, white included, which is 1 0 0."""
    np.testing.assert_allclose([1, 0, 0], oklab(np.ones(3), np.eye(3).tolist()), atol=2e-4)
    for one, other in itertools.combinations(palette(12), 2):
        least = min(
            np.linalg.norm(oklab(one, vision) - oklab(other, vision))
            for vision in (np.eye(3).tolist(), WITHOUT_RED, WITHOUT_GREEN)
        )
        assert pytest.approx(least, abs=2e-3) == difference(one, other)


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
