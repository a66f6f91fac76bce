import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.metrics import auc

from rayal.report.statistics import aulc, holm, interval, paired_test

RNG = np.random.default_rng(0)


def test_interval_by_hand() -> None:
    """The band of every figure."""
    mean, half, n = interval([1.0, 3.0])

    assert (2.0, 2) == (mean, n)
    assert_allclose(half, 12.706204736 * math.sqrt(2) / math.sqrt(2))  # t(0.975, 1) s / sqrt(n)


def test_no_interval_for_one_seed() -> None:
    """A band of width zero would claim certainty."""
    assert (0.5, None, 1) == interval([0.5])


@pytest.mark.parametrize("n", [2, 3, 5, 50])
def test_interval_agrees_with_scipy(n: int) -> None:
    """A wrong quantile or a population deviation makes every claim too strong."""
    values = RNG.normal(size=n)
    mean, half, _ = interval(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)

    assert half is not None
    assert_allclose((mean - half, mean + half), (low, high), rtol=1e-12)


def test_aulc_by_hand() -> None:
    """Uneven steps weigh by their width: (0.5 * 100 + 0.7 * 300) / 400."""
    assert_allclose(aulc([100, 200, 500], [0.4, 0.6, 0.8]), 0.65)


@given(st.floats(-10, 10), st.integers(2, 20))
def test_aulc_of_a_flat_curve_is_its_height(height: float, points: int) -> None:
    """The area has the unit of the metric whatever the range of labels."""
    assert_allclose(aulc(np.cumsum(np.arange(1, points + 1)), [height] * points), height)


def test_aulc_agrees_with_sklearn() -> None:
    """Curves are ranked by it."""
    labels, values = np.sort(RNG.choice(10_000, 30, replace=False)), RNG.random(30)

    assert_allclose(
        aulc(labels, values), auc(labels, values) / (labels[-1] - labels[0]), rtol=1e-12
    )


def test_paired_test_agrees_with_scipy() -> None:
    """The verdict of every pair."""
    for n in (2, 3, 5, 30):
        a, b = RNG.normal(size=(2, n))

        assert_allclose(paired_test(a, b).p, stats.ttest_rel(a, b).pvalue, rtol=1e-12)
        assert_allclose(paired_test(a, b).difference.mean, np.mean(a - b))


def test_equal_values_are_a_tie() -> None:
    """scipy says nan, which every comparison then takes for `not significant` or worse."""
    assert 1.0 == paired_test([0.5, 0.6], [0.5, 0.6]).p


def test_equal_differences_need_no_division() -> None:
    """Accuracies on a small test set differ by the same step in all seeds."""
    assert 0.0 == paired_test([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).p


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_compared(bad: float) -> None:
    """A seed without a value made a difference certain: p = 0.0."""
    for call in (
        lambda: paired_test([0.5, bad, 0.7], [0.4, 0.5, 0.6]),
        lambda: paired_test([0.5, 0.6, 0.7], [0.4, bad, 0.6]),
        lambda: interval([0.5, bad]),
        lambda: aulc([100, 200], [0.5, bad]),
        lambda: aulc([100, bad], [0.5, 0.6]),
        lambda: holm([0.5, bad]),
    ):
        with pytest.raises(ValueError, match=f"^{bad} is among"):
            call()


def test_chance_is_called_a_gain_as_often_as_it_says() -> None:
    """Of strategies that are alike one in twenty would not be enough: p is uniform (L07)."""
    rng = np.random.default_rng(7)
    p = [paired_test(*rng.normal(size=(2, 5))).p for _ in range(1000)]
    families = np.reshape(p, (100, 10))  # ten comparisons of one report

    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean([min(holm(family)) < 0.05 for family in families]) < 0.1


def test_one_pair_is_no_test() -> None:
    """One seed says nothing about chance."""
    assert paired_test([0.5], [0.4]).p is None


def test_holm_by_hand() -> None:
    """3 * 0.01, then 2 * 0.02, then 1 * 0.03, which is lifted to the one before."""
    assert_allclose(holm([0.02, 0.01, 0.03]), [0.04, 0.03, 0.04])
    assert [] == holm([])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_its_definition_rejects(p_values: list[float]) -> None:
    """Adjusted values below 0.05 are exactly those that the step-down procedure rejects."""
    rejected, m = set(), len(p_values)
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (m - step) >= 0.05:
            break
        rejected.add(int(index))

    assert rejected == {i for i, p in enumerate(holm(p_values)) if p < 0.05}
