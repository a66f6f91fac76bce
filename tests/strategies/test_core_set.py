"""Core-set against the definition of k-center greedy, computed in whole numbers."""

from itertools import combinations

import numpy as np
import pytest

from rayal.errors import DataError
from rayal.selection.candidates import Candidates
from rayal.selection.distances import Grid
from rayal.selection.holders import Dealt
from rayal.storage.ids import Ids
from rayal.strategies import core_set
from rayal.strategies._features import Space
from rayal.strategies.core_set import Bounds, CoreSet, farthest_first
from tests.support.doubles import priced


def pool_of(
    features: np.ndarray, labeled: np.ndarray, costs: np.ndarray | None = None
) -> Candidates:
    ids = Ids([f"unit-{i}" for i in range(len(features))])
    labeled_ids = Ids([f"labeled-{i}" for i in range(len(labeled))])
    costs = np.ones(len(features)) if costs is None else costs
    return Candidates(
        ids, None, priced(ids, costs), {"features": features}, labeled_ids, {"features": labeled}
    )


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float16)[:, None]


def select(pool: Candidates, budget: float, seed: int = 0, **fields) -> list[int]:
    return pool.places(CoreSet(**fields).select(pool, budget, np.random.default_rng(seed))).tolist()


def test_hand_case():
    """0 is labeled: 11 is farthest, then 4 is 4 from 0, then 1 is 1 from 0 and 10 is 1 from 11."""
    pool = pool_of(column(1, 4, 10, 11), column(0))
    thirds = {select(pool, 3, seed)[2] for seed in range(20)}

    assert select(pool, 2) == [3, 1]
    assert thirds == {0, 2}  # a tie, which the seed breaks


def test_a_unit_far_out_is_named_and_normalising_is_a_way_out():
    """Picks among all the others would be up to the rounding that it forces on them."""
    features = random(np.random.default_rng(0), 40).astype(np.float16)
    features[11, 0] = 6e4
    pool = pool_of(features, features[:0])

    with pytest.raises(DataError, match="unit 'unit-11' reach 6e.04.*normalise: true"):
        select(pool, 3)
    assert 3 == len(select(pool, 3, normalise=True))


@pytest.mark.parametrize("width", [16, 512])
def test_a_unit_farther_out_than_others_leaves_the_picks_to_plain_arithmetic(width):
    """How much larger a unit may be before it is refused would be a matter of taste."""
    x = np.random.default_rng(0).standard_normal((300, width)).astype(np.float16)
    x[0, 0] = 60 * np.abs(x).max()
    wide, plain = x.astype(np.float64), []
    nearest = np.square(wide - wide.mean(axis=0)).sum(axis=1)
    first = int(nearest.argmin())
    nearest[:] = np.inf
    for _ in range(50):
        plain.append(int(nearest.argmax()) if plain else first)
        nearest = np.minimum(nearest, np.square(wide - wide[plain[-1]]).sum(axis=1))

    assert plain == select(pool_of(x, x[:0]), 50)


def naive(points: np.ndarray, order: np.ndarray, centres: np.ndarray, count: int) -> list[int]:
    """Farthest first by comparing everything with everything, in Python's whole numbers."""
    grid = Grid.of(points, centres)
    x, known = (grid.place(each).long().numpy() for each in (points, centres))
    x = np.concatenate([x, known])
    between = np.square(x[:, None] - x).sum(axis=2).tolist()
    chosen, known = list[int](), list(range(len(points), len(x)))
    while len(chosen) < count:
        left = [i for i in order if i not in chosen]
        nearest = [min(between[i][c] for c in known) for i in left]
        chosen.append(int(left[nearest.index(max(nearest))]))
        known.append(chosen[-1])
    return chosen


def farthest(
    points: np.ndarray, order: np.ndarray, centres: np.ndarray, block: int, count: int = 1
) -> list[int]:
    """All positions, of a pool that is dealt to so many holders."""
    holders = Dealt({"features": points}, count).holders(order, Bounds, False)
    space = Space(holders, centres, Grid.of(points, centres))
    return order[list(farthest_first(space, block))].tolist()


def random(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 16))


def clustered(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((5, 16))[rng.integers(0, 5, n)] * 20 + rng.standard_normal((n, 16))


def duplicated(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n // 4, 16))[rng.integers(0, n // 4, n)]


def near_ties(rng: np.random.Generator, n: int) -> np.ndarray:
    return 1 + rng.integers(0, 2, (n, 16)) * 2.0**-10  # one bit of float16 apart


def simplex(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.eye(n)[rng.permutation(n)]  # all as far from each other


def on_a_line(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 40, (n, 1)).astype(float)


@pytest.mark.parametrize(
    "data", [random, clustered, duplicated, near_ties, simplex, on_a_line], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("block", [1, 3, 16, 1000])
def test_picks_what_the_definition_picks(data, block, monkeypatch):
    """A bound used wrongly would pick a unit that is not the farthest, in large pools only."""
    monkeypatch.setattr(core_set, "FEW", 2)  # so that bounds of few centres are used at all
    rng = np.random.default_rng(block)
    values = data(rng, 80).astype(np.float16)
    points, centres, order = values[:70], values[70:], rng.permutation(70)

    expected = naive(points, order, centres, 70)
    for count in (1, 2, 3, 7):
        assert farthest(points, order, centres, block, count) == expected


def test_rows_that_rounding_would_misorder():
    """Far from the origin single precision gets near distances wrong by more than they differ."""
    rng = np.random.default_rng(0)
    values = (1000 + rng.integers(0, 4, (60, 64))).astype(np.float32)
    order = rng.permutation(50)

    expected = naive(values[:50], order, values[50:], 50)
    assert farthest(values[:50], order, values[50:], 8) == expected


@pytest.mark.parametrize("labeled", [0, 1, 12])
def test_takes_every_unit_once(labeled):
    """The end of a pool would repeat units."""
    values = duplicated(np.random.default_rng(1), 60).astype(np.float16)
    pool = pool_of(values[labeled:], values[:labeled])

    assert sorted(select(pool, 1000)) == list(range(60 - labeled))


def test_copies_of_a_labeled_unit_come_last():
    """Money would go to images that are labeled already, under another id."""
    rng = np.random.default_rng(2)
    labeled = (rng.standard_normal((10, 64)) * 100).astype(np.float16)
    new = (labeled[:5] + rng.standard_normal((5, 64)) * 0.5).astype(np.float16)
    pool = pool_of(np.vstack([labeled, new]), labeled)

    assert set(select(pool, 5)) == set(range(10, 15))


def radii(values: np.ndarray, centres: list[int]) -> float:
    between = np.linalg.norm(values[:, None] - values[None, centres], axis=2)
    return float(between.min(axis=1).max())


def test_the_radius_never_grows_and_is_at_most_twice_the_best():
    """The guarantee of the greedy algorithm (Gonzalez 1985) would be lost."""
    for seed in range(5):
        values = np.random.default_rng(seed).standard_normal((12, 2)).astype(np.float16)
        picks = select(pool_of(values, values[:0]), 12)
        found = [radii(values.astype(float), picks[: k + 1]) for k in range(12)]
        best = [
            min(radii(values.astype(float), list(each)) for each in combinations(range(12), k + 1))
            for k in range(4)
        ]

        assert found == sorted(found, reverse=True)
        assert all(f <= 2 * b + 1e-9 for f, b in zip(found, best, strict=False))


def test_without_labels_the_unit_nearest_to_the_mean_is_first():
    """The first image of the folder would be picked instead, whatever it is."""
    pool = pool_of(column(0, 1, 2, 3, 14), column()[:, :1].reshape(0, 1))

    assert select(pool, 3) == [3, 4, 0]  # mean 4


def test_does_not_depend_on_the_order_of_the_pool():
    """Another number of shards would select other units."""
    values = on_a_line(np.random.default_rng(3), 60).astype(np.float16)
    pool = pool_of(values, values[:3])
    back = np.random.default_rng(4).permutation(60)
    shuffled = Candidates(
        pool.ids[back], None, pool.price, {"features": values[back]}, pool.labeled_ids, pool.labeled
    )

    assert list(pool.ids[select(pool, 30)]) == list(shuffled.ids[select(shuffled, 30)])


def test_stops_at_the_first_pick_that_the_budget_does_not_buy():
    """A budget in clicks would be overspent, or filled up with near units."""
    pool = pool_of(column(1, 4, 10, 11), column(0), np.array([1.0, 5.0, 1.0, 2.0]))

    assert select(pool, 6.9) == [3]
    assert select(pool, 7.0) == [3, 1]


def test_normalise_compares_directions():
    """Long feature vectors would still be preferred."""
    values = np.array([[100, 1], [0, 1], [50, 0]], dtype=np.float16)
    labeled = np.array([[1, 0]], dtype=np.float16)

    assert select(pool_of(values, labeled), 1) == [0]
    assert select(pool_of(values, labeled), 1, normalise=True) == [1]


def test_names_a_unit_with_infinite_features():
    """Features beyond the range of float16 would be picked first, all of them."""
    values = column(1, 2, np.inf)

    with pytest.raises(DataError, match="'unit-2'"):
        select(pool_of(values, column(0)), 1)
    with pytest.raises(DataError, match="'labeled-0'"):
        select(pool_of(column(1), column(np.nan)), 1)
