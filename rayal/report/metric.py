"""How a metric is shown to people: rates in percent, everything else as files have it."""

import math
from typing import NamedTuple

from rayal.data.tasks.base import EXPLORED, FIT, NEW, is_tested, metric_of
from rayal.report.statistics import Interval

RATES = frozenset(
    f"{kind}{rate}" for kind in ("", NEW, FIT, EXPLORED) for rate in ("accuracy", "miou")
)
"""Metrics in [0, 1] that people read in percent; files keep the fraction."""


LOSSES = frozenset(f"{kind}nll" for kind in ("", NEW, FIT))
"""Metrics that are 0 at least."""


class Limits(NamedTuple):
    """What a metric can be, in the unit that it is shown in."""

    low: float
    high: float


UNLIMITED = Limits(-math.inf, math.inf)


def scale(metric: str) -> int:
    """What a value of a file is multiplied by."""
    return 100 if metric in RATES else 1


def unit(metric: str) -> str:
    """Behind the metric's name in a heading."""
    return " (%)" if metric in RATES else ""


def axis(metric: str) -> str:
    """What stands at the axis of a curve."""
    if is_tested(metric):
        return f"Test {metric}{unit(metric)}"
    which = "drawn at random" if metric.startswith(EXPLORED) else "bought last"
    return f"{metric_of(metric).capitalize()} on labels {which}{unit(metric)}"


def limits(metric: str) -> Limits:
    """Of what it can be."""
    if metric in RATES:
        return Limits(0, 100)
    return Limits(0, math.inf) if metric in LOSSES else UNLIMITED


def cell(point: Interval | None, metric: str) -> str:
    """`78.50 ± 2.48` below a heading that says the unit; no interval where one seed has none, and –
    where there is no value."""
    if point is None:
        return "–"
    digits = 2 if metric in RATES else 4
    mean = f"{point.mean * scale(metric):.{digits}f}"
    half = point.half
    return mean if half is None else f"{mean} ± {half * scale(metric):.{digits}f}"


def said(point: Interval, metric: str) -> str:
    """As `cell`, with its unit: for a sentence."""
    return cell(point, metric) + (" %" if metric in RATES else "")


def points(point: Interval, metric: str) -> str:
    """A difference for a sentence: `2.4 ± 1.3 points`; with two decimals where one would say 0."""
    unit, factor = (" points", 100) if metric in RATES else ("", 1)
    values = [factor * value for value in (point.mean, point.half) if value is not None]
    if factor == 1:
        return " ± ".join(f"{value:.3g}" for value in values)
    digits = 1 if min(map(abs, values)) >= 0.1 else 2
    return " ± ".join(f"{value:.{digits}f}" for value in values) + unit


def height(value: float, metric: str) -> str:
    """A height for a sentence: `95 % accuracy`, `96.7 % accuracy`, `nll 0.25`."""
    if metric not in RATES:
        return f"{metric} {value:.4g}"
    return f"{100 * value:.1f}".removesuffix(".0") + f" % {metric}"


def p_value(p: float | None) -> str:
    """`0.038`, `< 0.001`, or `–` for none."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
