"""BADGE against the outer products that it never builds."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from scipy.stats import chisquare

from rayal.errors import DataError
from rayal.selection.candidates import Candidates
from rayal.selection.holders import Dealt
from rayal.storage.ids import Ids
from rayal.strategies import badge
from rayal.strategies.badge import Badge, GradientHolder, Gradients, draw_far, errors
from tests.support.doubles import priced


def units(n: int, classes: int = 5, width: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, classes)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probs.astype(np.float16), rng.standard_normal((n, width)).astype(np.float16)


def dense(probs: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The gradients, N x C D, by the definition."""
    e = probs.astype(np.float64)
    e[np.arange(len(e)), e.argmax(axis=1)] -= e.sum(axis=1)  # = p - 1 where p sums to 1
    return (e[:, :, None] * features.astype(np.float64)[:, None, :]).reshape(len(e), -1)


def draws(
    probs: np.ndarray, features: np.ndarray, order: np.ndarray, rng: np.random.Generator
) -> Iterator[int]:
    """Positions, as they are drawn."""
    holders = Dealt({"probs": probs, "features": features}).holders(order, GradientHolder)
    return (int(order[place]) for place in draw_far(holders, Gradients(probs, features).grids, rng))


def steps_squared(gradients: Gradients) -> float:
    return (gradients.grids[0].step * gradients.grids[1].step) ** 2


def pool_of(probs: np.ndarray, features: np.ndarray, costs: np.ndarray | None = None) -> Candidates:
    ids = Ids([f"unit-{i}" for i in range(len(probs))])
    costs = np.ones(len(probs)) if costs is None else costs
    return Candidates(ids, None, priced(ids, costs), {"probs": probs, "features": features})


def select(pool: Candidates, budget: float, seed: int = 0) -> list[int]:
    return pool.places(Badge().select(pool, budget, np.random.default_rng(seed))).tolist()


def test_hand_values():
    """p = (1/4, 3/4), a = (3, 4): p - e = (1/4, -1/4), |g| = sqrt(1/8) * 5."""
    probs = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float16)
    features = np.array([[3, 4], [0, 2]], dtype=np.float16)
    gradients = Gradients(probs, features)
    scale = steps_squared(gradients)

    assert errors(probs).tolist() == [[0.25, -0.25], [-0.5, 0.5]]
    assert (gradients.squared_norms * scale).tolist() == [25 / 8, 2.0]
    both = np.arange(2)
    # e.e' = -1/4, a.a' = 8
    assert (gradients.squared_distances(both, both) * scale)[0, 1] == 25 / 8 + 2 + 2 * 2


def test_factors_give_the_distances_of_the_outer_products():
    """The formula with which the gradients need not be built would be wrong."""
    probs, features = units(60)
    gradients, g = Gradients(probs, features), dense(probs, features)
    every = np.arange(60)
    expected = ((g[:, None] - g[None]) ** 2).sum(axis=2)
    scale = steps_squared(gradients)

    np.testing.assert_allclose(gradients.squared_norms * scale, (g**2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        gradients.squared_distances(every, every) * scale, expected, rtol=1e-4, atol=1e-5
    )


def test_equal_units_are_exactly_zero_apart():
    """Rounding noise would be drawn: a copy of a picked unit, while different ones are left."""
    probs, features = units(50, classes=100, width=300)
    gradients = Gradients(np.vstack([probs] * 2), np.vstack([features * 50] * 2))
    between = gradients.squared_distances(np.arange(50), np.arange(50, 100))

    assert (between.diagonal() == 0).all() and between.min() == 0
    assert int((between == 0).sum()) == 50


def test_a_certain_prediction_keeps_its_small_gradient():
    """float16 rounds 0.9999 to 1; p - 1 would be 0 beside errors of 1e-4 in other classes."""
    e = errors(np.array([[0.9999, 6e-5, 4e-5], [1, 0, 0]], dtype=np.float16))

    np.testing.assert_allclose(e[0], [-1e-4, 6e-5, 4e-5], rtol=1e-2)
    assert not e[1].any()


def test_the_first_pick_has_the_largest_norm():
    """The official code starts there; a random start would give another batch."""
    probs, features = units(200)
    largest = int((dense(probs, features) ** 2).sum(axis=1).argmax())

    assert {select(pool_of(probs, features), 1, seed)[0] for seed in range(5)} == {largest}


def dense_draws(
    g: np.ndarray, order: np.ndarray, count: int, rng: np.random.Generator
) -> list[int]:
    """k-means++ over the gradients in `order`, with the uniforms that rounds of one draw use."""
    g = g[order]
    picks = [int((g**2).sum(axis=1).argmax())]
    while len(picks) < count:
        far = ((g[:, None] - g[picks]) ** 2).sum(axis=2).min(axis=1)
        until = np.cumsum(far)
        picks.append(int(np.searchsorted(until, rng.random() * until[-1], side="right")))
        rng.random()  # accepted whatever it is: nothing was picked since the start of the round
    return [int(order[pick]) for pick in picks]


def test_draws_what_the_outer_products_draw(monkeypatch):
    """The same random numbers would select other units than plain k-means++."""
    monkeypatch.setattr(badge, "ROUND", 1)
    probs, features = units(300, seed=1)
    order = np.random.default_rng(2).permutation(300)
    ours = islice(draws(probs, features, order, np.random.default_rng(3)), 40)

    expected = dense_draws(dense(probs, features), order, 40, np.random.default_rng(3))
    assert list(ours) == expected


@pytest.mark.parametrize("round_", [2, 64])  # 1 is compared draw by draw above
def test_draws_are_distributed_by_squared_distance(round_, monkeypatch):
    """Drawing from distances of the round's start would favour what is near to new picks."""
    monkeypatch.setattr(badge, "ROUND", round_)
    probs, features = units(7, seed=4)
    g, order = dense(probs, features), np.arange(7)
    between = ((g[:, None] - g[None]) ** 2).sum(axis=2)
    first = int((g**2).sum(axis=1).argmax())
    expected = {}
    for second in range(7):
        second_p = between[first] / between[first].sum()
        far = np.minimum(between[first], between[second])
        for third in range(7):
            expected[second, third] = second_p[second] * far[third] / max(far.sum(), 1e-300)
    possible = [pair for pair, p in expected.items() if p > 1e-12]
    rng, times = np.random.default_rng(5), 1000
    counts = Counter(tuple(islice(draws(probs, features, order, rng), 1, 3)) for _ in range(times))

    assert set(counts) <= set(possible)
    seen = [counts[pair] for pair in possible]
    assert chisquare(seen, [expected[pair] * times for pair in possible]).pvalue > 0.001


def test_copies_are_not_both_picked_while_others_are_left():
    """Two labels would be bought for one image (scikit-activeml issue 586)."""
    probs, features = units(30, seed=6)
    pool = pool_of(np.vstack([probs] * 3), np.vstack([features] * 3))
    for seed in range(10):
        picks = select(pool, 90, seed)

        assert sorted(pick % 30 for pick in picks[:30]) == list(range(30))
        assert sorted(picks) == list(range(90))


@pytest.mark.parametrize("dead", ["probs", "features", "equal"])
def test_without_distances_the_order_is_seeded(dead):
    """A model that is certain of everything would stop the run, or always pick the same units."""
    probs, features = units(40)
    if dead == "probs":
        probs = np.eye(5, dtype=np.float16)[np.arange(40) % 5]
    elif dead == "features":
        features = np.zeros_like(features)
    else:
        probs, features = probs[[0] * 40], features[[0] * 40]
    choices = [select(pool_of(probs, features), 10, seed) for seed in (0, 0, 1)]

    assert choices[0] == choices[1] != choices[2]
    assert len(set(choices[0])) == 10


def test_does_not_depend_on_the_order_of_the_pool():
    """Another number of shards would select other units."""
    probs, features = units(80, seed=7)
    pool, back = pool_of(probs, features), np.random.default_rng(8).permutation(80)
    kept = {"probs": probs[back], "features": features[back]}
    shuffled = Candidates(pool.ids[back], None, kept=kept)

    assert list(pool.ids[select(pool, 30)]) == list(shuffled.ids[select(shuffled, 30)])


def test_blocks_change_nothing(monkeypatch):
    """The picks would depend on the machine."""
    probs, features = units(200, classes=20, width=64, seed=9)
    whole = select(pool_of(probs, features), 100)
    monkeypatch.setattr(badge, "BLOCK", 7)

    assert select(pool_of(probs, features), 100) == whole


def test_stops_at_the_first_pick_that_the_budget_does_not_buy():
    """A budget in clicks would be overspent."""
    probs, features = units(50)
    costs = np.random.default_rng(10).random(50) + 0.5
    all_picks = select(pool_of(probs, features, costs), 1000)
    bought = select(pool_of(probs, features, costs), 10)

    assert bought == all_picks[: len(bought)]
    assert costs[bought].sum() <= 10 < costs[all_picks[: len(bought) + 1]].sum()


def test_names_a_unit_with_infinite_features():
    """Features beyond the range of float16 would be the largest norm."""
    probs, features = units(5)
    features[3, 0] = np.inf

    with pytest.raises(DataError, match="features of unit 'unit-3'"):
        select(pool_of(probs, features), 2)


def test_a_unit_far_out_is_left_out():
    """It would decide the grid of all distances; who meets it is told which unit it is."""
    probs, features = units(40)
    features[11, 0] = 6e4
    pool = pool_of(probs, features.astype(np.float16))
    with pytest.raises(DataError, match="unit 'unit-11' reach 6e.04.*; leave it out of the pool$"):
        select(pool, 3)
    rest = np.delete(probs, 11, 0), np.delete(features, 11, 0).astype(np.float16)
    assert 3 == len(select(pool_of(*rest), 3))


def test_an_empty_pool_has_no_classes():
    """A pass that scored nothing keeps rows of no width, which have no largest entry."""
    nothing = np.empty((0, 0), dtype=np.float16)

    assert select(pool_of(nothing, nothing), 3) == []
