"""Calibration: how far a classifier's confidence is its accuracy, before and after a temperature.

N predictions, C classes.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayal.runs.results import Calibration

Values = NDArray[np.float64]
BINS = 15
"""Of confidence, as Guo et al. have them."""
COLDEST, HOTTEST = 2.0**-6, 2.0**6
"""Between which a temperature is looked for."""
CLOSE = 1e-9
"""A temperature is found to this relative error."""


class Reliability(NamedTuple):
    """The bins of a reliability diagram, those that are empty left out."""

    confidence: tuple[float, ...]
    """Mean of each bin."""
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]
    """Predictions in each."""

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1: the mean distance of accuracy and confidence.

        *Source:* Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
        """
        rows = zip(self.counts, self.accuracy, self.confidence, strict=True)
        return sum(count * abs(right - sure) for count, right, sure in rows) / sum(self.counts)


def reliability(logits: ArrayLike, labels: ArrayLike) -> Reliability:
    """Of logits N C and true classes N, in bins of equal width, each open below: (0, 1/15]."""
    z, truth = _shifted(logits), np.asarray(labels)
    sure = 1 / np.exp(z).sum(axis=1)
    right = z.argmax(axis=1) == truth
    place = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    used = count > 0
    sums = (np.bincount(place, weights=values, minlength=BINS) for values in (sure, right))
    confidence, accuracy = (total[used] / count[used] for total in sums)
    return Reliability(*(tuple(each.tolist()) for each in (confidence, accuracy, count[used])))


def temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """What logits are divided by so that their likelihood of these labels is the highest: above 1
    where the classifier is too sure; COLDEST or HOTTEST where it would be beyond.

    On the images that calibration is then measured on it would flatter; see `calibrated`.
    """
    z, truth = _shifted(logits), np.asarray(labels)
    of_truth = z[np.arange(len(truth)), truth].mean()
    # the loss is convex in 1 / temperature: Newton's steps, inside what is known to hold the end
    low, high = 1 / HOTTEST, 1 / COLDEST
    at, tried = 1.0, set[float]()
    while at not in tried and high / low - 1 > CLOSE:
        tried.add(at)
        slope, curvature = _slopes(z, at, of_truth)
        low, high = (at, high) if slope < 0 else (low, at)
        step = at - slope / curvature if curvature > 0 else math.inf
        if slope == 0 or abs(step / at - 1) < CLOSE:
            break
        at = step if low < step < high else high if slope < 0 else low
        if at in tried:
            at = math.sqrt(low * high)
    return 1 / at


def calibrated(logits: ArrayLike, labels: ArrayLike) -> Calibration:
    """Calibration before and after a temperature that no image chose for itself: every other image,
    in the order given, belongs to the same half. At least two are needed."""
    z, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    scaled = z.copy()
    for own, other in (
        (slice(0, None, 2), slice(1, None, 2)),
        (slice(1, None, 2), slice(0, None, 2)),
    ):
        scaled[own] = z[own] / temperature(z[other], truth[other])
    bins = reliability(z, truth)
    return Calibration(
        images=len(truth),
        ece=bins.ece,
        ece_after=reliability(scaled, truth).ece,
        temperature=temperature(z, truth),
        **bins._asdict(),
    )


def _shifted(logits: ArrayLike) -> Values:
    """With 0 as the highest of each row."""
    z = np.asarray(logits, dtype=np.float64)
    found: Values = z - z.max(axis=1, keepdims=True)
    return found


def _slopes(z: Values, at: float, of_truth: float) -> tuple[float, float]:
    """The first two derivatives of the mean loss by 1 / temperature, `at` such a one."""
    weights = np.exp(at * z)
    total = weights.sum(axis=1)
    weights *= z
    mean = weights.sum(axis=1) / total
    weights *= z
    spread = weights.sum(axis=1) / total - mean**2
    return float(mean.mean() - of_truth), float(spread.mean())
