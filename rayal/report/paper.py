"""Figures as a paper prints them: vectors, at the widths of its columns, with embedded fonts.

Colours are those of all figures, which any colour vision tells apart; in print without colours
markers do.
"""

import math
from collections.abc import Iterable, Iterator

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rayal.report import diagrams, metric
from rayal.report.curves import curve
from rayal.report.diagrams import COLUMN, PAGE, SMALL, small
from rayal.report.drawing import DASHES, DOTS, INK, encoded, style
from rayal.report.groups import Group
from rayal.report.places import in_figure, inches, wrapped
from rayal.report.standings import RANKED, of_group

WIDTHS = {"column": COLUMN, "page": PAGE}
KINDS = ("pdf", "svg")
MARKERS = "osD^vP*X"
HEIGHT = {COLUMN: 2.3, PAGE: 3.2}
"""Of the axes of curves at each width, in inches."""
LINE = 0.17
"""Height of a line of a legend."""


def files(groups: Iterable[Group]) -> Iterator[tuple[str, bytes]]:
    """`curves-column.pdf` and so on of each group, with a number from the second one on."""
    for number, group in enumerate(each for each in groups if each.labels):
        suffix = f"-{number}" if number else ""
        for name, width in WIDTHS.items():
            for what, figure in _figures(group, width).items():
                for kind in KINDS:
                    yield f"{what}{suffix}-{name}.{kind}", encoded(figure, kind)


def _figures(group: Group, width: float) -> dict[str, Figure]:
    found = {"curves": curves(group, width)}
    standings = of_group(group)
    if len(group.arms) >= RANKED and standings.compared:
        found["penalties"] = diagrams.penalties(standings, width)
    if standings.ranking is not None:
        found["critical_difference"] = diagrams.critical_difference(standings, width)
        found["ranks"] = diagrams.ranks(standings, group, width)
    return found


def curves(group: Group, width: float = COLUMN) -> Figure:
    """The learning curves of a group with their bands, the names of its arms below."""
    handles = [_handle(group, number) for number in range(len(group.arms))]
    handles += [
        Line2D([], [], ls=DASHES, color=INK, lw=1, label=in_figure(each.name))
        for each in group.references
    ]
    longest = max(inches(str(line.get_label()), SMALL) for line in handles) + 0.45
    columns = max(1, min(len(handles), int((width - 0.1) / longest)))
    height = HEIGHT.get(width, 0.6 * width) + LINE * math.ceil(len(handles) / columns) + 0.1
    with matplotlib.rc_context({"legend.handlelength": 2.4}):
        figure = Figure((width, height), dpi=DOTS, layout="constrained")
        ax = figure.subplots()
        for number, arm in enumerate(group.arms):
            curve(ax, group, arm)
            for line in ax.lines[-1:]:
                line.set(marker=MARKERS[number % len(MARKERS)], lw=1.2, markersize=3)
        for reference in group.references:
            height_of = metric.scale(group.metric) * reference.point.mean
            ax.axhline(height_of, ls=DASHES, color=INK, lw=1, zorder=2)
        title = wrapped(in_figure(group.question), 8, width - 0.7)
        small(ax, title, group.counted.capitalize(), metric.axis(group.metric))
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=SMALL,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def _handle(group: Group, number: int) -> Line2D:
    arm = group.arms[number]
    colour, line, _ = style(group, arm)
    marker, label = MARKERS[number % len(MARKERS)], in_figure(f"{arm.label} ({arm.size})")
    return Line2D([], [], color=colour, ls=line, marker=marker, ms=3, lw=1.2, label=label)
