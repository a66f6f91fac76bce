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
- `clustering: exact` is Lloyd's algorithm on all units (see `_k_means`), where the official code
  takes scikit-learn's, above 50 clusters in mini-batches. Clusters and picks are others than those
  of `official`, and the same on one machine and on many.

Memory: with `official` the features of all units in float32, as scikit-learn wants them; with
`exact` none beside the features, which may be divided among machines. A pick takes the features of
its cluster to every machine.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_serializer

from rayal.selection.candidates import Candidates, spend
from rayal.selection.distances import BLOCK, Grid, Numbers, squared_distances
from rayal.selection.greedy import buy, tie_order
from rayal.selection.holders import Holders, Places
from rayal.storage.folder import Json
from rayal.strategies._features import OnFeatures, Space
from rayal.strategies._k_means import ClusterHolder, exact_k_means, official_k_means

Kind = Literal["euclidean", "squared"]


class Typiclust(OnFeatures):
    """Units in dense places of the feature space, from as many clusters as there are labels."""

    max_clusters: int = Field(default=500, ge=1)
    """Upper limit of the number of clusters."""
    min_cluster_size: int = Field(default=6, ge=1)
    """Units, labeled or not, that a cluster needs to be picked from."""
    neighbours: int = Field(default=20, ge=1)
    """Nearest units that typicality is about."""
    distance: Kind = "euclidean"
    """What typicality takes the mean of: the paper's, or the official code's."""
    clustering: Literal["official", "exact"] = "official"
    """Which k-means: `official`, scikit-learn's in one process, as the official code has it;
    `exact`: all units in every step, also those of a pool that no machine holds."""

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> Json:
        """Runs that were begun before there was a choice are continued."""
        written: Json = super()._with_name(handler)
        if written.get("clustering") == "official":
            del written["clustering"]
        return written

    def asks_holders(self) -> bool:
        return super().asks_holders() and self.clustering == "exact"

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        order = tie_order(pool, rng)
        count = len(spend(pool, order, budget))
        if not count:
            return []
        space = self.space(pool, order, Dense)
        clusters: NDArray[np.integer]
        of_labeled: NDArray[np.integer]
        wanted = min(len(space.labeled) + count, self.max_clusters)
        if self.clustering == "exact":
            clusters, of_labeled = exact_k_means(space, wanted, rng)
        else:
            every = official_k_means(together(space), wanted, rng)
            clusters, of_labeled = np.split(every, [len(order)])
        picks = self._pick(space.holders, space.grid, clusters, of_labeled)
        return pool.ids[buy(pool, (int(order[place]) for place in picks), budget)]

    def _pick(
        self,
        holders: Holders,
        grid: Grid,
        clusters: NDArray[np.integer],
        of_labeled: NDArray[np.integer],
    ) -> Iterator[int]:
        """All places, best first; of equals the one that comes first."""
        left, queue, known = {}, [], iter([*holders.progress.picks])
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
            place = next(known, None)
            if place is None:
                spread = mean_distances(holders, grid, members, self.neighbours, self.distance)
                place = int(members[spread.argmin()])
                yield place
                holders.progress.add([place])
            else:
                yield place
            if len(members) > 1:
                left[cluster] = members[members != place]
                heapq.heappush(queue, (small, labels + 1, size, first, cluster))


class Dense(ClusterHolder):
    """Units that have near neighbours, or not."""

    def nearest(
        self, grid: Grid, rows: Numbers, count: int, mine: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """The `count` least squared distances, ascending, from some of these rows, `mine`, to all
        of them."""
        x, parts = grid.place(rows), []
        for start in range(0, len(mine), BLOCK):
            squared = squared_distances(x[mine[start : start + BLOCK]], x)
            parts.append(squared.topk(count, largest=False, sorted=True).values)
        return torch.cat(parts).numpy()


def together(space: Space) -> NDArray[np.float32]:
    """The rows of all units by place, then those of the labeled ones."""
    size = space.holders.size
    joined = np.empty((size + len(space.labeled), space.labeled.shape[1]), np.float32)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        joined[start:stop] = space.holders.gather(np.arange(start, stop))
    joined[size:] = space.labeled[:]
    return joined


def mean_distances(
    holders: Holders, grid: Grid, members: Places, neighbours: int, distance: Kind
) -> NDArray[np.float64]:
    """The inverse of typicality: of each of these units the mean distance to its nearest others
    among them, in steps.

    The `neighbours` nearest, at most half of the units; 0 for a single one.
    """
    count = min(neighbours, len(members) // 2)
    if not count:
        return np.zeros(len(members))
    rows, at = holders.gather(members), holders.of(members)
    own = {holder: (mine,) for holder, mine in at.items()}
    squared = np.empty((len(members), count + 1))
    found = holders.ask_each("nearest", grid, rows, count + 1, own=own)
    for mine, answer in zip(at.values(), found, strict=True):
        squared[mine] = answer
    means = []
    for start in range(0, len(members), BLOCK):
        nearest = torch.from_numpy(squared[start : start + BLOCK])[:, 1:]  # not itself
        means.append((nearest if distance == "squared" else nearest.sqrt()).mean(dim=1))
    return torch.cat(means).numpy()
