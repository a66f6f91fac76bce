"""A forecast in words, for a terminal of 80 columns."""

import math
import textwrap
from collections.abc import Iterator

from rayal.errors import counted
from rayal.forecasting.learning_curve import COVERAGE, FARTHEST, Estimate
from rayal.report import metric
from rayal.report.amounts import duration
from rayal.report.forecasts import Outlook

WIDTH, INDENT = 80, 9
"""Columns of a line, and of what stands before its text."""


def lines(each: Outlook) -> Iterator[str]:
    """Of one arm."""
    yield from _wrapped(f"{each.name}: {each.arm}, {_basis(each)}")
    for title, text in _told(each):
        yield from _wrapped(text, f"{title:{INDENT}}")


def _wrapped(text: str, title: str = "") -> list[str]:
    after = " " * max(2, len(title))
    return textwrap.wrap(
        text, WIDTH, initial_indent=title, subsequent_indent=after, break_long_words=False
    )


def _told(each: Outlook) -> Iterator[tuple[str, str]]:
    """Titles and texts."""
    if each.curve is None:
        yield "unknown", str(each.why)
        return
    for labels, estimate in each.expected.items():
        yield "expected", _expected(each, labels, estimate)
    if each.reach is not None:
        yield "target", _target(each)
        if cost := _cost(each):
            yield "price", cost
    yield "next", _next(each)


def note() -> str:
    """What the numbers are."""
    text = (
        f"In parentheses: {100 * COVERAGE:.0f} % intervals. Nothing is said beyond {FARTHEST:g}"
        " times what was measured."
    )
    return "\n".join(_wrapped(text))


def amount(each: Outlook, spent: float, exact: bool = False) -> str:
    """`1,200 labels`, two digits of it unless it is `exact`; of seconds `3.5 h of annotation`."""
    if each.unit == "seconds":
        return f"{duration(spent)} of annotation"
    return counted(_rounded(spent, exact), each.counted.rstrip("s"))


def between(each: Outlook, low: float, high: float, exact: bool = False) -> str:
    """`20 to 300 labels`"""
    if each.unit == "seconds":
        return f"{duration(low)} to {amount(each, high)}"
    return f"{_rounded(low, exact):,} to {amount(each, high, exact)}"


def _rounded(spent: float, exact: bool) -> int:
    if exact or spent < 1:
        return round(spent)
    step = 10 ** max(0, math.floor(math.log10(spent)) - 1)
    return int(round(spent / step) * step)


def value(each: Outlook, share: float) -> str:
    """`95.1 %`"""
    return f"{share * metric.scale(each.metric):.1f}" + (
        " %" if metric.scale(each.metric) == 100 else ""
    )


def _basis(each: Outlook) -> str:
    points = each.basis.points
    if not points:
        return counted(len(each.basis.seeds), "seed")
    what = "labels drawn at random, new to each model" if each.basis.random else "test images"
    span = between(each, points[0].at, points[-1].at, exact=True)
    known = "" if points[-1].images is None or each.basis.random else f"{_images(each):,} "
    return (
        f"{counted(len(each.basis.seeds), 'seed')}, {counted(len(points), 'cycle')}, {span}:"
        f" {each.metric} {value(each, points[-1].value)} on {known}{what}"
    )


def _images(each: Outlook) -> int:
    return (each.basis.points[-1].images or 0) // len(each.basis.seeds)


def _expected(each: Outlook, labels: float, estimate: Estimate | None) -> str:
    times = f"{labels / each.last:.1f} times those measured"
    if estimate is None:
        return f"{amount(each, labels, True)} are {times}: nothing is said of so many"
    low = value(each, estimate.low).removesuffix(" %")
    high = value(each, estimate.high).removesuffix(" %")
    told = f"{value(each, estimate.value)} ({low} to {high})"
    return f"{told} with {amount(each, labels, True)}, {times}"


def _target(each: Outlook) -> str:
    reach, curve = each.reach, each.curve
    assert reach is not None and curve is not None and each.asked.target is not None
    target = value(each, each.asked.target)
    far = amount(each, curve.farthest, True)
    share = 100 * reach.probability
    sure = f"{share:.0f} %" if 1 <= share <= 99 else "less than 1 %" if share < 1 else "over 99 %"
    enough = f"; that {far} are enough is {sure} probable"
    if reach.value is None:
        least = "" if reach.low is None else f", nor before {amount(each, reach.low)}"
        return f"{target} is not expected within {far}{least}{enough}"
    low = reach.low or 0.0
    known = reach.high is not None and between(each, low, reach.high)
    least = duration(low) if each.unit == "seconds" else f"{_rounded(low, exact=False):,}"
    span = known or f"{least} to more than {far}"
    if reach.high is not None and reach.high <= each.last:
        return f"{target} was reached with {amount(each, reach.value)} ({span})"
    return f"{target} with {amount(each, reach.value)} ({span}){enough}"


def _cost(each: Outlook) -> str | None:
    assert each.reach is not None
    cost = each.cost(each.reach.value)
    if cost is None:
        return None
    low, high = each.cost(each.reach.low), each.cost(each.reach.high)
    upper = "more than is known" if high is None else f"{high:,.2f}"
    return f"{cost:,.2f} ({low or 0.0:,.2f} to {upper}) for those not bought yet"


def _next(each: Outlook) -> str:
    batch, cost = amount(each, each.batch, True), each.cost(each.last + each.batch)
    paid = "" if cost is None else f" for {cost:,.2f}"
    if each.gain is None:
        return f"{batch}{paid}: nothing is said of so many at once"
    low, middle, high = (100 * x for x in (each.gain.low, each.gain.value, each.gain.high))
    told = f"{batch}{paid}: {middle:+.2f} points ({low:+.2f} to {high:+.2f})"
    return told if each.per_point is None else f"{told}, {each.per_point:,.2f} a point"
