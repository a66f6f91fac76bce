"""A forecast as a figure: what was measured, the curve that goes on, its interval, the target."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rayal.forecasting.learning_curve import COVERAGE
from rayal.report import metric
from rayal.report.drawing import COLOURS, DASHES, DOTS, GREY, INK, PANEL, PANELS, Drawing, dress
from rayal.report.forecasts import Outlook
from rayal.report.places import in_figure, wrapped

STEPS = 40
"""Label counts of a curve."""


def figure(found: list[Outlook]) -> Figure:
    """A panel for each arm of which something can be said."""
    shown = [each for each in found if each.curve is not None]
    columns = min(PANELS, max(1, len(shown)))
    rows = -(-len(shown) // columns) or 1
    width, height = PANEL
    drawn = Drawing((width * columns, height * rows), dpi=DOTS, layout="constrained")
    axes = drawn.subplots(rows, columns, squeeze=False).flat
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    for ax, each in zip(axes, shown, strict=False):
        _panel(ax, each)
    legend = f"line: expected, band: {100 * COVERAGE:.0f} % interval, points: measured"
    drawn.supxlabel(legend, x=0.01, ha="left", fontsize=8, color=GREY)
    return drawn


def _panel(ax: Axes, each: Outlook) -> None:
    curve = each.curve
    assert curve is not None
    scale = metric.scale(each.metric)
    counts = np.unique([*np.geomspace(curve.first, curve.farthest, STEPS), curve.last])
    value, low, high = scale * np.array([curve.measured(count) for count in counts]).T
    colour = COLOURS[0]
    ax.fill_between(counts, low, high, color=colour, alpha=0.18, lw=0, zorder=2)
    known, ahead = counts <= curve.last, counts >= curve.last
    ax.plot(counts[known], value[known], color=colour, lw=1.6, zorder=3)
    ax.plot(counts[ahead], value[ahead], color=colour, lw=1.6, ls="--", zorder=3)
    at, values = [p.at for p in each.basis.points], [scale * p.value for p in each.basis.points]
    ax.plot(at, values, "o", color=INK, ms=4, mew=0, zorder=4)
    ax.axvline(curve.last, color=GREY, lw=0.9, ls=":", zorder=1)
    if each.asked.target is not None:
        ax.axhline(scale * each.asked.target, color=INK, lw=1.1, ls=DASHES, zorder=1)
    title = wrapped(in_figure(f"{each.name}: {each.arm}"), 11, PANEL[0] - 1)
    dress(ax, title, each.counted.capitalize(), f"{each.metric}{metric.unit(each.metric)}")
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
