"""ProbCover against greedy coverage by its definition."""

from dataclasses import replace

import numpy as np
import pytest

from rayal.errors import UsageError
from rayal.selection import distances
from rayal.selection.candidates import Candidates
from rayal.selection.holders import Dealt
from rayal.storage.ids import Ids
from rayal.strategies import prob_cover
from rayal.strategies.prob_cover import ProbCover
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


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float16)[:, None]


def select(pool: Candidates, budget: float, radius: float, seed: int = 0, **fields) -> list[int]:
    strategy = ProbCover(radius=radius, **{"normalise": False, **fields})
    return pool.places(strategy.select(pool, budget, np.random.default_rng(seed))).tolist()


def test_hand_case():
    """2 reaches 1, 2, 3 (the edge counts); then 11 of 10, 11, 12, 13; then what is left over."""
    points = column(1, 2, 3, 10, 11, 12, 20)

    assert set(select(pool_of(points), 2, 1.0)) == {1, 4}
    assert select(pool_of(points), 3, 1.0)[2] == 6
    assert select(pool_of(points, column(2)), 2, 1.0) == [4, 6]  # what 2 reaches is covered


def gains(points: np.ndarray, centres: list[np.ndarray], radius: float) -> np.ndarray:
    """How many points each would newly cover, by the definition."""
    points = points.astype(float)
    near = ((points[:, None] - points[None]) ** 2).sum(axis=2) <= radius**2
    covered = np.zeros(len(points), dtype=bool)
    for centre in centres:
        covered |= ((points - centre.astype(float)) ** 2).sum(axis=1) <= radius**2
    return (near & ~covered).sum(axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_every_pick_covers_the_most(seed, monkeypatch):
    """A bound of a block, or a count not kept up, would lose coverage; 103 is no multiple of 8,
    and the official graph drops the last points."""
    monkeypatch.setattr(prob_cover, "BLOCK", 8)
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 12, (103, 2)).astype(np.float16)  # duplicates, ties, edges
    labeled = rng.integers(0, 12, (9, 2)).astype(np.float16)
    picks = select(pool_of(points, labeled), 103, 2.0, seed)
    centres = list(labeled)

    assert sorted(picks) == list(range(103))
    for turn, pick in enumerate(picks):
        found = gains(points, centres, 2.0)
        found[picks[:turn]] = -1
        assert found[pick] == found.max()
        centres.append(points[pick])


def test_the_last_units_can_be_centres(monkeypatch):
    """The official code never picks one of the last N mod 500."""
    monkeypatch.setattr(prob_cover, "BLOCK", 4)
    alone = column(*(100.0 * i for i in range(9)))
    heap = column(*(2000.0 + i for i in range(5)))

    assert select(pool_of(np.vstack([alone, heap])), 1, 2.0) == [11]


def test_once_all_is_covered_the_rest_is_seeded():
    """The official code picks position 0 again and again."""
    points = np.zeros((50, 2), dtype=np.float16)
    choices = [select(pool_of(points, points[:1]), 10, 1.0, seed) for seed in (0, 0, 1)]

    assert choices[0] == choices[1] != choices[2]
    assert len(set(choices[0])) == 10


def test_normalise_is_the_default():
    """The radius of the paper is for features of length 1."""
    points = np.array([[1, 0], [60, 0], [900, 0], [0, 5]], dtype=np.float16)
    pool = pool_of(points)
    first = pool.places(ProbCover(radius=0.5).select(pool, 2, np.random.default_rng(0))).tolist()

    assert first[0] in {0, 1, 2} and first[1] == 3


def test_does_not_depend_on_the_order_of_the_pool():
    """Another number of shards would select other units."""
    points = np.random.default_rng(1).integers(0, 9, (80, 2)).astype(np.float16)
    pool, back = pool_of(points), np.random.default_rng(2).permutation(80)
    shuffled = Candidates(pool.ids[back], None, pool.price, {"features": points[back]})

    ours, theirs = (each.ids[select(each, 40, 2.0)] for each in (pool, shuffled))
    assert list(ours) == list(theirs)


def test_refuses_a_graph_that_does_not_fit(monkeypatch):
    """A radius too large would take the memory of the machine, after hours of training."""
    points = np.zeros((20, 2), dtype=np.float16)
    monkeypatch.setattr(prob_cover, "MAX_PAIRS", 100)

    with pytest.raises(UsageError, match="more than 100 pairs of the 20 units"):
        select(pool_of(points), 5, 1.0)
    monkeypatch.setattr(prob_cover, "MAX_PAIRS", 190)
    assert len(select(pool_of(points), 5, 1.0)) == 5

    monkeypatch.setattr(prob_cover, "MAX_PAIRS", 100)
    line = pool_of(np.arange(20, dtype=np.float16)[:, None])
    with pytest.raises(UsageError, match="within the radius 30; give a smaller one"):
        select(line, 5, 30.0)
    assert len(select(line, 5, 1.5)) == 5


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_whether_a_graph_fits_is_of_the_pool_alone(monkeypatch, count):
    """More machines would take what one refuses, or refuse what it takes, and say other numbers."""
    monkeypatch.setattr(prob_cover, "BLOCK", 4)
    monkeypatch.setattr(prob_cover, "SENT", 4)
    points = np.random.default_rng(5).integers(0, 4, (30, 2)).astype(np.float16)
    apart = ((points[:, None].astype(int) - points) ** 2).sum(axis=2)
    pairs = ((apart <= 1).sum() - 30) // 2
    divided = replace(pool_of(points), spread=Dealt({"features": points}, count))
    monkeypatch.setattr(prob_cover, "MAX_PAIRS", pairs)
    assert select(pool_of(points), 9, 1.0) == select(divided, 9, 1.0)
    monkeypatch.setattr(prob_cover, "MAX_PAIRS", pairs - 1)
    with pytest.raises(UsageError, match=f"more than {pairs - 1} pairs of the 30 units are within"):
        select(divided, 9, 1.0)


def test_features_come_from_a_file(tmp_path):
    """The features of the model would be used although others were given."""
    path = tmp_path / "simclr.npz"
    ids = [f"unit-{i}" for i in range(4)] + ["labeled-0"]
    np.savez(path, ids=np.array(ids), features=column(0, 1, 2, 9, 1))
    strategy = ProbCover(radius=1.0, normalise=False, features=str(path))
    named = pool_of(column(0, 0, 0, 0), column(0))
    pool = Candidates(named.ids, None, named.price, {}, named.labeled_ids, {})

    assert strategy.kept() == frozenset() and ProbCover().kept() == {"features"}
    assert pool.places(strategy.select(pool, 1, np.random.default_rng(0))).tolist() == [3]


def test_stops_at_the_first_pick_that_the_budget_does_not_buy():
    """A budget in clicks would be overspent."""
    pool = pool_of(column(1, 2, 3, 10, 11, 20), None, np.array([1.0, 2.0, 1.0, 1.0, 5.0, 1.0]))

    assert select(pool, 2.9, 1.0) == [1]


def test_block_size_is_shared():
    """The blocks above would not be those that the strategy works in."""
    assert prob_cover.BLOCK == distances.BLOCK
