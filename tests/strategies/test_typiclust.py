"""TypiClust on blobs made by hand, and its parts against plain loops."""

import numpy as np
import pytest
import sklearn.cluster
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_info, threadpool_limits

from rayal.selection.candidates import Candidates
from rayal.selection.distances import Grid
from rayal.selection.holders import Dealt, Holders
from rayal.storage.ids import Ids
from rayal.strategies import typiclust
from rayal.strategies._k_means import official_k_means
from rayal.strategies.typiclust import Dense, Typiclust, mean_distances
from tests.support.doubles import priced


def pool_of(
    features: np.ndarray, labeled: np.ndarray | None = None, costs: np.ndarray | None = None
) -> Candidates:
    labeled = features[:0] if labeled is None else labeled
    ids = Ids([f"unit-{i}" for i in range(len(features))])
    labeled_ids = Ids([f"labeled-{i}" for i in range(len(labeled))])
    costs = np.ones(len(features)) if costs is None else costs
    return Candidates(
        ids, None, priced(ids, costs), {"features": features}, labeled_ids, {"features": labeled}
    )


def held(rows: np.ndarray, count: int = 1) -> Holders:
    """Rows that are dealt to so many holders, by place in their own order."""
    return Dealt({"features": rows}, count).holders(np.arange(len(rows)), Dense, False)


def select(pool: Candidates, budget: float, seed: int = 0, **fields) -> list[int]:
    strategy = Typiclust(**{"normalise": False, "neighbours": 2, **fields})
    return pool.places(strategy.select(pool, budget, np.random.default_rng(seed))).tolist()


def blobs(*sizes: int) -> tuple[np.ndarray, list[int]]:
    """Lines that thin out from their middles, far apart, and the row of each middle."""
    away = np.array([0, 1, -1, 3, -3, 6, -6, 10, -10, 15, -15, 21, -21, 28, -28])
    rows = [(400 * blob, step) for blob, size in enumerate(sizes) for step in away[:size]]
    return np.array(rows).astype(np.float16), [sum(sizes[:blob]) for blob in range(len(sizes))]


def test_picks_the_middle_of_each_blob_the_largest_first():
    """The outskirts of a cluster would be labeled, or one cluster twice."""
    values, middles = blobs(9, 12, 15, 10)

    assert select(pool_of(values), 4) == [middles[2], middles[1], middles[3], middles[0]]


def test_labeled_blobs_come_after_the_others():
    """Labels would be bought where there are some."""
    values, middles = blobs(9, 12, 15, 10)
    labeled = values[[middles[2] + 1, middles[0] + 1]]  # of the largest and the smallest
    picks = select(pool_of(values, labeled), 2, max_clusters=4)

    assert picks == [middles[1], middles[3]]


def test_picks_count_as_labels():
    """One blob would be picked from again before a blob with as few labels."""
    values, middles = blobs(9, 12)
    labeled = values[[1, 2]]  # two labels in the first blob
    picks = select(pool_of(values, labeled), 5, max_clusters=2)

    assert [pick >= middles[1] for pick in picks] == [True, True, True, False, True]


def official(clusters: np.ndarray, of_labeled: np.ndarray, count: int) -> list[int]:
    """The clusters that the official code visits: sorted once, then round and round."""
    found, sizes = np.unique(np.concatenate([clusters, of_labeled]), return_counts=True)
    labels = [(of_labeled == cluster).sum() for cluster in found]
    order = found[np.lexsort((-sizes, labels))]
    return [int(order[i % len(order)]) for i in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_visits_clusters_as_the_official_code_until_all_have_a_label(seed):
    """The header would claim an agreement that nobody looked at: afterwards a cluster with two
    labels waits here for those with one, and there it does not."""
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(np.arange(12, 24))  # all different: no ties
    clusters = np.repeat(np.arange(12), sizes)
    of_labeled = np.repeat([2, 5, 7], [1, 2, 3])
    rows = rng.standard_normal((len(clusters), 3)).astype(np.float32)
    picks = Typiclust()._pick(held(rows), Grid.of(rows), clusters, of_labeled)
    ours = clusters[list(picks)[:24]].tolist()
    theirs = official(clusters, of_labeled, 24)

    assert ours[:9] == theirs[:9]  # the clusters without labels
    assert ours != theirs


def test_small_clusters_are_left_out_while_others_have_units():
    """Outliers would be labeled first: each is a cluster of its own that has no label."""
    values, middles = blobs(9, 12)
    outliers = np.array([[600, 1600], [-600, 1900]], dtype=np.float16)
    pool = pool_of(np.vstack([values, outliers]))

    picks = select(pool, 23, max_clusters=4)
    assert picks[:2] == [middles[1], middles[0]]
    assert set(picks[21:]) == {21, 22}
    assert set(select(pool, 4, max_clusters=4, min_cluster_size=1)) >= {21, 22}


def test_takes_every_unit_of_a_pool_of_small_clusters():
    """The official code divides by zero clusters; more clusters than units would stop k-means."""
    values = np.repeat(np.random.default_rng(0).standard_normal((3, 2)) * 50, 3, axis=0)
    pool = pool_of(values.astype(np.float16))

    assert sorted(select(pool, 20)) == list(range(9))
    assert select(pool_of(values[:1].astype(np.float16)), 3) == [0]


@pytest.mark.parametrize("n", [1, 2, 3, 9, 60])
@pytest.mark.parametrize("kind", ["euclidean", "squared"])
def test_mean_distances_agree_with_a_loop(n, kind, monkeypatch):
    """A unit would count as its own neighbour, or a block lose its last rows."""
    monkeypatch.setattr(typiclust, "BLOCK", 7)
    values = np.random.default_rng(n).standard_normal((n, 5)).astype(np.float16)
    grid, count = Grid.of(values), min(20, n // 2)
    between = cdist(values, values, "euclidean" if kind == "euclidean" else "sqeuclidean")
    nearest = [np.sort(np.delete(row, i))[:count] for i, row in enumerate(between)]
    expected = [sum(each) / max(count, 1) for each in nearest]
    scale = grid.step if kind == "euclidean" else grid.step**2

    np.testing.assert_allclose(
        mean_distances(held(values), grid, np.arange(n), 20, kind) * scale,
        expected,
        rtol=1e-4,
        atol=1e-12,
    )


def test_squared_distances_prefer_other_units():
    """The option would be dead: one near and one far neighbour against two in between."""
    values = np.array([[0], [1], [8], [100], [104.75], [109.5]], dtype=np.float16)
    grid = Grid.of(values)

    # of the two nearest: 0 has 1, 8 (mean 4.5, squares 32.5); 104.75 has 4.75 twice (22.6)
    holders, every = held(values), np.arange(6)
    plain = mean_distances(holders, grid, every, 2, "euclidean")
    squared = mean_distances(holders, grid, every, 2, "squared")
    assert plain[1] < plain[4] and squared[1] > squared[4]


@pytest.mark.parametrize(("clusters", "kind"), [(20, "KMeans"), (60, "MiniBatchKMeans")])
def test_k_means_runs_in_one_thread(clusters, kind, monkeypatch):
    """Threads add up in the order in which they finish: the picks would differ between runs."""
    method, seen = getattr(sklearn.cluster, kind), []
    fit_predict = method.fit_predict

    def watched(self, rows):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return fit_predict(self, rows)

    monkeypatch.setattr(method, "fit_predict", watched)
    values = np.random.default_rng(1).standard_normal((300, 4)).astype(np.float32)
    with threadpool_limits(2):
        labels = official_k_means(values, clusters, np.random.default_rng(0))

    assert set(seen) == {1}
    assert labels.shape == (300,) and labels.max() < clusters


def test_more_than_fifty_clusters_go_in_mini_batches():
    """The other branch of the clustering would crash in the first large run."""
    values, _ = blobs(*[8] * 60)
    pool = pool_of(values)
    picks = select(pool, 60)

    assert picks == select(pool, 60) and len(set(picks)) == 60
    assert len({pick // 8 for pick in picks}) > 45


def test_does_not_depend_on_the_order_of_the_pool():
    """Another number of shards would select other units."""
    values = np.random.default_rng(2).standard_normal((80, 4)).astype(np.float16)
    pool, back = pool_of(values), np.random.default_rng(3).permutation(80)
    shuffled = Candidates(pool.ids[back], None, pool.price, {"features": values[back]})

    assert list(pool.ids[select(pool, 20)]) == list(shuffled.ids[select(shuffled, 20)])


def test_features_come_from_a_file(tmp_path):
    """The features of the model would be used although others were given."""
    values, middles = blobs(9, 12)
    path = tmp_path / "simclr.npz"
    np.savez(path, ids=np.array([f"unit-{i}" for i in range(21)]), features=values)
    named = pool_of(np.zeros((21, 2), np.float16))
    pool = Candidates(named.ids, None, named.price)

    assert Typiclust(features=str(path)).kept() == frozenset()
    assert Typiclust().kept() == {"features"}
    assert select(pool, 2, features=str(path)) == [middles[1], middles[0]]


def test_stops_at_the_first_pick_that_the_budget_does_not_buy():
    """A budget in clicks would be overspent."""
    values, middles = blobs(9, 12)
    costs = np.ones(21)
    costs[middles[1]], costs[middles[0]] = 1.5, 3.0

    assert select(pool_of(values, None, costs), 2.0, max_clusters=2) == [middles[1]]
    assert select(pool_of(values, None, costs), 0.5) == []


def test_runs_from_before_there_was_a_choice_are_continued():
    """A new option that is left at its default would be a difference from what is recorded."""
    assert "clustering" not in Typiclust().model_dump(mode="json")
    exact = Typiclust(clustering="exact").model_dump(mode="json")
    assert {"name": "typiclust", "clustering": "exact"}.items() <= exact.items()
    assert Typiclust().model_dump() | {"clustering": "exact"} == exact
    assert not Typiclust().asks_holders() and Typiclust(clustering="exact").asks_holders()
    assert not Typiclust(clustering="exact", features="/x.npz").asks_holders()
