"""The names of lines beside a panel, each at the height of its line's end, none upon another."""

from collections.abc import Iterator
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from rayal.report import metric
from rayal.report.drawing import DASHES, INK, style
from rayal.report.groups import Group
from rayal.report.places import in_figure

NAME_SIGNS = 48
"""In one line beside a panel."""


class Name(NamedTuple):
    """What is written beside a panel."""

    text: str
    height: float
    """Of what it names, in the panel's own numbers."""
    colour: str
    line: str | tuple[int, tuple[int, ...]]
    end: tuple[float, float] | None
    """Where the line ends that it is joined to; None: it is joined to none."""


def name_lines(ax: Axes, group: Group, ends: dict[str, tuple[float, float]]) -> None:
    """Write each arm's name in a column right of the axes, at the height of its line's end; among
    them those of references, at theirs."""
    bottom, top = ax.get_ylim()
    names = sorted(_names(ax, group, ends), key=lambda name: name.height)
    wanted = [(name.height - bottom) / (top - bottom) for name in names]
    for name, height in zip(names, spaced(wanted), strict=True):
        leader = {"arrowstyle": "-", "relpos": (0, 0.5), "linestyle": name.line, "lw": 0.9}
        ax.annotate(
            fill(in_figure(name.text), NAME_SIGNS),
            xy=name.end or (1, name.height),
            xycoords="data" if name.end else ax.get_yaxis_transform(),
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=name.colour,
            arrowprops={**leader, "color": name.colour, "alpha": 0.6} if name.end else None,
            parse_math=False,
        )


def _names(ax: Axes, group: Group, ends: dict[str, tuple[float, float]]) -> Iterator[Name]:
    for arm in group.arms:
        if end := ends.get(arm.label):
            colour, line, _ = style(group, arm)
            # From a point further left, or the only one there is, it would look like a curve.
            right = len(group.labels) > 1 and end[0] == group.labels[-1]
            yield Name(f"{arm.label} ({arm.size})", end[1], colour, line, end if right else None)
    for each in group.references:
        text = f"{each.name} ({each.labels:,} {group.counted}, {each.arm.size})"
        yield Name(text, metric.scale(group.metric) * each.point.mean, INK, DASHES, None)


def spaced(heights: list[float], gap: float = 0.065) -> list[float]:
    """The nearest heights (least squares) that are at least `gap` apart; takes them sorted.

    With y_i = h_i - i * gap the condition is that y does not fall: isotonic regression.
    """
    if not heights:
        return []
    from scipy.optimize import isotonic_regression  # takes a moment to import

    steps = gap * np.arange(len(heights))
    spaced = isotonic_regression(np.array(heights) - steps).x + steps
    return list(spaced - max(0.0, spaced[-1] - 1.0))
