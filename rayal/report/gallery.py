"""Chosen images of a cycle that have one class each, with what the model and the answer say.

H W is the size of an image.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayal.report.curves import DOTS, GREY, INK, Drawing
from rayal.report.places import in_figure

COLUMNS, WIDTH = 4, 2.1
"""Images in a line; of one, in inches."""
WRONG = "#B00020"
SIGNS = 24
"""Of a name; it is cut at its front, where the names of a dataset are alike."""


class Shot(NamedTuple):
    """One chosen image."""

    image: str
    rank: int
    """From 1."""
    reason: str
    """Why it was chosen."""
    score: float | None
    """Higher was chosen sooner; None of strategies that compare in place of scoring."""
    note: str
    """What was paid, or why nothing was bought."""
    pixels: NDArray[np.uint8]  # H W 3
    answer: str | None
    """The true class in a simulation, what was answered elsewhere; None: not known yet."""
    predicted: str
    share: float
    """Probability of the predicted class, 0 to 1."""
    entropy: float
    """nats"""


def draw(shots: Sequence[Shot], title: str) -> Figure:
    """The picture of a cycle, in order of rank; a prediction that is not the answer is red."""
    columns = min(COLUMNS, len(shots))
    lines = math.ceil(len(shots) / columns)
    # Figure, not pyplot: no global state, so a thread or a notebook beside us is not disturbed.
    size = max(columns, 2) * WIDTH + 0.3, lines * (WIDTH + 1.05) + 0.4
    figure = Drawing(size, dpi=DOTS, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, shot in zip(axes, shots, strict=False):
        wrong = shot.answer is not None and shot.answer != shot.predicted
        colour = WRONG if wrong else INK
        ax.set_title(_above(shot), fontsize=9, color=colour, parse_math=False)
        ax.set_xlabel(_below(shot), fontsize=7, color=GREY, parse_math=False)
        ax.imshow(shot.pixels, interpolation="nearest")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    return figure


def _above(shot: Shot) -> str:
    """What the model says, and what it is."""
    answer = shot.note if shot.answer is None else f"is {_short(shot.answer)}"
    return f"says {_short(shot.predicted)}, {shot.share:.0%}\n{answer}"


def _below(shot: Shot) -> str:
    """Why it was chosen, and which it is."""
    score = "" if shot.score is None else f"score {shot.score:.4g}, "
    first, *rest = shot.reason.split(", ", 1)
    lines = [line for part in (first, *rest) for line in textwrap.wrap(part, SIGNS + 14)]
    measured = f"{score}entropy {shot.entropy:.2f} nats"
    note = "" if shot.answer is None else shot.note
    return "\n".join(part for part in (*lines, measured, note, _short(shot.image)) if part)


def _short(name: str) -> str:
    name = in_figure(name)
    return name if len(name) <= SIGNS else f"…{name[1 - SIGNS :]}"
