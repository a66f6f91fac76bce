"""Figures of how arms stand against each other: penalties, ranks, the critical difference.

Each has a width in inches, that of a page or of a column of a paper, and the height that it needs.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rayal.report.drawing import DOTS, GREY, INK, dress, style
from rayal.report.groups import Group
from rayal.report.line_names import spaced
from rayal.report.palette import NO_CLASS
from rayal.report.places import in_figure, inches, wrapped
from rayal.report.ranks import LEVEL, Ranking
from rayal.report.standings import Standings

COLUMN, PAGE = 3.25, 6.75
"""Widths of one and of two columns of a paper, in inches."""
TEXT, SMALL = 8.0, 7.0
"""Points of its text, and of ticks and notes."""
CELL = 0.34
"""Height of a row of a matrix, in inches."""
COLOURS, DARK = "YlGnBu", 0.55
"""Of cells, and from which share of the largest on they are dark."""
STEP = 0.19
"""Height of a line of text in a diagram, in inches."""


def penalties(s: Standings, width: float = PAGE) -> Figure:
    """The pairwise penalty matrix with the mean of each column below it: the row beats the
    column."""
    arms = len(s.arms)
    names = [in_figure(name) for name in s.arms]
    longest = max(inches(name, SMALL) for name in names)
    longest = min(longest, width / 3)
    figure = _figure(width, CELL * (arms + 1) + longest + 0.7)
    ax = figure.subplots()
    values = np.vstack([s.penalties, s.losses])
    shown = np.ma.masked_invalid(values)
    ax.set_facecolor(NO_CLASS)
    most = s.settings  # what a cell can be at most
    edges = [*range(arms + 1), arms + 0.25, arms + 1.25]
    cells = np.ma.masked_invalid(np.insert(shown.filled(np.nan), arms, np.nan, axis=0))
    mesh = ax.pcolormesh(np.arange(arms + 1), edges, cells, cmap=COLOURS, vmin=0, vmax=most)
    mesh.set(edgecolor="white", linewidth=0.6)
    ax.axhspan(*edges[-3:-1], color="white", lw=0, zorder=3)
    centres = [*(np.arange(arms) + 0.5), arms + 0.75]
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value > DARK * most else INK
            at = column + 0.5, centres[row]
            ax.text(*at, f"{value:.2f}", ha="center", va="center", fontsize=SMALL, color=colour)
    ax.set(xlim=(0, arms), ylim=(edges[-1], 0))
    lines = [wrapped(name, SMALL, longest) for name in names]
    ax.set_yticks(centres, [*lines, "mean loss"], fontsize=SMALL, parse_math=False)
    turned = 90 if any(inches(name, SMALL) > width / 2 / arms for name in names) else 0
    ax.set_xticks(np.arange(arms) + 0.5, lines, fontsize=SMALL, parse_math=False, rotation=turned)
    ax.xaxis.tick_top()
    _title(figure, f"{s.title}: how often the row beats the column", width)
    ax.tick_params(length=0, labelcolor=INK)
    ax.spines[:].set_visible(False)
    return figure


def critical_difference(s: Standings, width: float = PAGE) -> Figure:
    """Mean ranks on a line, the best left; a bar joins arms that are not separated."""
    assert s.ranking is not None, "who has no ranking has no diagram"
    r, arms = s.ranking, len(s.arms)
    left, bars = (arms + 1) // 2, r.together
    axis = 0.62
    below = axis + 0.14 + 0.09 * len(bars)
    names = [f"{in_figure(name)} {mean:.2f}" for name, mean in zip(s.arms, r.means, strict=True)]
    named = min(max(inches(name, SMALL) for name in names) + 0.1, 0.3 * width)
    names = [wrapped(name, SMALL, named) for name in names]
    step = STEP * (1 + max(name.count("\n") for name in names) * 0.7)
    height = below + step * max(left, arms - left) + 0.3
    figure = Figure((width, height), dpi=DOTS)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    start, end = named + 0.12, width - named - 0.12

    def at(rank: float) -> float:
        return start + (rank - 1) / max(1, arms - 1) * (end - start)

    _scale(ax, axis, arms, at)
    reach = min(at(1 + r.critical), end)
    ax.plot([at(1), reach], [0.22, 0.22], color=INK, lw=1.2, solid_capstyle="butt")
    for x in (at(1), reach):
        ax.plot([x, x], [0.18, 0.26], color=INK, lw=1.2)
    wide = "" if at(1 + r.critical) <= end else ", wider than this scale"
    _text(ax, (at(1) + reach) / 2, 0.12, f"critical difference {r.critical:.2f}{wide}", "center")
    for number, group in enumerate(bars):
        y = axis + 0.12 + 0.09 * number
        ends = [at(r.means[group[0]]) - 0.03, at(r.means[group[-1]]) + 0.03]
        ax.plot(ends, [y, y], color=INK, lw=2.6, solid_capstyle="butt")
    for place, arm in enumerate(s.order):
        first = place < left
        row = place if first else arms - 1 - place
        y = below + step * row
        edge = start - 0.05 if first else end + 0.05
        ax.plot([at(r.means[arm])] * 2 + [edge], [axis, y, y], color=GREY, lw=0.7)
        beside = edge - 0.05 if first else edge + 0.05
        _text(ax, beside, y, names[arm], "right" if first else "left")
    _text(ax, 0.05, height - 0.1, wrapped(_scope(s, r), SMALL, width - 0.1), "left", GREY)
    return figure


def ranks(s: Standings, g: Group, width: float = PAGE) -> Figure:
    """Mean ranks by labels, the best on top; a line for each arm, in the colours of its curves."""
    assert s.by_count, "who has no ranking has no lines"
    figure = _figure(width, 0.62 * width if width < PAGE else 0.45 * width)
    ax = figure.subplots()
    counts = [*s.by_count]
    for number, arm in enumerate(g.arms):
        colour, line, front = style(g, arm)
        means = [s.by_count[at][number] for at in counts]
        ax.plot(counts, means, line, color=colour, lw=1.3, marker="o", ms=2.5, zorder=front)
    ax.set_ylim(len(s.arms) + 0.2, 0.8)
    _ends(ax, s, g, figure.get_figheight())
    small(ax, wrapped(in_figure(s.title), TEXT, width - 0.7), g.counted.capitalize(), "Mean rank")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    return figure


def small(ax: Axes, title: str, x: str, y: str) -> None:
    """The look of all panels, in the sizes of a paper."""
    dress(ax, title, x, y, int(TEXT))
    ax.tick_params(labelsize=SMALL)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_fontsize(TEXT)


def _ends(ax: Axes, s: Standings, g: Group, height: float) -> None:
    """Write each arm's name at the end of its line, no two over each other, in a figure of such a
    height."""
    at, means = [*s.by_count.items()][-1]
    order = sorted(range(len(means)), key=lambda arm: means[arm], reverse=True)
    gap = 0.17 / (height - 0.8)  # of the height of the axes, see `small`
    low, high = ax.get_ylim()
    heights = spaced([(means[arm] - low) / (high - low) for arm in order], gap)
    for arm, place in zip(order, heights, strict=True):
        colour, _, _ = style(g, g.arms[arm])
        ax.annotate(
            in_figure(s.arms[arm]),
            (at, means[arm]),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            color=colour,
            parse_math=False,
        )


def _scale(ax: Axes, y: float, arms: int, at: Callable[[float], float]) -> None:
    ax.plot([at(1), at(arms)], [y, y], color=INK, lw=1)
    for rank in range(1, arms + 1):
        ax.plot([at(rank)] * 2, [y - 0.06, y], color=INK, lw=1)
        _text(ax, at(rank), y - 0.13, str(rank), "center")


def _text(ax: Axes, x: float, y: float, text: str, side: str, colour: str = INK) -> None:
    ax.text(x, y, text, ha=side, va="center", fontsize=SMALL, color=colour, parse_math=False)


def _scope(s: Standings, r: Ranking) -> str:
    what = f"mean ranks of areas over {r.blocks} {s.blocks}, 1 is the best"
    return f"{what}; Friedman's test finds nothing" if r.p >= LEVEL else what


def _title(figure: Figure, text: str, width: float) -> None:
    title = wrapped(in_figure(text), TEXT, width - 0.2)
    told = figure.suptitle(title, x=0.02, ha="left", fontsize=TEXT, color=INK)
    told.set_parse_math(False)


def _figure(width: float, height: float) -> Figure:
    # Figure, not pyplot: no global state, so a thread or a notebook beside us is not disturbed.
    return Figure((width, height), dpi=DOTS, layout="constrained")
