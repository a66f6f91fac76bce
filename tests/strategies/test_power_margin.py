"""Power margin against the distribution that its noise stands for."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, gumbel_r, kstest

from rayal.randomness import unit_uniforms
from rayal.strategies.margin import Margin
from rayal.strategies.power_margin import PowerMargin, gumbel, log_closeness


def test_hand_values():
    """1 - (p_(1) - p_(2)): 1 for a tie, 0.4 for (0.7, 0.1, 0.2) -> 1 - 0.5 = 0.5."""
    probs = torch.tensor([[0.5, 0.5, 0.0], [0.7, 0.1, 0.2], [0.1, 0.0, 0.9]]).double()

    torch.testing.assert_close(
        log_closeness(probs.log()).exp(), torch.tensor([1.0, 0.5, 0.2]).double()
    )


def test_is_finite_however_certain_the_model_is():
    """log 0 would stop the run at the first image that the model is certain of."""
    log_probs = torch.tensor([[1000.0, 0.0, -1000.0], [0.0, 300.0, 0.0]]).log_softmax(1)
    closeness = log_closeness(log_probs)

    assert torch.isfinite(closeness).all()
    assert closeness[0] < closeness[1] < -290  # and they are still ordered


def test_noise_is_finite_and_gumbel():
    """A uniform number of exactly 0 would stop the run; other noise is another method."""
    extremes = torch.tensor([0.0, 2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    assert torch.isfinite(gumbel(extremes)).all()
    uniform = unit_uniforms([f"unit-{i}" for i in range(5000)], 0, "test")

    assert kstest(gumbel(torch.from_numpy(uniform)).numpy(), gumbel_r.cdf).pvalue > 0.01


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_the_best_is_drawn_by_the_power_of_its_score(beta):
    """The batch would be more or less random than the paper's (its Sec. 3)."""
    closeness = torch.tensor([0.1, 0.3, 0.6, 1.0]).double()
    uniform = torch.rand(20000, 4, generator=torch.Generator().manual_seed(0)).double()
    first = (closeness.log() + gumbel(uniform) / beta).argmax(dim=1)
    expected = closeness**beta / (closeness**beta).sum() * 20000

    counts = np.bincount(first.numpy(), minlength=4)
    assert chisquare(counts, expected.numpy()).pvalue > 0.001


def test_score_is_closeness_and_noise(bench):
    """The strategy would score something else than its two parts."""
    signals = bench.signals(range(24), cycle=1)
    own = signals.noise * 2.0**26 % 1.0
    expected = log_closeness(signals.log_probs) + gumbel(own) / 2.5

    torch.testing.assert_close(
        bench.score(PowerMargin(beta=2.5)), expected, atol=1e-6, rtol=0, check_dtype=False
    )


def test_with_a_large_beta_it_is_margin(bench):
    """The noise would be multiplied instead of divided."""
    by_power = bench.score(PowerMargin(beta=1e9)).argsort()

    assert torch.equal(by_power, bench.score(Margin()).argsort())


def test_with_a_small_beta_it_is_random(bench):
    """The paper's other end: noise alone."""
    noise = bench.signals(range(24), cycle=1).noise
    order = bench.score(PowerMargin(beta=1e-6)).argsort()

    assert torch.equal(order, (noise * 2.0**26 % 1.0).argsort())
    assert not torch.equal(order, noise.argsort())  # else it would agree with `random` by the dice
