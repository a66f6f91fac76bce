"""Ranks, Friedman's test and the critical difference: against scipy and Demsar's own example."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from rayal.report.ranks import Ranking, critical_difference, friedman, ranking, ranks

RNG = np.random.default_rng(1)
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""Table 6 of the paper: AUC of C4.5 and variants on 14 data sets."""


def test_ties_share_their_ranks() -> None:
    """1 is the best; two second ones are 2.5 each."""
    assert_array_equal(ranks([[0.9, 0.5, 0.5, 0.1]]), [[1, 2.5, 2.5, 4]])


def test_the_papers_own_example() -> None:
    """Mean ranks 3.143, 2.000, 2.893, 1.964 and a critical difference of 1.25 (there: 2.569 x
    sqrt(4 x 5 / (6 x 14)))."""
    found = ranking(DEMSAR)

    assert_allclose(found.means, [3.143, 2.000, 2.893, 1.964], atol=0.001)
    assert 1.25 == pytest.approx(found.critical, abs=0.006)
    assert found.p < 0.05
    assert 14 == found.blocks


def test_critical_values_of_the_paper() -> None:
    """Its table 5(a), for 2 to 10 classifiers at 5 %."""
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    q = [critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) for k in range(2, 11)]

    assert_allclose(q, table, atol=0.0011)


def test_friedman_agrees_with_scipy() -> None:
    """Ties among rounded accuracies included."""
    for blocks, arms in ((3, 3), (5, 4), (20, 7)):
        values = RNG.normal(size=(blocks, arms)).round(1)

        assert_allclose(friedman(values), stats.friedmanchisquare(*values.T).pvalue, rtol=1e-10)


def test_equal_arms_are_no_finding() -> None:
    """scipy says nan."""
    assert 1.0 == friedman(np.ones((4, 3)))


def test_groups_by_hand() -> None:
    """Ranks 1, 2, 2.5, 5 with a difference of 1.6: the first three, and the last alone."""
    assert [(0, 2, 1)] == Ranking((1.0, 2.5, 2.0, 5.0), 9, 0.001, 1.6).together
    assert [(0, 1), (1, 2), (3, 4)] == Ranking((1.0, 2, 3, 5, 6), 9, 0.001, 1.5).together
    assert [] == Ranking((1.0, 2.0), 9, 0.001, 0.5).together


def test_without_a_finding_nothing_is_separated() -> None:
    """Nemenyi's test is for what Friedman's has found."""
    assert [(1, 0, 2)] == Ranking((2.0, 1.0, 3.0), 2, 0.3, 0.1).together


def test_of_alike_arms_few_are_found() -> None:
    """At most 5 % of comparisons of equal arms, also with three seeds."""
    for blocks in (3, 5):
        found = [ranking(RNG.normal(size=(blocks, 4))) for _ in range(300)]

        assert sum(each.together != [tuple(np.argsort(each.means))] for each in found) < 0.08 * 300
