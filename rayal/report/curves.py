"""Learning curves: the metric against labels, one panel per group, one colour per arm.

The line is the mean over seeds, the band its 95 % t-interval (none for one seed), as far as the
metric can be there and the curves keep a third of the height. Where some seeds
lack a point the line has a gap, and the values that are there are rings. Strategies are named
at the end of their lines, in their own colour. A group of more than TOGETHER arms would be a
tangle: each of its arms has a small panel of its own, with the baseline behind it.

A diamond right of a curve's end is a whole network, fine-tuned on the labels bought until then.

A reference is a dashed height across its panel, named at its right end; in small panels in the
line below all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rayal.data.tasks.base import is_tested, untested_note
from rayal.report import fine_tuned, metric
from rayal.report.arms import Arm
from rayal.report.drawing import (
    DASHES,
    DOTS,
    GREY,
    INK,
    PANEL,
    PANELS,
    Drawing,
    dress,
    encoded,
    style,
)
from rayal.report.groups import BASELINE, Group
from rayal.report.line_names import name_lines
from rayal.report.places import in_figure, wrapped
from rayal.report.statistics import Interval, interval
from rayal.report.tables import Summary, summarise
from rayal.runs.record import Record

TOGETHER = 8
"""Arms in one panel at most."""
SMALL_PANELS, SMALL_PANEL = 4, (3.6, 2.7)
"""Where there are more: as PANELS and PANEL."""
MARGIN = 0.2
"""Inches beside a text across the figure that stay free, both sides together."""
EDGE = 0.05
"""Of the height of a panel, beyond what it shows; as matplotlib has it."""
Heights = tuple[float, float]
"""From where to where the axis of the metric goes."""
BESIDE = 0.025
"""Of the range of labels, from a curve's end to the diamond of its network, and between two."""


def draw(summary: Summary, out_png: Path, out_svg: Path) -> None:
    """Write the curves of all groups, as pixels and as vectors."""
    for path, data in zip((out_png, out_svg), drawn(summary), strict=True):
        path.write_bytes(data)


def drawn(summary: Summary) -> tuple[bytes, bytes]:
    """The curves of all groups as PNG and as SVG."""
    curves = figure(summary)
    return encoded(curves, "png"), encoded(curves, "svg")


def draw_run(record: Record) -> bytes:
    """The PNG of one run's curve, for its own folder."""
    curve = figure(summarise([record]))
    if (layout := curve.get_layout_engine()) is not None:  # else savefig draws all of it twice
        layout.execute(curve)
        curve.set_layout_engine(None)
    return encoded(curve, "png")


def figure(summary: Summary) -> Figure:
    """The curves of all groups, to be changed or saved."""
    groups = [group for group in summary.groups if group.labels]  # a run may have only begun
    small = any(len(group.arms) > TOGETHER for group in groups)
    panels = [panel for group in groups for panel in (_apart(group) if small else [(group, None)])]
    columns = min(SMALL_PANELS if small else PANELS, max(1, len(panels)))
    rows = math.ceil(len(panels) / columns) or 1
    width, height = SMALL_PANEL if small else PANEL
    # Figure, not pyplot: no global state, so a thread or a notebook beside us is not disturbed.
    curves = Drawing((width * columns, height * rows), dpi=DOTS, layout="constrained")
    axes = curves.subplots(rows, columns, squeeze=False, sharex=small, sharey=small).flat
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    heights = [_heights(group) for group, _ in panels]
    if small:  # they share their axis
        heights = [_together(heights)] * len(panels)
    for ax, (group, arm), each in zip(axes, panels, heights, strict=False):
        _panel(ax, group, arm, each)
    legend = [*dict.fromkeys(untested_note(g.metric) for g in groups if not is_tested(g.metric))]
    if any(len(arm.runs) > 1 for group in groups for arm in group.arms):
        legend.append(
            "line: mean over n seeds, band: its 95 % t-interval as far as there is room, rings: not"
            " all seeds"
        )
    if ends := [point for group in groups for point in _ends(group)]:
        spread = ", with its 95 % t-interval" if any(point.half for point in ends) else ""
        legend.append(f"diamond: a whole network, fine-tuned on the labels of the end{spread}")
    if small:
        legend.append(f"grey: {BASELINE}, with the same scheme and settings where there is one")
    if small and (names := dict.fromkeys(r.name for group in groups for r in group.references)):
        legend.append(f"dashed: {', '.join(names)}")
    if legend:
        told = wrapped("; ".join(legend), 8, curves.get_figwidth() - MARGIN)
        curves.supxlabel(told, x=0.01, ha="left", fontsize=8, color=GREY)
    return curves


def _apart(group: Group) -> list[tuple[Group, Arm | None]]:
    """A panel for each arm: a group of the arm and its baseline, and the arm."""
    baselines = [arm for arm in group.arms if arm.strategy == BASELINE]
    panels: list[tuple[Group, Arm | None]] = []
    for arm in group.arms:
        same = group.baselines(arm) or baselines
        pair = (arm, *(each for each in same[:1] if each is not arm))
        panels.append((replace(group, arms=pair), arm))
    return panels


def _heights(group: Group) -> Heights | None:
    """From where to where a panel shows; None: nothing is drawn, or all at one height.

    All values, and of the bands as much as leaves a third of the height to the values: a band of
    two seeds is 12.7 standard errors wide, and would make every curve flat.
    """
    scale, limits = metric.scale(group.metric), metric.limits(group.metric)
    drawn = [(arm, at, arm.at(at)) for arm in group.arms for at in arm.labels]
    points = [(scale * point.mean, scale * (point.half or 0)) for _, _, point in drawn if point]
    tuned = [(scale * p.mean, scale * (p.half or 0)) for p in _ends(group)]
    points += tuned
    lonely = [scale * y for arm, at, point in drawn if point is None for y in arm.values(at)]
    references = [scale * each.point.mean for each in group.references]
    values = [*lonely, *references, *(mean for mean, _ in points)]
    if not values or (room := max(values) - min(values)) == 0:
        return None
    heights = [*lonely, *references]
    bottom = min([*heights, *(mean - half for mean, half in points)])
    top = max([*heights, *(mean + half for mean, half in points)])
    bottom = max(bottom, min(values) - room, limits.low)
    top = min(top, max(values) + room, limits.high)
    edge = EDGE * (top - bottom)  # less at a limit, where no tick should stand beyond it
    return (
        max(bottom - edge, limits.low - edge / 2),
        min(top + edge, limits.high + edge / 2),
    )


def _ends(group: Group) -> list[Interval]:
    """What the networks reached that were fine-tuned at the ends of curves."""
    return [tuned.point for tuned in fine_tuned.of_group(group).values()]


def _together(heights: Sequence[Heights | None]) -> Heights | None:
    """Of panels that share their axis."""
    if not (known := [each for each in heights if each]):
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _panel(ax: Axes, group: Group, only: Arm | None, heights: tuple[float, float] | None) -> None:
    """All arms of a group, named at their ends; or `only` one and its baseline, named above."""
    ends = {arm.label: curve(ax, group, arm) for arm in group.arms}
    _networks(ax, group)
    for reference in group.references:
        height = metric.scale(group.metric) * reference.point.mean
        ax.axhline(height, ls=DASHES, color=INK, lw=1.1, zorder=2)
    title, size = wrapped(in_figure(group.question), 11, PANEL[0] - 1), 11
    if only is not None:
        title, size = wrapped(in_figure(f"{only.label} ({only.size})"), 8, SMALL_PANEL[0] - 1), 8
    what = wrapped(metric.axis(group.metric), 10, PANEL[1] - 1) if only is None else group.metric
    dress(ax, title, group.counted.capitalize(), what, size)
    if heights is not None:
        ax.set_ylim(*heights)
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    if only is None:
        name_lines(ax, group, {label: end for label, end in ends.items() if end})
    else:
        ax.label_outer()


def curve(ax: Axes, group: Group, arm: Arm) -> tuple[float, float] | None:
    """Draw one arm; where it ends, which is None where no seed has a value."""
    scale = metric.scale(group.metric)
    colour, line, front = style(group, arm)
    points = [arm.at(labels) for labels in arm.labels]
    x = np.array(arm.labels, dtype=float)
    mean = np.array([point.mean if point else np.nan for point in points]) * scale
    half = np.array([point.half if point and point.half else np.nan for point in points]) * scale
    ax.plot(x, mean, line, color=colour, lw=1.6, marker="o", ms=3.5, mew=0, zorder=front)
    low, high = np.clip((mean - half, mean + half), *metric.limits(group.metric))
    ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0, zorder=front - 1)
    lonely = [
        (labels, value * scale)
        for labels, point in zip(arm.labels, points, strict=True)
        if point is None
        for value in arm.values(labels)
    ]
    if lonely:
        ax.plot(*zip(*lonely, strict=True), "o", mfc="none", mec=colour, ms=4, zorder=front)
    means = [(at, y) for at, y in zip(x, mean, strict=True) if np.isfinite(y)]
    return (means or lonely or [None])[-1]


def _networks(ax: Axes, group: Group) -> None:
    """A diamond for the networks of each arm that were fine-tuned at its end, right of it and side
    by side, with their interval and a dotted line from the curve's last point."""
    scale, limits = metric.scale(group.metric), metric.limits(group.metric)
    span = max(group.labels[-1] - group.labels[0], 1)
    for place, (label, tuned) in enumerate(fine_tuned.of_group(group).items(), start=1):
        arm = next(arm for arm in group.arms if arm.label == label)
        colour, _, front = style(group, arm)
        at, point = tuned.labels + BESIDE * place * span, tuned.point
        y, half = scale * point.mean, scale * (point.half or 0)
        low, high = np.clip((y - half, y + half), *limits)
        own = scale * interval(list(tuned.before.values())).mean
        ax.plot([tuned.labels, at], [own, y], ":", color=colour, lw=1.1, zorder=front)
        ax.plot([at, at], [low, high], color=colour, lw=1.1, zorder=front)
        ax.plot([at], [y], "D", color=colour, mec="white", mew=0.6, ms=6.5, zorder=front + 1)
