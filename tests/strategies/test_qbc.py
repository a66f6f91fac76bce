"""Query by committee on masks: patches by hand, and what a budget of clicks buys.

Its divergence, and classification, are in test_ensembles.py.
"""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from rayal.selection.candidates import Candidates, take_highest
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.ids import Ids
from rayal.strategies.qbc import Qbc, most_uncertain
from tests.support.doubles import Says, priced


def score(strategy: Qbc, members: Tensor, valid: Tensor | None = None) -> Tensor:
    """The scores of an ensemble whose members say these logits, S N C H W, at every pixel."""
    first, *others = (Says(logits).eval() for logits in members)
    ids = [f"unit-{i}" for i in range(members.shape[1])]
    networks = Networks(first, members=others, cycle=1)
    signals = Signals(ids, members[0], networks, valid=valid)
    return strategy.score(signals.declared_by("qbc", strategy.needs, None))


def disputed(where: Tensor) -> Tensor:
    """Two members, sure of different classes where a pixel (N H W) is disputed: ln 2 each."""
    one = torch.stack([torch.full(where.shape, 80.0), torch.zeros(where.shape)], dim=1)
    return torch.stack([one, torch.where(where[:, None], one.flip(1), one)])


def drawn(*rows: str) -> Tensor:
    """An image of pixels, 1 H W; x is disputed."""
    return torch.tensor([[character == "x" for character in row] for row in rows])[None]


PICTURE = drawn(
    "xx...",
    "x....",
    ".....",
    "....x",
    "..x.x",
)
"""In patches of 2: 3, 0, 0 / 0, 0, 1 / 0, 1, 1 disputed pixels."""


@pytest.mark.parametrize(("top", "pixels"), [(1, 3), (2, 4), (4, 6), (9, 6), (100, 6)])
def test_patches_by_hand(top: int, pixels: int) -> None:
    """The value of an image is the sum over its most uncertain patches, edges included."""
    found = score(Qbc(patch=2, top=top), disputed(PICTURE))

    assert [pixels * math.log(2)] == pytest.approx(found.tolist())


def test_a_patch_larger_than_the_image_is_all_of_it() -> None:
    """Reduced images would have no score."""
    assert [6 * math.log(2)] == pytest.approx(score(Qbc(), disputed(PICTURE)).tolist())


def test_agrees_with_a_loop() -> None:
    """The vectorised sums would differ from the formula."""
    generator = torch.Generator().manual_seed(0)
    members = torch.randn(3, 2, 4, 7, 9, generator=generator) * 2
    p = members.double().softmax(2).numpy()
    pixels = [(y, x) for y in range(7) for x in range(9)]

    def divergence(n: int, y: int, x: int) -> float:
        mean, each = p[:, n, :, y, x].mean(0), p[:, n, :, y, x]
        entropies = [-(q * np.log(q)).sum() for q in (mean, *each)]
        return float(entropies[0] - np.mean(entropies[1:]))

    expected = []
    for n in range(2):
        sums: dict[tuple[int, int], float] = {}
        for y, x in pixels:
            patch = y // 3, x // 3
            sums[patch] = sums.get(patch, 0.0) + divergence(n, y, x)
        expected.append(sum(sorted(sums.values())[-4:]))

    assert expected == pytest.approx(score(Qbc(patch=3, top=4), members).tolist(), rel=1e-5)
    two = members[:2]
    scipys = jensenshannon(*two.double().softmax(2).movedim(2, 0).numpy().swapaxes(0, 1)) ** 2
    assert scipys.sum((1, 2)) == pytest.approx(score(Qbc(), two).numpy(), rel=1e-5)


def test_members_that_agree_leave_nothing() -> None:
    """However unsure they are (methods, Sec. 20)."""
    one = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    assert score(Qbc(), one.expand(5, -1, -1, -1, -1)).abs().max() < 1e-12


def test_filling_is_not_of_the_image() -> None:
    """Images that are smaller than their canvas would be worth what is beside them."""
    whole = torch.ones(2, 6, 7, dtype=torch.bool)
    valid = torch.zeros_like(whole)
    valid[0, :5, :5] = True
    valid[1, :2, :3] = True
    strategy = Qbc(patch=2, top=3)
    padded = score(strategy, disputed(whole), valid)

    cut = [score(strategy, disputed(whole[:1, :h, :w])).item() for h, w in ((5, 5), (2, 3))]
    assert cut == padded.tolist()
    assert [12 * math.log(2), 6 * math.log(2)] == pytest.approx(cut)


def test_sums_are_of_patches_side_by_side() -> None:
    """Overlapping ones would count a pixel twice, shifted ones not at all."""
    values = torch.rand(2, 13, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    torch.testing.assert_close(values.sum((1, 2)), most_uncertain(values, 4, 1000))


def pool(scores: np.ndarray, costs: np.ndarray, overshoot: bool = False) -> Candidates:
    ids = Ids([f"unit-{i}" for i in range(len(scores))])
    return Candidates(ids, scores, priced(ids, costs), overshoot=overshoot)


def chosen(units: Candidates, budget: float, seed: int = 0) -> list[int]:
    """Positions."""
    return units.places(Qbc().select(units, budget, rng(seed))).tolist()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_budget_buys_the_most_valuable_set() -> None:
    """The images of the highest scores are the dearest: fewer of them, worth less."""
    scores = rng(3).random(10)
    costs = np.round(100 * scores**2) + 5
    sets = (each for size in range(11) for each in combinations(range(10), size))
    affordable = [list(each) for each in sets if costs[list(each)].sum() <= 200]
    best = max(affordable, key=lambda each: scores[each].sum())
    picks = chosen(pool(scores, costs), 200)

    assert best == sorted(picks)
    assert (np.diff(scores[picks]) <= 0).all()
    assert scores[picks].sum() > scores[take_highest(pool(scores, costs), 200, rng())].sum()


@pytest.mark.parametrize("cost", [1.0, 3.0])
def test_equal_costs_are_the_highest(cost: float) -> None:
    """A count of images would buy others than all other papers' qbc, or break ties otherwise."""
    scores = rng(5).integers(0, 4, 60).astype(float)
    units = pool(scores, np.full(60, cost))

    for seed in range(3):
        expected = take_highest(units, 20 * cost, rng(seed))
        assert expected.tolist() == chosen(units, 20 * cost, seed)


def test_the_order_of_the_pool_does_not_choose() -> None:
    """Another number of shards would buy other images among equals."""
    scores = rng(6).integers(0, 3, 40).astype(float)
    costs = rng(7).integers(1, 5, 40).astype(float)
    units, order = pool(scores, costs), rng(8).permutation(40)
    shuffled = Candidates(units.ids[order], scores[order], units.price)

    chosen = [
        list(Qbc().select(each, 30, rng(seed))) for seed in (0, 1) for each in (units, shuffled)
    ]
    assert chosen[0] == chosen[1] and chosen[2] == chosen[3] and chosen[0] != chosen[2]


def test_overshoot_adds_the_best_that_is_left() -> None:
    """The budget would never be spent where no set of images costs exactly that."""
    scores, costs = np.array([3.0, 2.0, 1.0]), np.array([5.0, 4.0, 4.0])

    assert [0] == chosen(pool(scores, costs), 7)
    assert [0, 1] == chosen(pool(scores, costs, overshoot=True), 7)
    assert [0] == chosen(pool(scores, costs, overshoot=True), 5)
    assert [] == chosen(pool(scores, costs, overshoot=True), 0)


def test_images_of_one_price_are_chosen_without_loading_the_pool() -> None:
    """A pool of millions would have to fit the memory of the driver."""
    assert Qbc().ranks() and not Qbc().ranks(one_price=False)
