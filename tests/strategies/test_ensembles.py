"""variation_ratio, ensemble_entropy and qbc against hand values, loops and scipy."""

import math
from collections import Counter

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn

from rayal.parts import build
from rayal.selection.candidates import Candidates
from rayal.signals.batch import Signals, entropy
from rayal.signals.committee import disagreement, mean_entropy, mean_log_probs, variation_ratio
from rayal.signals.networks import Networks
from rayal.storage.ids import Ids
from tests.support.doubles import Says


def score(name: str, members: Tensor, **options) -> Tensor:
    """The scores of an ensemble whose members say these logits, S N C."""
    first, *others = (Says(logits).eval() for logits in members)
    ids = [f"unit-{i}" for i in range(members.shape[1])]
    signals = Signals(ids, members[0], Networks(first, members=others, cycle=1))
    strategy = build("strategies", {"name": name, **options})
    return strategy.score(signals.declared_by(name, strategy.needs, None))


def voting(*votes: tuple[int, ...], classes: int = 5) -> Tensor:
    """Logits of members, T N C, that vote so; a tuple of T votes per unit."""
    return nn.functional.one_hot(torch.tensor(votes).T, classes).float() * 3


def random_members(members: int, units: int = 40, classes: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(members, units, classes, generator=generator) * 2


@pytest.mark.parametrize(
    ("votes", "expected"),
    [((0, 0, 1, 2, 0), 0.4), ((3, 3, 3, 3, 3), 0.0), ((0, 1, 2, 3, 4), 0.8), ((1, 0, 1, 0), 0.5)],
)
def test_variation_ratio_by_hand(votes, expected):
    """1 - f_mode/T (methods, Sec. 10)."""
    assert score("variation_ratio", voting(votes)).tolist() == [expected]


def test_variation_ratio_agrees_with_counting():
    """The vectorised vote would differ from the formula."""
    members = random_members(7)
    votes = members.argmax(2).T.tolist()
    expected = [1 - Counter(unit).most_common(1)[0][1] / 7 for unit in votes]

    assert score("variation_ratio", members).tolist() == pytest.approx(expected, abs=1e-12)


def test_equal_ratios_are_equal_numbers():
    """Rounding would decide between thousands of units, in the place of the seed."""
    members = random_members(5, units=2000)

    assert set(score("variation_ratio", members).tolist()) <= {k / 5 for k in range(5)}


def test_ties_are_broken_by_the_seed():
    """Nearly all of a choice is ties: always the same end of the list would be chosen."""
    members = voting(*[(0, 0, 1)] * 300)
    scores = score("variation_ratio", members).double().numpy()
    ids = Ids([f"unit-{i}" for i in range(300)])
    pool, strategy = Candidates(ids, scores), build("strategies", "variation_ratio")
    picks = [
        pool.places(strategy.select(pool, 60, np.random.default_rng(seed)))
        for seed in (0, 0, *range(1, 40))
    ]

    assert np.array_equal(picks[0], picks[1])
    often = np.bincount(np.concatenate(picks[1:]), minlength=300)
    assert scipy.stats.chisquare(often.reshape(10, 30).sum(1)).pvalue > 0.001


def test_entropy_breaks_ties_and_nothing_else():
    """A unit with fewer votes against would overtake one with more, or ties stay (methods, 10)."""
    members = random_members(5, units=500)
    plain = score("variation_ratio", members)
    broken = score("variation_ratio", members, tie_break="entropy")
    h = entropy(mean_log_probs(members.log_softmax(2)))

    assert (broken >= plain).all() and (broken - plain < 1 / 5).all()
    expected = sorted(range(500), key=lambda i: (round(plain[i].item() * 5), h[i].item()))
    assert expected == broken.argsort().tolist()


def test_the_tie_break_stays_below_a_vote():
    """With many classes the entropy of a unanimous unit would be worth more than a vote."""
    unsure = torch.full((2, 1, 5000), 0.0)
    unsure[:, :, 0] = 1e-3  # unanimous, and as unsure as can be
    sure = torch.full((2, 1, 5000), -100.0)
    sure[0, :, 0] = sure[1, :, 1] = 0.0  # one vote against
    scores = score("variation_ratio", torch.cat([unsure, sure], dim=1), tie_break="entropy")

    assert scores[0] < 0.5 <= scores[1]


def test_readings_of_average_entropy_by_hand():
    """Two certain members that contradict each other: no member is unsure, their mean is."""
    members = torch.tensor([[[50.0, 0.0]], [[0.0, 50.0]]])
    unsure = torch.zeros(2, 1, 2)

    assert score("ensemble_entropy", members).item() == pytest.approx(0, abs=1e-9)
    assert score("ensemble_entropy", members, reading="entropy_of_mean").item() == pytest.approx(
        math.log(2)
    )
    assert score("qbc", members).item() == pytest.approx(math.log(2))
    assert score("ensemble_entropy", unsure).item() == pytest.approx(math.log(2))
    assert score("qbc", unsure).item() == 0


@pytest.mark.parametrize(("members", "classes"), [(2, 2), (3, 10), (5, 1000)])
def test_entropies_agree_with_scipy(members, classes):
    """The formulas themselves would be wrong."""
    logits = random_members(members, classes=classes, seed=1)
    probs = logits.double().softmax(2).numpy()
    of_each = scipy.stats.entropy(probs, axis=2).mean(0)
    of_mean = scipy.stats.entropy(probs.mean(0), axis=1)
    close = {"rtol": 1e-5, "atol": 1e-6}

    np.testing.assert_allclose(score("ensemble_entropy", logits), of_each, **close)
    np.testing.assert_allclose(
        score("ensemble_entropy", logits, reading="entropy_of_mean"), of_mean, **close
    )
    np.testing.assert_allclose(score("qbc", logits), of_mean - of_each, **close)


def test_qbc_is_the_jensen_shannon_divergence():
    """scipy gives the distance of two distributions: the square root."""
    logits = random_members(2, seed=2)
    p, q = logits.double().softmax(2).numpy()

    np.testing.assert_allclose(
        score("qbc", logits), jensenshannon(p, q, axis=1) ** 2, rtol=1e-5, atol=1e-6
    )


def test_members_that_agree_have_nothing_to_disagree_about():
    """Rounding would make a divergence negative, or choose by noise."""
    for members, classes in ((2, 2), (3, 10), (5, 1000)):
        one = random_members(1, units=200, classes=classes)[0]

        assert not score("qbc", torch.stack([one] * members)).any()


def test_the_order_of_the_members_does_not_matter():
    """A strategy would ask one member more than the others."""
    members = random_members(5)
    for name in ("variation_ratio", "ensemble_entropy", "qbc"):
        torch.testing.assert_close(
            score(name, members), score(name, members.flip(0)), rtol=1e-9, atol=1e-12
        )


def test_a_member_that_says_otherwise_is_heard():
    """An ensemble would be one model, asked several times."""
    members = random_members(1).repeat(3, 1, 1)
    changed = torch.cat([members[:2], -members[2:]])
    for name in ("variation_ratio", "ensemble_entropy", "qbc"):
        options = {"reading": "entropy_of_mean"} if name == "ensemble_entropy" else {}
        assert (score(name, changed, **options) > score(name, members, **options)).all()


def test_certain_members_are_finite():
    """log 0 of members that contradict each other would stop the run."""
    members = torch.tensor([[[1000.0, 0.0, 0.0]], [[0.0, 1000.0, 0.0]]])

    assert score("qbc", members).item() == pytest.approx(math.log(2))
    assert score("ensemble_entropy", members).item() == 0


def test_maps_have_a_value_per_position():
    """A segmentation would be mixed over its pixels: S N C H W -> N H W."""
    logs = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(3)).log_softmax(2)
    pixel = logs[:, 1, :, 2, 3][:, None]  # S 1 C

    for value in (mean_entropy, disagreement, variation_ratio):
        assert value(logs).shape == (2, 5, 6)
        torch.testing.assert_close(value(logs)[1, 2, 3], value(pixel)[0])
    assert mean_log_probs(logs).exp().sum(1).allclose(torch.ones(2, 5, 6, dtype=torch.float64))
