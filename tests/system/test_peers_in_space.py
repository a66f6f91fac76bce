"""What strategies that look at where features lie choose from a matrix, in a run on features, and
what other libraries choose from it, where these are installed: see `test_peers_on_features`.

N units, D features.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from rayal.strategies import typiclust
from rayal.strategies.badge import Gradients
from tests.support.bought import BOUGHT, CLASSES, INITIAL, UNITS, Bought, bought, corners

FEW = 4
"""Labels of either side of a batch with large clusters."""


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return corners(tmp_path_factory.mktemp("vectors"))


def test_core_set_is_that_of_scikit_activeml(vectors: dict[str, Any], tmp_path: Path) -> None:
    """The greedy cover would have other centres."""
    pool = pytest.importorskip("skactiveml.pool")
    ours = bought(vectors, tmp_path, "core_set")
    picked = pool.CoreSet(random_state=0).query(ours.features, ours.marked(), batch_size=BOUGHT)

    assert picked.tolist() == ours.chosen


def test_core_set_is_that_of_small_text(vectors: dict[str, Any], tmp_path: Path) -> None:
    """Another library's greedy cover would have other centres.

    Its own `query` takes places among the unlabeled units for rows of the matrix when it compares
    them with its picks, so a pick may not count as a centre: it agrees where the unlabeled units
    come first in the matrix.
    """
    cover = pytest.importorskip("small_text.query_strategies.coresets").greedy_coreset
    ours = bought(vectors, tmp_path, "core_set")
    rows = np.concatenate([ours.candidates, ours.labeled])
    free = len(ours.candidates)
    picked = cover(
        *(ours.features[rows], np.arange(free), np.arange(free, UNITS), BOUGHT),
        distance_metric="euclidean",
    )

    assert rows[picked].tolist() == ours.chosen


def test_badge_draws_by_the_distances_of_scikit_activeml(
    vectors: dict[str, Any], tmp_path: Path
) -> None:
    """Draws differ with their random numbers; what they are drawn by must not.

    There the origin is a centre from the second pick on, which it is neither in the paper nor in
    the official code: the least of both squared distances is compared.
    """
    pool = pytest.importorskip("skactiveml.pool")
    wrapped = pytest.importorskip("skactiveml.classifier").SklearnClassifier
    ours = bought(vectors, tmp_path, "badge")
    model = wrapped(LogisticRegression(), classes=list(range(CLASSES)), random_state=0)
    model.fit(ours.features, ours.marked())
    ((model.estimator_.coef_, model.estimator_.intercept_),) = ours.heads
    picked, drawn_by = pool.Badge(random_state=0).query(
        *(ours.features, ours.marked(), model),
        **{"fit_clf": False, "batch_size": 2, "return_utilities": True},
    )
    candidates = ours.candidates
    kept = ours.probs()[candidates].astype(np.float16), ours.features[candidates].astype(np.float16)
    first = np.flatnonzero(candidates == picked[0])
    gradients = Gradients(*kept)
    far = gradients.squared_distances(np.arange(len(candidates)), first)[:, 0]
    far = np.minimum(far, gradients.squared_norms)

    assert picked[0] == ours.chosen[0]
    expected = drawn_by[1][candidates]
    expected[first] = 0  # NaN there: taken
    np.testing.assert_allclose(far / far.sum(), expected, atol=1e-5)


class Given:
    """A clustering that is known."""

    def __init__(self, clusters: NDArray[np.intp], n_clusters: int) -> None:
        self.clusters = clusters

    def fit_predict(self, rows: Any) -> NDArray[np.intp]:
        return self.clusters


def clustered(
    monkeypatch: pytest.MonkeyPatch,
    vectors: dict[str, Any],
    out: Path,
    options: dict[str, int],
    **fields: Any,
) -> tuple[Bought, NDArray[np.intp], dict[int, int]]:
    """One selection of TypiClust, the clusters of all units, N, and of each cluster the first of
    its candidates in the seeded order."""
    seen = []
    k_means = typiclust.official_k_means

    def kept(*arguments: Any) -> NDArray[np.intp]:
        seen.append((arguments[0], k_means(*arguments)))
        return seen[-1][1]

    monkeypatch.setattr(typiclust, "official_k_means", kept)
    ours = bought(vectors, out, {"name": "typiclust", **options}, **fields)
    ((rows, labels),) = seen
    places = (rows.astype(np.float64) @ ours.unit_length.T).argmax(axis=1)  # of unit length
    assert sorted(places) == list(range(UNITS))
    clusters = np.empty(UNITS, np.intp)
    clusters[places] = labels
    known = {*ours.labeled}
    free = [int(clusters[place]) for place in places if place not in known]
    return ours, clusters, {cluster: free.index(cluster) for cluster in free}


def test_the_most_typical_are_those_of_scikit_activeml(
    monkeypatch: pytest.MonkeyPatch, vectors: dict[str, Any], tmp_path: Path
) -> None:
    """Other clusters would be picked from, or other units of them.

    k-means starts from other random numbers there, so the clusters are handed over, as many on both
    sides. Three rules differ. (1) It takes 5 neighbours or all of the cluster; here 20 or half of
    it, as the official code does: their number is handed over. (2) Of clusters of equal size it
    draws one; here it is the first in the seeded order: the others join a covered one. Of equal
    units, as are each other's only neighbours, it draws one, too: any of them will do. (3) It picks
    from clusters of any size: `min_cluster_size` 1.
    """
    pool = pytest.importorskip("skactiveml.pool")
    ours, clusters, first = clustered(monkeypatch, vectors, tmp_path, {"min_cluster_size": 1})
    sizes = np.bincount(clusters)
    assert len(sizes) == INITIAL + BOUGHT
    for number, pick in enumerate(ours.chosen):
        known = ours.labeled + ours.chosen[:number]
        open_ = np.setdiff1d(clusters, clusters[known])
        if not len(open_):
            break  # there it goes on with any units, here with clusters of the fewest labels
        equal = open_[sizes[open_] == sizes[open_].max()]
        assert clusters[pick] == min(equal, key=first.__getitem__)
        others = np.setdiff1d(equal, clusters[pick])
        shown = np.where(np.isin(clusters, others), clusters[ours.labeled[0]], clusters)
        theirs = pool.TypiClust(
            cluster_algo=Given,
            cluster_algo_dict={"clusters": shown},
            k=max(1, min(20, int(sizes[clusters[pick]]) // 2)),
        )
        labels = ours.marked(*ours.chosen[:number])
        batch = {"batch_size": len(sizes) - len(known), "return_utilities": True}
        _, values = theirs.query(ours.unit_length, labels, **batch)
        assert values[0][pick] == pytest.approx(np.nanmax(values[0]), rel=1e-9)
    assert number >= BOUGHT - 1


def test_a_whole_batch_is_that_of_scikit_activeml_where_clusters_are_large(
    monkeypatch: pytest.MonkeyPatch, vectors: dict[str, Any], tmp_path: Path
) -> None:
    """Picks would differ although no rule does: 5 neighbours, in clusters of ten and more units of
    which no two are of equal size."""
    pool = pytest.importorskip("skactiveml.pool")
    budget = {"initial": FEW, "per_cycle": FEW, "total": 2 * FEW}
    strategy = {"neighbours": 5}
    ours, clusters, _ = clustered(monkeypatch, vectors, tmp_path, strategy, budget=budget)
    open_ = np.setdiff1d(clusters, clusters[ours.labeled])
    largest = np.sort(np.bincount(clusters)[open_])[-FEW - 1 :]
    assert largest[-FEW] >= 10 and (np.diff(largest) > 0).all()
    theirs = pool.TypiClust(cluster_algo=Given, cluster_algo_dict={"clusters": clusters})
    picked = theirs.query(ours.unit_length, ours.marked(), batch_size=FEW)

    assert picked.tolist() == ours.chosen


@pytest.mark.filterwarnings("ignore:The maximum purity")  # of one radius it is -1
@pytest.mark.parametrize("radius", [0.3, 0.75, None], ids=["small", "usual", "theirs"])
def test_balls_cover_as_those_of_scikit_activeml(
    vectors: dict[str, Any], tmp_path: Path, radius: float | None
) -> None:
    """Units would be picked that cover fewer others, in the same balls.

    Where several cover as many, it draws one, and here the first in the seeded order is taken: each
    pick has to be one of these. Its radius comes from a clustering, here it is an option: given its
    own, all is the same.
    """
    pool = pytest.importorskip("skactiveml.pool")
    points = np.load(Path(vectors["root"]) / "pool.npz")["features"].astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    if radius is None:
        chosen = pool.ProbCover(n_classes=2, deltas=np.arange(0.05, 2, 0.05), random_state=0)
        chosen.query(points, np.full(UNITS, np.nan))
        radius = float(chosen.delta_max_)
    ours = bought(vectors, tmp_path, {"name": "prob_cover", "radius": radius})
    covered = []
    for number, pick in enumerate(ours.chosen):
        labels = ours.marked(*ours.chosen[:number])
        theirs = pool.ProbCover(deltas=[radius], random_state=0)
        _, gains = theirs.query(ours.unit_length, labels, return_utilities=True)
        assert gains[0][pick] == np.nanmax(gains[0])
        covered.append(int(gains[0][pick]))

    assert covered[0] > 0 and all(more >= less for more, less in pairwise(covered))
