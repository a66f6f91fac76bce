"""The smallest difference that seeds could have shown: against simulation and known tables."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from rayal.report.power import probability, smallest_difference, standardised

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(("n", "level"), [(3, 0.05), (5, 0.05), (5, 0.05 / 6), (20, 0.01)])
def test_simulated(n: int, level: float) -> None:
    """Of samples with that true difference the test finds four in five."""
    shift = standardised(n, level) / np.sqrt(n)
    samples = RNG.normal(shift, 1, size=(20_000, n))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < level

    assert 0.8 == pytest.approx(found.mean(), abs=0.012)


@pytest.mark.parametrize("n", [2, 3, 5, 50])
def test_agrees_with_scipys_noncentral_t(n: int) -> None:
    """Where that has a value."""
    critical = stats.t.isf(0.025, n - 1)
    for shift in (0.0, 1.0, 3.0):
        t = stats.nct(n - 1, shift)
        expected = t.sf(critical) + t.cdf(-critical)

        assert_allclose(probability(n, critical, shift), expected, rtol=1e-4)


def test_two_seeds_and_a_strict_level() -> None:
    """Where scipy's has none: hundreds of standard errors, and no error."""
    assert 100 < standardised(2, 0.05 / 15) < 1000


def test_known_sample_sizes() -> None:
    """G*Power's matched pairs: an effect of 0.5 needs 34 pairs, 0.8 needs 15 (power 0.8, 5 %)."""
    assert standardised(34, 0.05) / np.sqrt(34) <= 0.5 < standardised(33, 0.05) / np.sqrt(33)
    assert standardised(15, 0.05) / np.sqrt(15) <= 0.8 < standardised(14, 0.05) / np.sqrt(14)


def test_in_the_unit_of_the_differences() -> None:
    """Read in points of area; more tests ask for a larger difference."""
    differences = RNG.normal(size=5)
    one = smallest_difference(differences)

    assert one is not None
    assert_allclose(smallest_difference(100 * differences), 100 * one)
    assert_allclose(one, standardised(5, 0.05) * stats.sem(differences))
    assert one < (smallest_difference(differences, tests=6) or 0)


def test_one_seed_has_no_power() -> None:
    """Nor can it say how little it would see; equal differences have no spread to hide in."""
    assert smallest_difference([0.3]) is None
    assert 0.0 == smallest_difference([0.25, 0.25, 0.25])
