import numpy as np
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from rayal.report.page.pool_map import pca


def test_pca_by_hand() -> None:
    """A map that is turned at every writing could not be compared with the last one."""
    features = np.array([[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]])

    assert_allclose(pca(features), [[0, 0], [5, 0], [-5, 0]], atol=1e-12)


def test_pca_agrees_with_scikit_learn() -> None:
    """But for the signs of its axes, which are ours."""
    features = np.random.default_rng(0).normal(size=(50, 7)) * np.arange(1, 8)
    ours, theirs = pca(features), PCA(2, svd_solver="full").fit_transform(features)

    assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)


def test_features_of_one_number() -> None:
    """A single feature has one direction."""
    assert (3, 2) == pca(np.array([[1.0], [2.0], [4.0]])).shape
