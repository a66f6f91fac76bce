"""k-means over a divided pool: as good as scikit-learn's, and the same however it is divided."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from rayal.selection.distances import Grid
from rayal.selection.holders import Dealt
from rayal.strategies import _k_means
from rayal.strategies._features import Space
from rayal.strategies._k_means import ClusterHolder, exact_k_means, step


def space(rows: np.ndarray, labeled: np.ndarray, count: int) -> Space:
    holders = Dealt({"features": rows}, count).holders(np.arange(len(rows)), ClusterHolder, False)
    return Space(holders, labeled, Grid.of(rows, labeled))


def mixture(units: int, blobs: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((blobs, 8))
    rows = centres[rng.integers(0, blobs, units)] + rng.standard_normal((units, 8))
    return rows.astype(np.float16)


def inertia(rows: np.ndarray, clusters: np.ndarray) -> float:
    rows = rows.astype(np.float64)
    inside = [rows[clusters == cluster] for cluster in np.unique(clusters)]
    return float(sum(np.square(each - each.mean(axis=0)).sum() for each in inside))


def test_hand_case() -> None:
    """0, 1 and 10, 12: each two are a cluster, whose sums and numbers a step gives."""
    rows = np.array([[0], [1], [10], [12]], np.float16)
    grid = Grid.of(rows)
    placed = grid.place(np.array([[0.0], [11.0]])).numpy()
    sums, counts = step(rows, grid, placed)
    clusters, labeled = exact_k_means(space(rows, rows[:1], 2), 2, np.random.default_rng(0))

    assert [[1.0], [22.0]] == (sums * grid.step).tolist() and [2, 2] == counts.tolist()
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3] and [clusters[0]] == labeled


@pytest.mark.parametrize("clusters", [4, 30])
@pytest.mark.parametrize("sample", [300, 15_000])
def test_as_good_as_scikit_learn(clusters: int, sample: int, monkeypatch) -> None:
    """Clusters that leave much more within them would be other clusters."""
    monkeypatch.setattr(_k_means, "SAMPLE", sample)
    rows = mixture(4000, 30, clusters)
    ours, _ = exact_k_means(space(rows, rows[:0], 3), clusters, np.random.default_rng(0))
    theirs = KMeans(clusters, n_init=10, random_state=0).fit(rows.astype(np.float32)).inertia_

    assert inertia(rows, ours) < 1.05 * theirs
    assert clusters == len(np.unique(ours))


def test_more_clusters_than_different_units() -> None:
    """A centre without a unit would divide by none."""
    rows = np.repeat(mixture(3, 3, 0), 4, axis=0)
    found = [exact_k_means(space(rows, rows[:2], n), 9, np.random.default_rng(1)) for n in (1, 5)]

    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert 3 == len(np.unique(found[0][0]))
