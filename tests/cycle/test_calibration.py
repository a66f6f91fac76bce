"""Calibration: by hand, by a plain loop, and of logits whose temperature is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from rayal.cycle.calibration import BINS, COLDEST, HOTTEST, calibrated, reliability, temperature

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
    assert_allclose(found, [[0.6, 0.9], [0.5, 1.0], [2, 1]])


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


@pytest.mark.parametrize(("images", "classes"), [(2, 2), (30, 10), (500, 100)])
@pytest.mark.parametrize("factor", [0.1, 1.0, 20.0])
def test_agrees_with_scipys_search(images: int, classes: int, factor: float) -> None:
    """Newton's steps could leave what they search, or end too soon."""
    logits = factor * RNG.normal(0, 2, (images, classes))
    labels = np.where(
        RNG.random(images) < 0.7, logits.argmax(axis=1), RNG.integers(0, classes, images)
    )
    labels[0] = logits[0].argmin()

    def loss(log_t: float) -> float:
        rows = log_softmax(logits / 2.0**log_t, axis=1)
        return -float(rows[np.arange(images), labels].mean())

    expected = minimize_scalar(loss, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9})

    assert loss(np.log2(temperature(logits, labels))) <= expected.fun + 1e-12
    assert temperature(logits, labels) == pytest.approx(2.0**expected.x, rel=1e-5)


def test_temperatures_have_an_end() -> None:
    """Of images that are all right, or all wrong, no temperature is the best; of equal logits all
    are alike."""
    assert temperature([[1.0, 0.0], [2.0, 0.0]], [0, 0]) == COLDEST
    assert temperature([[1.0, 0.0], [2.0, 0.0]], [1, 1]) == HOTTEST
    assert temperature([[3.0, 3.0], [1.0, 1.0]], [0, 1]) == 1


def test_no_image_chooses_its_own_temperature() -> None:
    """An overconfident classifier is mended; of few images that are pure chance nothing looks as if
    it were."""
    found = calibrated(*sampled(4000, 3.0))

    assert found.ece > 0.1 > 0.03 > found.ece_after
    assert found.temperature == pytest.approx(3, rel=0.08)


def test_confident_logits_are_finite() -> None:
    """exp(1000) is not."""
    found = reliability([[1000.0, 0.0], [1000.0, 0.0]], [0, 1])

    assert 0.5 == found.ece
