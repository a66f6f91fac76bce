"""How a metric is shown to people: rates in percent, everything else as files have it."""

import math
from typing import NamedTuple

from rayal.report.statistics import Interval

RATES = frozenset({"accuracy", "miou"})
"""Metrics in [0, 1] that people read in percent; files keep the fraction."""


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


def limits(metric: str) -> Limits:
    """Of what it can be."""
    return Limits(0, 100) if metric in RATES else UNLIMITED


def cell(point: Interval, metric: str) -> str:
    """`78.50 ± 2.48` below a heading that says the unit; no interval where one seed has none."""
    digits = 2 if metric in RATES else 4
    mean = f"{point.mean * scale(metric):.{digits}f}"
    half = point.half
    return mean if half is None else f"{mean} ± {half * scale(metric):.{digits}f}"


def said(point: Interval, metric: str) -> str:
    """As `cell`, with its unit: for a sentence."""
    return cell(point, metric) + (" %" if metric in RATES else "")
