"""Parallel coordinates of a sweep: a line per arm through its settings to what it reached."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rayal.report import metric
from rayal.report.drawing import DOTS, GREY, INK, Drawing, encoded
from rayal.report.groups import Group
from rayal.report.places import in_figure, wrapped
from rayal.report.sweeps import ABSENT, keys, leading, ranking, setting

DECADES = 1.5
"""Numbers that span more powers of ten than this are drawn on a logarithmic axis."""
AXIS_WIDTH, HEIGHT = 1.9, 4.2  # inches
MARGIN = 0.2
"""Inches beside a text that stay free, both sides together."""


def drawn(group: Group, objective: str) -> tuple[bytes, bytes]:
    """Parallel coordinates as PNG and SVG."""
    made = figure(group, objective)
    return encoded(made, "png"), encoded(made, "svg")


def figure(group: Group, objective: str) -> Figure:
    """A line per arm through what was varied to what it reached, the best arm on top and thick."""
    ranked = ranking(group, objective)
    varied = keys([run for each in ranked for run in each.arm.runs])
    made = Drawing((AXIS_WIDTH * (len(varied) + 1.6), HEIGHT), dpi=DOTS, layout="constrained")
    ax = made.subplots()
    values = [metric.scale(group.metric) * each.reached.mean for each in ranked]
    colours = matplotlib.colormaps["viridis"]
    shade = Normalize(min(values, default=0), max(values, default=1))
    columns = [_Column.of([setting(each.arm.runs[0], key) for each in ranked]) for key in varied]
    columns.append(_Column.of([repr(value) for value in values]))
    for place in reversed(range(len(ranked))):  # the best last, above the others
        heights = [column.heights[place] for column in columns]
        best = place == 0
        ax.plot(
            heights, color=colours(0.9 * shade(values[place])), lw=3 if best else 1.2, alpha=0.9
        )
    goal = "AULC" if objective == "aulc" else f"final {group.metric}"
    _axes(ax, columns, [*varied, f"{goal}{metric.unit(group.metric)}"])
    title = in_figure(f"{group.name}: {leading(group, objective) or 'no trial is complete'}")
    title = wrapped(title, 9, made.get_figwidth() - MARGIN)
    ax.set_title(title, loc="left", fontsize=9, color=INK, parse_math=False)
    return made


class _Column(NamedTuple):
    """One axis: where each arm crosses it, in [0, 1], and what is written beside it."""

    heights: list[float]
    ticks: list[tuple[float, str]]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Column":
        numbers = [_number(text) for text in texts]
        there = [number for number in numbers if number is not None]
        if not there or any(n is None and t != ABSENT for n, t in zip(numbers, texts, strict=True)):
            names = sorted(set(texts))
            places = {name: (i + 0.5) / len(names) for i, name in enumerate(names)}
            return cls([places[text] for text in texts], [(y, name) for name, y in places.items()])
        low, high = min(there), max(there)
        log = low > 0 and math.log10(high / low) > DECADES
        bottom = 0.12 if len(there) < len(texts) else 0.0

        def height(number: float) -> float:
            if high == low:
                return 0.5
            share = (
                math.log(number / low) / math.log(high / low)
                if log
                else (number - low) / (high - low)
            )
            return bottom + (1 - bottom) * share

        shown = np.geomspace(low, high, 4) if log else np.linspace(low, high, 4)
        ticks = {f"{value:.3g}": height(value) for value in shown}
        if bottom:
            ticks[ABSENT] = 0.0
        return cls(
            [0.0 if number is None else height(number) for number in numbers],
            [(y, text) for text, y in ticks.items()],
        )


def _axes(ax: Axes, columns: Sequence[_Column], names: Sequence[str]) -> None:
    ax.set_xlim(-0.2, len(columns) - 0.5)
    ax.set_ylim(-0.05, 1.05)
    ax.set_xticks(
        range(len(names)),
        [wrapped(in_figure(each), 8, AXIS_WIDTH - MARGIN) for each in names],
        fontsize=8,
        color=INK,
        parse_math=False,
    )
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)
    for x, column in enumerate(columns):
        ax.axvline(x, color=GREY, lw=0.8, zorder=0)
        for y, text in column.ticks:
            ax.annotate(
                in_figure(text),
                (x, y),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=7,
                color=INK,
                va="center",
                parse_math=False,
            )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
