"""Figures of one panel, for analyses and for a paper's numbers beside ours."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayal.report.drawing import COLOURS, DOTS, LINES, PANEL, dress
from rayal.report.metric import UNLIMITED, Limits
from rayal.report.statistics import interval


def panel(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure of one panel with its labels."""
    figure = Figure(PANEL, dpi=DOTS, layout="constrained")
    ax = figure.subplots()
    dress(ax, title, x, y)
    return figure, ax


def band(
    ax: Axes,
    points: Mapping[float, Sequence[float]],
    label: str,
    place: int,
    within: Limits = UNLIMITED,
) -> None:
    """The mean over runs at each x as a line; with its 95 % t-interval from three runs on, as that
    of two is 12.7 standard errors wide, as far as it is `within` what can be. `place` decides
    colour and dashes."""
    colour, dashes = COLOURS[place % len(COLOURS)], LINES[place // len(COLOURS) % len(LINES)]
    x = np.array(sorted(points))
    found = [interval(points[at]) for at in x]
    mean, half = np.array([(i.mean, i.half if i.half and i.n > 2 else 0.0) for i in found]).T
    ax.plot(x, mean, dashes, color=colour, lw=1.6, marker="o", ms=3, mew=0, label=label)
    low, high = np.clip((mean - half, mean + half), *within)
    ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)


def legend(ax: Axes) -> None:
    """Names the lines beside the axes."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
