"""Calibration: how far a classifier's confidence is its accuracy, before and after a temperature.

N predictions, C classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

Values = NDArray[np.float64]
BINS = 15
"""Of confidence, as Guo et al. have them."""
HOTTEST = 6.0
"""A temperature is looked for from 2 ** -HOTTEST to 2 ** HOTTEST."""


class Reliability(NamedTuple):
    """The bins of a reliability diagram, those that are empty left out."""

    confidence: tuple[float, ...]
    """Mean of each bin."""
    accuracy: tuple[float, ...]
    share: tuple[float, ...]
    """Of all predictions."""

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1: the mean distance of accuracy and confidence.

        *Source:* Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
        """
        rows = zip(self.share, self.accuracy, self.confidence, strict=True)
        return sum(share * abs(right - sure) for share, right, sure in rows)


def reliability(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> Reliability:
    """Of logits N C and true classes N, in bins of equal width, each open below: (0, 1/15]."""
    log_probs = _log_probs(logits, temperature)
    truth = np.asarray(labels)
    sure = np.exp(log_probs.max(axis=1))
    right = log_probs.argmax(axis=1) == truth
    place = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    used = count > 0
    sums = (np.bincount(place, weights=values, minlength=BINS) for values in (sure, right))
    confidence, accuracy = (total[used] / count[used] for total in sums)
    share = count[used] / len(truth)
    return Reliability(*(tuple(each.tolist()) for each in (confidence, accuracy, share)))


def temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """What logits are divided by so that their likelihood of these labels is the highest: above 1
    where the classifier is too sure.

    On the images that calibration is then measured on it would flatter; see `halves`.
    """
    z, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels)

    def nll(log_t: float) -> float:
        rows = _log_probs(z, 2.0**log_t)
        return -float(rows[np.arange(len(truth)), truth].mean())

    return float(2.0 ** minimize_scalar(nll, bounds=(-HOTTEST, HOTTEST), method="bounded").x)


class Calibration(NamedTuple):
    """Of one classifier on one split."""

    ece: float
    ece_after: float
    """With a temperature: of each half of the images with that of the other half."""
    temperature: float
    """Of all images."""


def halves(logits: ArrayLike, labels: ArrayLike) -> Calibration:
    """Calibration before and after a temperature that no image chose for itself: every other image,
    in the order given, belongs to the same half."""
    z, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    scaled = z.copy()
    for own, other in (
        (slice(0, None, 2), slice(1, None, 2)),
        (slice(1, None, 2), slice(0, None, 2)),
    ):
        scaled[own] = z[own] / temperature(z[other], truth[other])
    return Calibration(
        reliability(z, truth).ece, reliability(scaled, truth).ece, temperature(z, truth)
    )


def _log_probs(logits: ArrayLike, temperature: float) -> Values:
    found: Values = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return found
