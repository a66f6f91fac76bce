"""Calibration: by hand, by a plain loop, and of logits whose temperature is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import log_loss

from rayal.report.calibration import BINS, halves, reliability, temperature

RNG = np.random.default_rng(0)


def sampled(n: int, too_sure: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their probabilities; then made surer by a factor."""
    logits = RNG.normal(0, 2, (n, 5))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probs.cumsum(axis=1) < RNG.random((n, 1))).sum(axis=1)
    return too_sure * logits, labels


def test_by_hand() -> None:
    """Two with confidence 0.6, of which one is right, and one with 0.9 that is: 2/3 |0.5 - 0.6| +
    1/3 |1 - 0.9| = 0.1."""
    found = reliability(np.log([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1]]), [0, 0, 0])

    assert_allclose(found.ece, 0.1)
    assert_allclose(found, [[0.6, 0.9], [0.5, 1.0], [2 / 3, 1 / 3]])


def test_agrees_with_a_plain_loop() -> None:
    """Bins are open below; the last one holds 1."""
    logits, labels = sampled(300, 2.0)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    expected = 0.0
    for n in range(BINS):
        there = (sure > n / BINS) & (sure <= (n + 1) / BINS)
        if there.any():
            expected += there.mean() * abs(right[there].mean() - sure[there].mean())

    assert_allclose(reliability(logits, labels).ece, expected)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(factor: float) -> None:
    """Logits that were multiplied by it; likelihood, of any nearby temperature, is lower."""
    logits, labels = sampled(5000, factor)
    found = temperature(logits, labels)

    assert found == pytest.approx(factor, rel=0.08)
    losses = [
        log_loss(labels, np.exp(z := logits / t) / np.exp(z).sum(axis=1, keepdims=True))
        for t in (0.97 * found, found, 1.03 * found)
    ]
    assert losses[1] == min(losses)


def test_no_image_chooses_its_own_temperature() -> None:
    """An overconfident classifier is mended; of few images that are pure chance nothing looks as if
    it were."""
    found = halves(*sampled(4000, 3.0))

    assert found.ece > 0.1 > 0.03 > found.ece_after
    assert found.temperature == pytest.approx(3, rel=0.08)


def test_confident_logits_are_finite() -> None:
    """exp(1000) is not."""
    found = reliability([[1000.0, 0.0], [1000.0, 0.0]], [0, 1])

    assert 0.5 == found.ece
