"""How all figures look: colours, lines, panels; and a figure as a file, or in a notebook."""

import io

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayal.report.arms import Arm
from rayal.report.groups import BASELINE, Group

# Okabe and Ito's palette, which people with any colour vision tell apart, without its yellow
# (unreadable as text) and its black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":")
DASHES = (0, (7, 4))
"""Of a reference: longer than those of LINES."""
GREY = "#7A7A7A"
INK = "#333333"
PANELS = 3
"""Panels in one row."""
PANEL = (6.4, 4.2)
"""Width and height of a panel, labels of the lines included, in inches."""
DOTS = 200
"""Pixels per inch of the PNG."""


class Drawing(Figure):
    """A figure that shows itself in a notebook, whether or not pyplot is in use there."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png")


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as a file, without dates and random ids: equal figures are equal bytes. Fonts are
    outlines in an SVG, and embedded as TrueType in a PDF, as journals ask."""
    out = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context({"svg.hashsalt": "rayal", "pdf.fonttype": 42}):
        figure.savefig(out, format=kind, metadata=metadata)
    return out.getvalue()


def style(group: Group, arm: Arm) -> tuple[str, str, int]:
    """Of an arm's line: colour, line and layer; the baseline is grey and lies behind the others."""
    rivals = [
        other for other in group.arms if (other.strategy == BASELINE) == (arm.strategy == BASELINE)
    ]
    index = rivals.index(arm)
    if arm.strategy == BASELINE:
        return GREY, LINES[index % len(LINES)], 3
    return COLOURS[index % len(COLOURS)], LINES[index // len(COLOURS) % len(LINES)], 5


def dress(ax: Axes, title: str, x: str, y: str, size: int = 11) -> None:
    """Gives a panel its title, its labels and the look of all panels."""
    ax.set_title(title, loc="left", fontsize=size, color=INK, pad=10, parse_math=False)
    ax.set_xlabel(x, color=INK)
    ax.set_ylabel(y, color=INK)
    ax.grid(color="#E5E5E5", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#BBBBBB")
    ax.tick_params(color="#BBBBBB", labelcolor=INK, labelsize=9)
