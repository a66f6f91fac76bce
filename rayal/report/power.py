"""Power: the smallest difference between two arms that so many seeds could have shown."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL, POWER = 0.05, 0.8


def smallest_difference(
    differences: ArrayLike, tests: int = 1, level: float = LEVEL, power: float = POWER
) -> float | None:
    """The true mean difference that a two-sided paired t-test at `level / tests` finds with
    probability `power`, where differences between seeds spread as these do; in their unit.

    `level / tests` is the first, strictest step of Holm's correction. The spread of few seeds is
    itself uncertain: of five, by a factor of 0.6 to 2.9 (95 %). None for fewer than two seeds; 0
    where all differences are the same.
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.size < 2:
        return None
    per_error = standardised(x.size, level / max(1, tests), power)
    return float(per_error * x.std(ddof=1) / np.sqrt(x.size))


@cache
def standardised(n: int, level: float, power: float = POWER) -> float:
    """The same of n seeds, in standard errors: how far the true mean has to be from zero for |t| to
    be beyond the critical value with probability `power`."""
    from scipy.optimize import brentq  # takes a moment to import

    critical = -float(special.stdtrit(n - 1, level / 2))

    def missing(shift: float) -> float:
        return probability(n, critical, shift) - power

    highest = critical
    while missing(highest) < 0:
        highest *= 2
    return float(brentq(missing, 0, highest, xtol=1e-9))


def probability(n: int, critical: float, shift: float) -> float:
    """That |t| of n seeds is beyond `critical` where the true mean is `shift` standard errors.

    |Z + shift| > critical * S, with S the deviation of the sample over the true one, whose
    distribution is integrated over by Gauss and Legendre's nodes; scipy's noncentral t is NaN for
    few seeds and strict levels.
    """
    nodes, weights = _nodes()
    deviation = np.sqrt(special.chdtri(n - 1, 1 - nodes) / (n - 1))
    beyond = special.ndtr(shift - critical * deviation)
    opposite = special.ndtr(-shift - critical * deviation)
    return float(weights @ (beyond + opposite))


@cache
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of probabilities, from 0 to 1, and their weights: a tenth of a second and more, which a run
    without seeds does not need."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    return (nodes + 1) / 2, weights / 2
