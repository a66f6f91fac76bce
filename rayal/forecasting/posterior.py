"""What a shape's two numbers and the noise can be, given what was measured, in closed form.

L label counts, D draws. The error at n labels is u + s g(n) with a shape g, s >= 0 and a floor that
is not below 0. What is measured differs from it by noise of variance sigma^2 v, where v = e (1 - e)
is how the share of one image varies. u and s have flat priors on [0, 1], sigma^2 a scaled inverse
chi-square around 1 / images, which is what a new draw of test images would make of it.

*Source*: the conjugate analysis of linear regression with a semi-conjugate noise, as in Gelman et
al., Bayesian Data Analysis, 3rd edition, sections 14.2 and 14.8.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.stats import qmc

from rayal.forecasting.families import Numbers, Shape

DRAWS = 64
"""Of each shape; a power of 2, as Sobol's sequence has it."""
SURE = 2.0
"""How many measurements the prior of the noise counts for."""


class Draws(NamedTuple):
    """Quasi-random numbers that all shapes share: the same points, the same forecast."""

    sigma: Numbers
    """(D,) in (0, 1)."""
    numbers: Numbers
    """(D, 2) standard normal, for u and s."""
    noise: Numbers
    """(D,) standard normal, of a measurement to come."""
    drift: Numbers
    """(D,) standard normal, of how a curve leaves its shape."""


@cache
def draws() -> Draws:
    """Always the same ones."""
    uniform = qmc.Sobol(5, scramble=True, rng=np.random.default_rng(0)).random(DRAWS)
    normal = special.ndtri(uniform[:, 1:])
    return Draws(uniform[:, 0], normal[:, :2], normal[:, 2], normal[:, 3])


class Posterior(NamedTuple):
    """Of one shape."""

    evidence: float
    """Log of the marginal likelihood, times what the shape was believed before."""
    u: Numbers
    """(D,) the error at the last label count."""
    s: Numbers
    """(D,) what it fell by from the first to the last."""
    sigma: Numbers
    """(D,) of the noise."""
    possible: Numbers
    """(D,) 1.0 where the curve falls and stays an error, else 0.0."""


def variance(error: Numbers, images: float) -> Numbers:
    """v of a share of so many images, kept off 0 as by half an image more of each kind."""
    share = (error * images + 0.5) / (images + 1)
    v: Numbers = share * (1 - share)
    return v


def posterior(
    shape: Shape, labels: Numbers, error: Numbers, images: float, drawn: Draws
) -> Posterior:
    """Of a shape, given the errors at these label counts, (L,) both."""
    ones = np.ones_like(labels)
    x = ones[:, None] if shape.flat else np.stack([ones, shape.at(labels)], axis=1)
    weight = 1 / variance(error, images)
    gram = x.T @ (weight[:, None] * x)
    inverse = np.linalg.inv(gram)
    best = inverse @ (x.T @ (weight * error))
    rest = float((weight * (error - x @ best) ** 2).sum())
    free = (len(labels) - x.shape[1]) / 2
    a, b = SURE / 2, SURE / 2 / images
    evidence = (
        np.log(shape.belief)
        - np.linalg.slogdet(gram)[1] / 2
        - free * np.log(2 * np.pi)
        + a * np.log(b)
        - special.gammaln(a)
        + special.gammaln(a + free)
        - (a + free) * np.log(b + rest / 2)
    )
    sigma = np.sqrt((b + rest / 2) / special.gammaincinv(a + free, drawn.sigma))
    spread = drawn.numbers[:, : x.shape[1]] @ np.linalg.cholesky(inverse).T
    found = best + sigma[:, None] * spread
    u, s = found[:, 0], np.zeros_like(sigma) if shape.flat else found[:, 1]
    possible = (s >= 0) & (u + s * shape.floor >= 0) & (u >= 0) & (u <= 1)
    return Posterior(float(evidence), u, s, sigma, possible.astype(np.float64))
