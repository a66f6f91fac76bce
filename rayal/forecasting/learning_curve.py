"""A learning curve fitted with all shapes at once, each as probable as the measurements make it.

D draws. Real curves follow no shape for ever: strategies start late and pools run out. So each draw
leaves its shape slowly, by DRIFT standard deviations of one image's share for every doubling of the
labels; that number was chosen on measured curves (configs/RESULTS.md), so that the interval holds
what it promises.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rayal.forecasting.families import Numbers, shapes
from rayal.forecasting.posterior import DRAWS, draws, posterior, variance

ENOUGH = 4
"""Label counts without which nothing is said: a shape alone has three numbers."""
FARTHEST = 4.0
"""Times the most labels that were measured: beyond, nothing is said."""
COVERAGE = 0.9
"""Of the interval."""
IMAGES = 1000
"""Test images where nobody knows how many."""
DRIFT = 0.05
"""How far a curve leaves its shape, see above."""
STEPS = 96
"""Label counts at which it is looked whether a target is reached."""
IMPROBABLE = 1e-9
"""Draws of less weight than this beside the best are left out."""


class Estimate(NamedTuple):
    """A number that is not known yet: its median, and the interval that is to hold it in nine cases
    of ten."""

    value: float
    low: float
    high: float


class Reach(NamedTuple):
    """Labels with which a target is reached; None: not within FARTHEST times those measured."""

    value: float | None
    low: float | None
    high: float | None
    probability: float
    """That it is within those."""


class LearningCurve:
    """What is known of a curve, as weighted draws of curves."""

    def __init__(self, labels: ArrayLike, values: ArrayLike, images: float | None = None) -> None:
        """`values`: the metric, in [0, 1], at growing counts of `labels`, ENOUGH or more; measured
        on so many `images` each, None: not known.

        Raises ValueError for fewer, and for values that are no shares.
        """
        self.labels = np.asarray(labels, np.float64)
        error = 1 - np.asarray(values, np.float64)
        if len(self.labels) < ENOUGH or not (np.diff(self.labels) > 0).all() or self.first <= 0:
            raise ValueError(f"{ENOUGH} growing label counts are needed, got {self.labels}")
        if not ((error >= 0) & (error <= 1)).all():
            raise ValueError(f"a metric in [0, 1] is needed, got {values!r}")
        self.images = float(IMAGES if images is None else images)
        self._fit(error)

    @property
    def first(self) -> float:
        """The fewest labels that were measured."""
        return float(self.labels[0])

    @property
    def last(self) -> float:
        """The most."""
        return float(self.labels[-1])

    @property
    def farthest(self) -> float:
        """The most labels that anything is said of."""
        return FARTHEST * self.last

    def measured(self, labels: float) -> Estimate:
        """The metric that will be measured with this many labels, noise included."""
        error = self.errors(labels)
        noise = self._noise * self._sigma * np.sqrt(variance(error, self.images))
        return self._estimate(1 - np.clip(error + noise, 0, 1))

    def expected(self, labels: float) -> Estimate:
        """The metric that models with this many labels have on average."""
        return self._estimate(1 - self.errors(labels))

    def gain(self, more: float) -> Estimate:
        """How much higher the metric will be with so many labels more than were measured."""
        return self._estimate(self.errors(self.last) - self.errors(self.last + more))

    def reach(self, target: float) -> Reach:
        """With how many labels the expected metric is the target; no fewer than were measured
        first."""
        counts = np.geomspace(self.first, self.farthest, STEPS)
        height = np.stack([1 - self.errors(count) for count in counts])  # STEPS D
        there = height >= target
        step = there.argmax(axis=0)
        rows, before = np.arange(there.shape[1]), np.maximum(step - 1, 0)
        low, high = height[before, rows], height[step, rows]
        share = np.where(high > low, (target - low) / np.where(high > low, high - low, 1), 0)
        found = counts[before] + np.clip(share, 0, 1) * (counts[step] - counts[before])
        found = np.where(there.any(axis=0), found, np.inf)
        bounds = [each if np.isfinite(each) else None for each in self._bounds(found)]
        within = float(self._weights[np.isfinite(found)].sum())
        return Reach(bounds[1], bounds[0], bounds[2], within)

    def errors(self, labels: float) -> Numbers:
        """The error of each draw with this many labels, (D,), without noise."""
        g = np.array([shape.at(np.array([labels]))[0] for shape in self._shapes])
        error = np.clip(self._u + self._s * g[self._of], 0, 1)
        doublings = max(float(np.log2(labels / self.last)), 0.0)
        moved = self._drift * DRIFT * doublings * np.sqrt(error * (1 - error))
        away: Numbers = np.clip(error + moved, 0, 1)
        return away

    def _estimate(self, values: Numbers) -> Estimate:
        low, middle, high = self._bounds(values)
        return Estimate(middle, low, high)

    def _bounds(self, values: Numbers) -> list[float]:
        tail = (1 - COVERAGE) / 2
        return quantiles(values, self._weights, (tail, 0.5, 1 - tail))

    def _fit(self, error: Numbers) -> None:
        self._shapes = [*shapes(self.first, self.last)]
        drawn = draws()
        found = [posterior(each, self.labels, error, self.images, drawn) for each in self._shapes]
        evidence = np.array([each.evidence for each in found])
        weights = np.repeat(np.exp(evidence - evidence.max()), DRAWS)
        weights *= np.concatenate([each.possible for each in found])
        kept = weights > IMPROBABLE * weights.max()
        self._weights = weights[kept] / weights[kept].sum()
        self._of = np.repeat(np.arange(len(found)), DRAWS)[kept]
        self._u, self._s, self._sigma = (
            np.concatenate([getattr(each, name) for each in found])[kept]
            for name in ("u", "s", "sigma")
        )
        self._noise, self._drift = (
            np.tile(each, len(found))[kept] for each in (drawn.noise, drawn.drift)
        )


def quantiles(values: Numbers, weights: Numbers, at: Sequence[float]) -> list[float]:
    """Of values with weights that sum to 1, those below which so much of the weight lies."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    places = np.minimum(np.searchsorted(below, np.asarray(at)), len(order) - 1)
    return [float(each) for each in values[order][places]]
