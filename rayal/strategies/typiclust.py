"""TypiClust: the most typical unit of each cluster that has no label yet.

Source: Hacohen et al., "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets"
(ICML 2022), Sec. 3.2; official code avihu111/TypiClust 4097a71, `typiclust.py`. For tens of labels
per cycle, from none on, and features of a self-supervised encoder.

1. k-means of labeled and unlabeled units into min(L + K, `max_clusters`) clusters; K is how many
   units the budget buys.
2. The next cluster has the fewest labels, of equals the most units. Picks count as labels.
3. Its unit of highest typicality is picked: the inverse of the mean distance to its
   min(20, half of the cluster) nearest neighbours, among units of the cluster not yet labeled.

Differences:
- Typicality is of Euclidean distances, as in the paper. In the official code they are squared, as
  its search index returns them, which ranks units otherwise: `distance: squared`.
- The official code goes round the clusters in the order that they have at first, whatever labels
  the picks bring; the two agree until every cluster without labels was picked from.
- Clusters below `min_cluster_size` are left out until no other has units left; the official code
  fails where all are that small.
- k-means runs in one thread, so that its result does not depend on their number.

Memory: the features of all units in float32, as k-means wants them.
"""

import heapq
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from rayal.selection.candidates import Candidates, spend
from rayal.selection.distances import BLOCK, Grid, Numbers, Rows, blocks, squared_distances
from rayal.selection.greedy import buy, tie_order
from rayal.strategies._features import OnFeatures


class Typiclust(OnFeatures):
    """Units in dense places of the feature space, from as many clusters as there are labels."""

    max_clusters: int = Field(default=500, ge=1)
    """Upper limit of the number of clusters."""
    min_cluster_size: int = Field(default=6, ge=1)
    """Units, labeled or not, that a cluster needs to be picked from."""
    neighbours: int = Field(default=20, ge=1)
    """Nearest units that typicality is about."""
    distance: Literal["euclidean", "squared"] = "euclidean"
    """What typicality takes the mean of: the paper's, or the official code's."""

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        order = tie_order(pool, rng)
        count = len(spend(pool, order, budget))
        if not count:
            return []
        points, labeled = self.rows(pool, order)
        rows = together(points, labeled)
        clusters = k_means(rows, min(len(labeled) + count, self.max_clusters), rng)
        picks = self._pick(rows[: len(order)], clusters[: len(order)], clusters[len(order) :])
        return pool.ids[buy(pool, (int(order[i]) for i in picks), budget)]

    def _pick(
        self, rows: Numbers, clusters: NDArray[np.intp], of_labeled: NDArray[np.intp]
    ) -> Iterator[int]:
        """All rows, best first; of equals the one that comes first."""
        grid = Grid.of(rows)
        left, queue = {}, []
        for cluster in np.unique(clusters):
            members = np.flatnonzero(clusters == cluster)
            labels = int((of_labeled == cluster).sum())
            size = len(members) + labels
            left[cluster] = members
            queue.append((size < self.min_cluster_size, labels, -size, members[0], cluster))
        heapq.heapify(queue)
        while queue:
            small, labels, size, first, cluster = heapq.heappop(queue)
            members = left[cluster]
            spread = mean_distances(rows[members], grid, self.neighbours, self.distance)
            pick = int(spread.argmin())
            yield int(members[pick])
            if len(members) > 1:
                left[cluster] = np.delete(members, pick)
                heapq.heappush(queue, (small, labels + 1, size, first, cluster))


def k_means(rows: NDArray[np.float32], clusters: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The cluster of each row, as the official code clusters: in mini-batches above 50 clusters."""
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


def together(*groups: Rows) -> NDArray[np.float32]:
    """The rows of all groups, one group after the other."""
    joined = np.empty((sum(map(len, groups)), groups[0].shape[1]), np.float32)
    filled = 0
    for part in chain.from_iterable(map(blocks, groups)):
        joined[filled : filled + len(part)] = part
        filled += len(part)
    return joined


def mean_distances(
    rows: Numbers, grid: Grid, neighbours: int, distance: Literal["euclidean", "squared"]
) -> NDArray[np.float64]:
    """N, the inverse of typicality: of each row the mean distance to its nearest others, in steps.

    The `neighbours` nearest, at most half of the rows; 0 for a single row.
    """
    x = grid.place(rows)
    count = min(neighbours, len(rows) // 2)
    if not count:
        return np.zeros(len(rows))
    parts = []
    for start in range(0, len(x), BLOCK):
        squared = squared_distances(x[start : start + BLOCK], x)
        nearest = squared.topk(count + 1, largest=False, sorted=True).values[:, 1:]  # not itself
        parts.append((nearest if distance == "squared" else nearest.sqrt()).mean(dim=1))
    return torch.cat(parts).numpy()
