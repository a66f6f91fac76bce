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

from rayal.report.drawing import DOTS, GREY, INK, Drawing
from rayal.report.places import in_figure

COLUMNS, WIDTH = 4, 2.1
"""Images in a line; of one, in inches."""
WRONG = "#B00020"
SIGNS = 24
"""Of a name; it is cut at its front, where the names of a dataset are alike."""


class Prediction(NamedTuple):
    """What the model that chose says of an image."""

    label: str
    """The most probable class."""
    share: float
    """Its probability, 0 to 1."""
    entropy: float
    """nats"""


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
    predicted: Prediction | None
    """None where the weights were pruned."""


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
        said = shot.predicted and shot.predicted.label
        wrong = None not in (said, shot.answer) and said != shot.answer
        colour = WRONG if wrong else INK
        ax.set_title(_above(shot), fontsize=9, color=colour, parse_math=False)
        ax.set_xlabel(_below(shot), fontsize=7, color=GREY, parse_math=False)
        ax.imshow(shot.pixels, interpolation="nearest")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    return figure


def _above(shot: Shot) -> str:
    """What the model says, and what it is."""
    answer = shot.note if shot.answer is None else f"is {short(shot.answer)}"
    if shot.predicted is None:
        return answer
    return f"says {short(shot.predicted.label)}, {shot.predicted.share:.0%}\n{answer}"


def _below(shot: Shot) -> str:
    """Why it was chosen, and which it is."""
    measured = [] if shot.score is None else [f"score {shot.score:.4g}"]
    measured += [] if shot.predicted is None else [f"entropy {shot.predicted.entropy:.2f} nats"]
    first, *rest = shot.reason.split(", ", 1)
    lines = [line for part in (first, *rest) for line in textwrap.wrap(part, SIGNS + 14)]
    note = "" if shot.answer is None else shot.note
    return "\n".join(
        part for part in (*lines, ", ".join(measured), note, short(shot.image)) if part
    )


def short(name: str) -> str:
    """A name as figures have room for it."""
    name = in_figure(name)
    return name if len(name) <= SIGNS else f"…{name[1 - SIGNS :]}"
