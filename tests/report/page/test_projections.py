import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from rayal.report.page import projections
from rayal.report.page.projections import NEIGHBOURS, pca, projected, umap

RNG = np.random.default_rng(0)


def test_pca_by_hand() -> None:
    """A map that is turned at every writing could not be compared with the last one."""
    features = np.array([[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]])

    assert_allclose(pca(features), [[0, 0], [5, 0], [-5, 0]], atol=1e-12)


def test_pca_agrees_with_scikit_learn() -> None:
    """But for the signs of its axes, which are ours."""
    features = RNG.normal(size=(50, 7)) * np.arange(1, 8)
    ours, theirs = pca(features), PCA(2, svd_solver="full").fit_transform(features)

    assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)


def test_what_was_bought_does_not_turn_the_map() -> None:
    """Maps of two strategies on the same features could not be compared: what a strategy buys is
    far out, and would draw the axes to it. By hand: the sample lies along the first number."""
    sample = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    bought = np.array([[0.0, 50], [0, -50]])
    of = np.array([True] * 4 + [False] * 2)
    found = projected(np.concatenate([sample, bought]), "pca", of)

    assert_allclose(found.places, np.concatenate([sample, bought]), atol=1e-12)
    assert "90 %" in found.axes[0]


def test_features_of_one_number() -> None:
    """A single feature has one direction."""
    assert (3, 2) == pca(np.array([[1.0], [2.0], [4.0]])).shape


def test_axes_say_how_much_they_show() -> None:
    """A map of a twentieth of the variance would be read as one of all. By hand: deviations 3 and 1
    along two axes, variances 9 and 1 of 10."""
    found = projected(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]]), "pca")

    assert ("First principal component, 90 % of the variance", "Second, 10 %") == found.axes
    assert "" == found.note


def test_equal_features() -> None:
    """No variance has no shares."""
    assert "0 %" in projected(np.ones((3, 2)), "pca").axes[0]


def test_without_umap_it_is_pca_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """PCA would pass for what was asked."""
    monkeypatch.setattr(projections, "find_spec", lambda name: None)
    found = projected(RNG.normal(size=(20, 3)), "umap")

    assert ("PCA", "UMAP needs a package: pip install umap-learn; this is PCA.") == (
        found.name,
        found.note,
    )


@pytest.mark.parametrize("units", [3, NEIGHBOURS])
def test_too_few_units_for_neighbours(units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP would end in an error of its own on a pool of a handful."""
    monkeypatch.setattr(projections, "find_spec", lambda name: object())
    found = projected(RNG.normal(size=(units, 3)), "umap")

    assert "PCA" == found.name and "more than 15 units" in found.note


class _Umap:
    """Takes the arguments of umap-learn's, and finds no place for the first unit."""

    def __init__(self, *, n_neighbors: int, random_state: int, n_jobs: int) -> None:
        assert (15, 0, 1) == (n_neighbors, random_state, n_jobs)

    def fit_transform(self, features: np.ndarray) -> np.ndarray:
        placed = np.array(features[:, :2], np.float32)
        placed[0] = np.nan
        return placed


def test_units_without_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN is no JSON: the page would not be written."""
    package = ModuleType("umap")
    package.UMAP = _Umap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", package)
    monkeypatch.setattr(projections, "find_spec", lambda name: object())
    found = projected(RNG.normal(size=(20, 3)), "umap")

    assert "PCA" == found.name and "found no place" in found.note


@pytest.mark.skipif(find_spec("umap") is None, reason="no umap-learn here")
def test_umap_is_the_same_again_and_keeps_clusters_apart() -> None:
    """Two pages of one run would show two pools."""
    features = RNG.normal(size=(60, 8)) + 20 * (np.arange(60) < 30)[:, None]
    found = projected(features, "umap")
    left, right = found.places[:30], found.places[30:]
    apart = np.linalg.norm(left.mean(axis=0) - right.mean(axis=0))

    assert ("UMAP", "") == (found.name, found.note)
    assert_array_equal(found.places, umap(features))
    assert apart > 2 * max(left.std(), right.std())
