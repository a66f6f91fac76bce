"""entropy, margin, least_confidence, most_confident and random against hand values and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from rayal.parts import build
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from tests.support.doubles import Says


def score(name: str, logits: Tensor, **signals) -> Tensor:
    ids = [f"unit-{i}" for i in range(len(logits))]
    seen = Signals(ids, logits, Networks(Says(logits).eval(), **{"cycle": 1, **signals}))
    strategy = build("strategies", name)
    return strategy.score(seen.declared_by(name, strategy.needs, None))


def from_probs(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).clamp_min(1e-30).log()


def test_hand_values():
    """(.5, .5, 0): ln 2 nats, no margin, half confident."""
    logits = from_probs((0.5, 0.5, 0.0))

    assert score("entropy", logits).item() == pytest.approx(math.log(2))
    assert score("margin", logits).item() == pytest.approx(0.0)
    assert score("least_confidence", logits).item() == pytest.approx(0.5)
    assert score("most_confident", logits).item() == pytest.approx(0.5)


def test_margin_and_least_confidence_disagree():
    """(.5, .5, 0) has the smaller margin, (.4, .3, .3) the lower confidence (methods, Sec. 9)."""
    logits = from_probs((0.5, 0.5, 0.0), (0.4, 0.3, 0.3))

    assert score("margin", logits).argmax() == 0
    assert score("least_confidence", logits).argmax() == 1


def test_a_certain_prediction_is_finite():
    """p log p of a probability that underflows to 0 would be NaN, and NaN would be selected."""
    logits = torch.tensor([[1000.0, 0.0, 0.0], [1e4, -1e4, 0.0]])

    assert score("entropy", logits).tolist() == [0.0, 0.0]
    assert score("least_confidence", logits).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_entropy_agrees_with_scipy(classes):
    """The formula itself would be wrong."""
    logits = torch.randn(50, classes, generator=torch.Generator().manual_seed(1)) * 3
    expected = scipy.stats.entropy(logits.double().softmax(1).numpy(), axis=1)

    np.testing.assert_allclose(score("entropy", logits).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_two_classes_rank_alike():
    """With two classes the three uncertainties are monotone in each other."""
    logits = torch.randn(40, 2, generator=torch.Generator().manual_seed(2))
    orders = {
        name: score(name, logits).argsort().tolist()
        for name in ("entropy", "margin", "least_confidence")
    }

    assert orders["entropy"] == orders["margin"] == orders["least_confidence"]


def test_most_confident_is_the_reverse_of_least_confidence():
    """DAST-AL's "Maxp" queries what the model is most sure of."""
    logits = torch.randn(40, 7, generator=torch.Generator().manual_seed(3))

    assert torch.equal(
        score("most_confident", logits).argsort(),
        score("least_confidence", logits).argsort().flip(0),
    )


def test_random_is_uniform_and_new_in_every_cycle():
    """A biased or repeated draw would handicap the baseline everything is compared with."""
    logits = torch.zeros(4000, 3)
    first, second = (score("random", logits, cycle=cycle).numpy() for cycle in (1, 2))
    other_seed = score("random", logits, seed=1).numpy()

    assert scipy.stats.kstest(first, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert abs(np.corrcoef(first, other_seed)[0, 1]) < 0.05
    assert np.array_equal(first, score("random", logits, cycle=1).numpy())
