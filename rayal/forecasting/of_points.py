"""The learning curve of measured points."""

from collections.abc import Sequence

from rayal.forecasting.learning_curve import ENOUGH, LearningCurve
from rayal.runs.measured import Measured


def usable(points: Sequence[Measured]) -> list[Measured]:
    """Those that a curve can go through: not where nothing was paid yet, nor where nothing was
    bought since the last one."""
    found: dict[float, Measured] = {}
    for point in points:
        if point.at > max(found, default=0):
            found[point.at] = point
    return [*found.values()]


def curve_of(points: Sequence[Measured]) -> LearningCurve | None:
    """Of points in order; None where they are too few to say anything."""
    those = usable(points)
    if len(those) < ENOUGH:
        return None
    counts, values, images = zip(*those, strict=True)
    known = [each for each in images if each is not None]
    return LearningCurve(counts, values, min(known) if len(known) == len(images) else None)
