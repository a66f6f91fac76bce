"""The closed posterior of one shape, against numerical integration."""

import numpy as np
import pytest
from scipy import integrate, stats

from rayal.forecasting.families import Shape
from rayal.forecasting.posterior import SURE, draws, posterior, variance

LABELS = np.array([20.0, 40, 60, 80, 120])
ERROR = np.array([0.42, 0.31, 0.27, 0.22, 0.21])
IMAGES = 200.0
SHAPE = Shape(20.0, 120.0, power=0.5)


def test_the_evidence_is_the_integral_of_the_likelihood() -> None:
    """Shapes would be weighted wrongly against each other, and flat ones against those that
    fall."""
    v = variance(ERROR, IMAGES)

    def likelihood(shape: Shape) -> float:
        """Over u, s and sigma^2, by brute force; of u and s in a box that holds all of it."""
        u, s = np.meshgrid(np.linspace(0.02, 0.5, 161), np.linspace(-0.4, 0.8, 161))
        if shape.flat:
            u, s = np.linspace(0, 0.8, 4001)[None], np.zeros((1, 1))
        mean = u[..., None] + s[..., None] * shape.at(LABELS)
        scaled = ((ERROR - mean) ** 2 / v).sum(-1)

        def at(sigma2: float) -> float:
            density = np.exp(-scaled / 2 / sigma2) / np.sqrt((2 * np.pi * sigma2) ** 5 * v.prod())
            prior = stats.invgamma(SURE / 2, scale=SURE / 2 / IMAGES).pdf(sigma2)
            area = 0.8 / 4000 if shape.flat else (0.48 / 160) * (1.2 / 160)
            return float(density.sum() * area * prior)

        found, _ = integrate.quad(lambda t: at(np.exp(t)) * np.exp(t), -9, 0, epsrel=1e-6)
        return float(found)

    fallen, flat = SHAPE, Shape(20.0, 120.0)
    said = [posterior(each, LABELS, ERROR, IMAGES, draws()).evidence for each in (fallen, flat)]
    ours = np.exp(np.array(said))
    reference = np.array([likelihood(fallen), likelihood(flat)])

    # what both leave out is the same constant: the determinant of the weights
    assert ours[0] / ours[1] == pytest.approx(reference[0] / reference[1], rel=0.01)


def test_draws_are_of_that_posterior() -> None:
    """Intervals would be too narrow or too wide: mean and spread of u and s are those of the
    weighted regression, whose t has as many degrees of freedom as measurements and prior say."""
    found = posterior(SHAPE, LABELS, ERROR, IMAGES, draws())
    x = np.stack([np.ones(5), SHAPE.at(LABELS)], 1)
    w = np.diag(1 / variance(ERROR, IMAGES))
    inverse = np.linalg.inv(x.T @ w @ x)
    best = inverse @ x.T @ w @ ERROR
    rest = float((ERROR - x @ best) @ w @ (ERROR - x @ best))
    free = SURE + 5 - 2
    scale = np.sqrt((SURE / IMAGES + rest) / free * np.diag(inverse))

    for drawn, middle, spread in zip((found.u, found.s), best, scale, strict=True):
        expected = stats.t(free, middle, spread).ppf([0.25, 0.5, 0.75])
        assert np.quantile(drawn, [0.25, 0.5, 0.75]) == pytest.approx(expected, abs=0.25 * spread)


def test_curves_that_rise_or_end_below_nothing_are_impossible() -> None:
    """An accuracy above 100 % would be foretold, or that more labels harm."""
    rising = posterior(SHAPE, LABELS, ERROR[::-1], IMAGES, draws())
    steep = posterior(SHAPE, LABELS, np.array([0.9, 0.6, 0.4, 0.2, 0.01]), IMAGES, draws())

    assert rising.possible.mean() < 0.05
    assert steep.possible.mean() < 0.5
    floor = (steep.u + steep.s * SHAPE.floor)[steep.possible > 0]
    assert (floor >= 0).all()


def test_the_variance_of_a_share_is_never_nothing() -> None:
    """A model without a mistake on the test images would weigh more than all others together."""
    assert variance(np.array([0.0, 0.5]), 100) == pytest.approx([0.00493, 0.25], rel=0.01)
