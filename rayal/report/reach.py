"""Labels to reach a height, and what that saves against another curve.

A curve is L label counts, rising, and L values; the higher, the better. Nothing is extrapolated:
a height that no measured point is at has not been reached.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rayal.report.statistics import Interval, interval


class Reached(NamedTuple):
    """How many labels one curve needs to be at a height."""

    labels: float
    at_most: bool = False
    """Whether its first point is as high already, so that it may need fewer."""


def reached(curve: Mapping[int, float], height: float) -> Reached | None:
    """The first count at which a curve is at `height`: where the straight line between two measured
    points that follow each other crosses it. None where no measured point is as high.

    A curve that falls again has reached it nevertheless.
    """
    before: tuple[int, float] | None = None
    for at, value in sorted(curve.items()):
        if value >= height:
            if before is None:
                return Reached(float(at), at_most=True)
            start, low = before
            return Reached(start + (at - start) * (height - low) / (value - low))
        before = at, value
    return None


class Reach(NamedTuple):
    """How many labels the seeds of an arm need to be at a height."""

    height: float
    seeds: Mapping[int, Reached | None]
    """By seed; None: not reached with the labels that it had."""
    mean_curve: Reached | None
    """Of the mean over the seeds."""

    @property
    def n(self) -> int:
        """How many seeds reach it."""
        return sum(each is not None for each in self.seeds.values())

    @property
    def labels(self) -> Interval | None:
        """The mean over the seeds; None unless all reach it: that of the others alone would be too
        low."""
        there = [each.labels for each in self.seeds.values() if each is not None]
        return interval(there) if there and len(there) == len(self.seeds) else None


def reach(curves: Mapping[int, Mapping[int, float]], height: float) -> Reach:
    """Of the curves of an arm by seed; their mean is taken at the counts that all of them have."""
    seeds = {seed: reached(curve, height) for seed, curve in sorted(curves.items())}
    return Reach(height, seeds, reached(mean_curve([*curves.values()]), height))


def mean_curve(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean at each label count that all curves have."""
    common = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return {at: sum(curve[at] for curve in curves) / len(curves) for at in common}


def saved(arm: Reach, baseline: Reach) -> float | None:
    """Share of the labels that the arm's mean curve needs less than the baseline's to be at their
    height: 0.38 for 38 % fewer, below 0 for more. None where one of them is not there, or is with
    the first labels already, before any strategy has chosen."""
    here, there = arm.mean_curve, baseline.mean_curve
    if here is None or there is None or here.at_most or there.at_most:
        return None
    return 1 - here.labels / there.labels
