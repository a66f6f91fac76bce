"""The pairwise penalty matrix: by hand, and against scipy's paired test in a plain loop."""

import numpy as np
from numpy.testing import assert_array_equal
from scipy import stats

from rayal.report.penalties import added, beats, losses, penalties

RNG = np.random.default_rng(0)


def test_five_seeds_need_2_776() -> None:
    """The paper's critical value, from both sides of it: t = mean sqrt(5) / deviation."""
    spread = np.array([-2.0, -1, 0, 1, 2])
    for t, said in ((2.77, 0), (2.78, 1), (-2.77, 0), (-2.78, -1)):
        a = spread + t * spread.std(ddof=1) / np.sqrt(5)

        assert [said] == beats(a[:, None], np.zeros((5, 1))).tolist()


def test_agrees_with_scipy() -> None:
    """Seed by seed, label count by label count."""
    for seeds in (2, 3, 5, 10):
        a, b = RNG.normal(size=(2, seeds, 40))
        a[:, ::4] += 2
        expected = []
        for at in range(40):
            test = stats.ttest_rel(a[:, at], b[:, at])
            expected.append(int(np.sign(test.statistic)) if test.pvalue < 0.05 else 0)

        assert expected == beats(a, b).tolist()
        assert [-each for each in expected] == beats(b, a).tolist()


def test_differences_without_spread() -> None:
    """The first model is the same for all: no one beats another there; 0 / 0 would say anything."""
    same = np.full((3, 2), 0.5)

    assert [0, 1] == beats(same + [0, 0.25], same).tolist()


def test_matrix_by_hand() -> None:
    """The first beats the second at 2 of 4 counts and is beaten at 1; the third was not compared
    with the first."""
    matrix = penalties({(0, 1): [1, 1, 0, -1], (1, 2): [0, 0, -1, 0]}, 3)
    nan = np.nan

    assert_array_equal(matrix, [[nan, 0.5, nan], [0.25, nan, 0.0], [nan, 0.25, nan]])
    assert_array_equal(losses(matrix), [0.25, 0.375, 0.0])


def test_settings_add_up() -> None:
    """Each weighs 1, however many label counts it has; where one is unknown the others count."""
    one = penalties({(0, 1): [1, 0]}, 2)
    two = added([one, penalties({(0, 1): [1]}, 2), penalties({}, 2)])

    assert_array_equal(two, [[np.nan, 1.5], [0.0, np.nan]])
    assert np.isnan(losses(penalties({}, 2))).all()


def test_equal_arms_rarely_beat_each_other() -> None:
    """Where there is nothing a cell holds about 2.5 %: what a reader has to subtract in mind."""
    a, b = RNG.normal(size=(2, 5, 20_000))
    cells = penalties({(0, 1): beats(a, b).tolist()}, 2)

    assert_array_equal(np.abs(cells[[0, 1], [1, 0]] - 0.025) < 0.005, True)
