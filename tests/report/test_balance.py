"""Class balance of what was bought: by hand and against scipy's contingency of shares."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from rayal.report.balance import balance

RNG = np.random.default_rng(0)


def test_by_hand() -> None:
    """30 and 10 of a pool of halves: 20 were expected of each; (100 + 100) / 20 = 10 with one
    degree of freedom; 0.75 log2 1.5 + 0.25 log2 0.5."""
    found = balance([30, 10], [500, 500])

    assert ((30, 10), (20, 20), False) == (found.bought, found.expected, found.rough)
    assert_allclose(found.divergence, 0.75 * math.log2(1.5) - 0.25)
    assert_allclose(found.p, stats.chi2.sf(10, 1))


def test_as_the_pool() -> None:
    """The same shares diverge by nothing, however uneven the pool is."""
    found = balance([2, 20, 4], [100, 1000, 200])

    assert (0, 1) == (pytest.approx(found.divergence), found.p)
    assert found.rough  # 2 and 4 of a class are few


def test_a_class_that_the_pool_has_not() -> None:
    """Such as one that people named while they labeled."""
    found = balance([5, 5], [10, 0])

    assert (math.inf, 0.0) == (found.divergence, found.p)


def test_nothing_to_say() -> None:
    """0 / 0 is no share."""
    assert (0.0, None) == (balance([0, 0], [5, 5]).divergence, balance([0, 0], [5, 5]).p)
    assert balance([7, 0], [10, 0]).p is None
    with pytest.raises(ValueError, match="the pool is empty"):
        balance([0], [0])


def test_random_picks_are_rarely_called_uneven() -> None:
    """At most 5 %, as picks are drawn without replacement."""
    pool = np.repeat(np.arange(4), [400, 300, 200, 100])
    counts = np.bincount(pool)
    p = [
        balance(np.bincount(RNG.choice(pool, 100, replace=False), minlength=4), counts).p or 0
        for _ in range(150)
    ]

    assert np.mean(np.array(p) < 0.05) < 0.1
