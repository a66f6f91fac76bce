"""Labels to reach a height: by hand, and against numpy's interpolation of rising curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rayal.report.reach import Reached, mean_curve, reach, reached, saved

CURVE = {100: 0.5, 200: 0.7, 400: 0.8}


def test_by_hand() -> None:
    """Between 200 (0.7) and 400 (0.8), 0.75 is half of the way."""
    assert_allclose(reached(CURVE, 0.75), Reached(300.0))
    assert_allclose(reached(CURVE, 0.6), Reached(150.0))
    assert Reached(200.0) == reached(CURVE, 0.7)


def test_nothing_is_extrapolated() -> None:
    """A line drawn further would promise what nobody measured, at both ends."""
    assert reached(CURVE, 0.81) is None
    assert reached({}, 0.5) is None
    assert Reached(100.0, at_most=True) == reached(CURVE, 0.3)


def test_the_first_time_counts() -> None:
    """A curve that falls again has been there: its model of that cycle is kept."""
    assert Reached(20.0) == reached({10: 0.1, 20: 0.5, 30: 0.2, 40: 0.9}, 0.5)


@given(st.lists(st.floats(0.001, 0.2), min_size=2, max_size=8), st.floats(0.01, 0.99))
def test_agrees_with_numpy(steps: list[float], share: float) -> None:
    """Of a rising curve it is the inverse, which numpy interpolates on its own."""
    labels, values = 10 * np.arange(1, len(steps) + 1), np.cumsum(steps)
    height = values[0] + share * (values[-1] - values[0])
    found = reached(dict(zip(labels.tolist(), values.tolist(), strict=True)), height)

    assert found is not None
    assert_allclose(found.labels, np.interp(height, values, labels), rtol=1e-9)


def test_no_mean_over_those_alone_that_reach_it() -> None:
    """The seeds that are left would make every slow arm look fast."""
    found = reach({0: CURVE, 1: {100: 0.5, 200: 0.6, 400: 0.7}}, 0.75)

    assert (1, None) == (found.n, found.labels)
    assert found.seeds[1] is None
    assert Reached(400.0) == found.mean_curve  # (0.8 + 0.7) / 2 is 0.75 there


def test_interval_over_seeds() -> None:
    """Of 150 and 250 labels: 200 +- 12.7 * 50."""
    found = reach({0: {100: 0.5, 200: 0.7}, 1: {200: 0.5, 300: 0.7}}, 0.6).labels

    assert found is not None
    assert_allclose((found.mean, found.half), (200, 12.706204736 * 50))


def test_saved_by_hand() -> None:
    """Random needs 400 labels, the arm 300: a quarter less."""
    random, arm = reach({0: {100: 0.5, 400: 0.8}}, 0.8), reach({0: {100: 0.5, 300: 0.8}}, 0.8)

    assert 0.25 == saved(arm, random)
    assert_allclose(saved(random, arm), -1 / 3)


@pytest.mark.parametrize("height", [0.4, 0.9])
def test_nothing_is_saved_at_an_unknown_height(height: float) -> None:
    """Below the first point nothing was chosen yet; above the last nobody knows."""
    found = reach({0: CURVE}, height)

    assert saved(found, found) is None


def test_mean_where_all_are() -> None:
    """A mean over other seeds at each point has steps that no seed has."""
    assert_allclose([*mean_curve([{1: 0.1, 2: 0.2}, {2: 0.4, 3: 0.5}]).items()], [(2, 0.3)])
    assert {} == mean_curve([])
