"""k-means: scikit-learn's over rows in this process, and one that is exact over a divided pool.

N units of the pool, n of a holder, L labeled, D features, K clusters.
"""

import warnings
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.selection.distances import Grid, Rows, blocks, squared_distances
from rayal.strategies._features import FeatureHolder, Space

SAMPLE = 15_000
"""Units, or three for each cluster if that is more, in which the first centres are found."""
MOST_STEPS = 100
"""After which the centres may still move."""


def official_k_means(
    rows: NDArray[np.float32], clusters: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """The cluster of each row, as TypiClust's code clusters: in mini-batches above 50 clusters."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    clusters, seed = min(clusters, len(rows)), int(rng.integers(2**31))
    if clusters <= 50:
        method = KMeans(clusters, n_init=10, random_state=seed)
    else:
        method = MiniBatchKMeans(clusters, n_init=3, batch_size=5000, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        labels: NDArray[np.intp] = method.fit_predict(rows)
    return labels


class ClusterHolder(FeatureHolder):
    """Units that are nearer to one centre or another. It remembers nothing between two calls."""

    unit_bytes: ClassVar[int] = 16  # place, cluster

    def step(
        self, grid: Grid, centres: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Of the units nearest to each centre, K x D, the sum, K x D, in steps, and number."""
        return step(self.points, grid, centres)

    def clusters(self, grid: Grid, centres: NDArray[np.float64]) -> NDArray[np.int32]:
        """n, the number of the nearest centre."""
        return clusters_of(self.points, grid, centres)


def exact_k_means(
    space: Space, clusters: int, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The clusters of the pool's units, by place, and of the labeled ones.

    Lloyd's algorithm with whole numbers. Centres are rounded to the grid, so distances to them are
    exact, as are sums of units: however the pool is divided, the clusters are the same. The first
    centres are the best of scikit-learn's in a random sample. At most MOST_STEPS steps.

    Differences from scikit-learn: it stops when no centre moves, not when they move little; a
    centre that has no unit stays where it is.
    """
    holders, grid, progress = space.holders, space.grid, space.holders.progress
    clusters = min(clusters, holders.size + len(space.labeled))
    first = _first_centres(space, clusters, rng)  # drawn in any case: what is drawn later follows
    centres = np.array(progress.state.get("centres", first))
    for number in range(progress.state.get("steps", 0), MOST_STEPS):
        found = [*holders.ask("step", grid, centres), step(space.labeled, grid, centres)]
        counts = sum(count for _, count in found)
        total = sum(sums.astype(np.int64) for sums, _ in found)
        before, there = centres, counts > 0
        centres = before.copy()
        centres[there] = np.round(total[there] / counts[there, None])
        if (centres == before).all():
            break
        progress.keep(centres=centres.tolist(), steps=number + 1)
    of_pool = holders.whole(holders.ask("clusters", grid, centres))
    return of_pool, clusters_of(space.labeled, grid, centres)


def _first_centres(space: Space, clusters: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """K x D, on the grid."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    size = space.holders.size
    every = size + len(space.labeled)
    sample = np.sort(rng.choice(every, min(every, max(SAMPLE, 3 * clusters)), replace=False))
    of_pool = space.holders.gather(sample[sample < size])
    rows = np.concatenate([of_pool, space.labeled[sample[sample >= size] - size]])
    method = KMeans(clusters, n_init=3, random_state=int(rng.integers(2**31)))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        method.fit(rows.astype(np.float32))
    placed: NDArray[np.float64] = space.grid.place(method.cluster_centers_).numpy()
    return placed


def step(
    points: Rows, grid: Grid, centres: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """As of a holder, of these points."""
    sums = torch.zeros(centres.shape, dtype=torch.float64)  # exact for 2^29 units
    counts = torch.zeros(len(centres), dtype=torch.int64)
    for x, nearest in _assigned(points, grid, centres):
        sums.index_add_(0, nearest, x)
        counts += torch.bincount(nearest, minlength=len(centres))
    return sums.numpy(), counts.numpy()


def _assigned(
    points: Rows, grid: Grid, centres: NDArray[np.float64]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Block by block the points in steps, and the number of the centre nearest to each."""
    y = torch.from_numpy(centres.copy())  # what is sent to a process cannot be written to
    for rows in blocks(points):
        x = grid.place(rows)
        yield x, squared_distances(x, y).argmin(dim=1)


def clusters_of(points: Rows, grid: Grid, centres: NDArray[np.float64]) -> NDArray[np.int32]:
    """The number of the centre nearest to each point, of equals the lowest."""
    parts = [nearest.int().numpy() for _, nearest in _assigned(points, grid, centres)]
    return np.concatenate([np.empty(0, np.int32), *parts])
