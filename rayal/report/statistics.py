"""The numbers of a report: intervals over seeds, area under the curve, paired tests.

L label counts; every function takes plain arrays and knows nothing of runs, and raises ValueError
where one of the numbers is NaN or infinite: what a seed lacks is for the caller to leave out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # scipy.stats takes a second to import

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean over seeds with its 95 % t-interval, mean +- half."""

    mean: float
    half: float | None
    """None for one value: a single run says nothing about spread."""
    n: int


def interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean +- t(n - 1) * s / sqrt(n), with s the sample standard deviation (n - 1)."""
    x = _finite(values)
    if x.size < 2:
        return Interval(float(x.mean()), None, x.size)
    quantile = special.stdtrit(x.size - 1, (1 + confidence) / 2)
    return Interval(float(x.mean()), float(quantile * x.std(ddof=1) / np.sqrt(x.size)), x.size)


def aulc(labels: ArrayLike, values: ArrayLike) -> float:
    """Area under the learning curve by trapezoids, divided by the range of labels.

    So it has the unit of the metric: the mean height of the curve. Needs two label counts or more.
    """
    x, y = _finite(labels), _finite(values)
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


class PairedTest(NamedTuple):
    """Two-sided paired t-test of a - b over common seeds."""

    difference: Interval
    p: float | None
    """None for fewer than two pairs; 1 where all differences are zero, which is a tie."""


def paired_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Compare two methods seed by seed; `a[i]` and `b[i]` belong to the same seed."""
    differences = _finite(a) - _finite(b)
    measured = interval(differences)
    if measured.n < 2:
        return PairedTest(measured, None)
    if not differences.any():
        return PairedTest(measured, 1.0)  # t would be 0 / 0
    error = differences.std(ddof=1) / np.sqrt(measured.n)
    t = abs(measured.mean) / error if error > 0 else np.inf
    return PairedTest(measured, float(2 * special.stdtr(measured.n - 1, -t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of m p-values; compare the results with the error rate itself.

    Sorted upwards, p_(i) becomes max over j <= i of (m - j + 1) * p_(j), at most 1.
    *Source:* Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 1979.
    """
    p = _finite(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(value) for value in adjusted]


def _finite(numbers: ArrayLike) -> Values:
    x = np.asarray(numbers, dtype=np.float64)
    if not np.isfinite(x).all():  # NaN would pass every comparison as False
        raise ValueError(f"{x[~np.isfinite(x)][0]} is among the numbers to compare: {x.tolist()}")
    return x
