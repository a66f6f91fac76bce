"""Image, masks, prediction and uncertainty side by side: a row for each image, a figure per cycle.

H W is the size of an image, without the filling of its canvas. C classes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rayal.data.masks import IGNORE, Mask
from rayal.report.drawing import DOTS, GREY, INK, Drawing, encoded
from rayal.report.palette import NO_CLASS, palette
from rayal.report.places import in_figure

MAX_BYTES, LEAST_DOTS = 1_000_000, 40
"""Of a picture, and pixels per inch below which it is not made smaller."""
WIDTH = 2.1
"""Of a column, in inches."""
ID_SIGNS = 24
"""Of an image's name; it is cut at its front, where the names of a dataset are alike."""
NAMES, LINE = 6, 0.17
"""Of classes, in one line of the legend; its height in inches."""
COVER = 0.65
"""How much of the image a bought mask covers."""
UNCERTAINTY = "magma"


class Row(NamedTuple):
    """One chosen image."""

    image: str
    note: str
    """What was bought of it."""
    pixels: NDArray[np.uint8]  # H W 3
    reference: Mask  # H W: the true mask in a simulation, what was bought elsewhere
    predicted: Mask  # H W
    entropy: NDArray[np.float32]  # H W, nats
    bought: Mask  # H W, IGNORE where nothing was bought in this cycle
    outlines: tuple[NDArray[np.int64], ...]  # of the regions bought, each K 2, x y


def draw(rows: Sequence[Row], classes: Sequence[str], title: str, reference: str) -> Figure:
    """The picture of a cycle; `reference` is the heading of `Row.reference`.

    The scale of entropy is 0 to ln C, the same in all pictures of a run.
    """
    heads = ["Image", reference, "Prediction", "Entropy", "Bought"]
    shape = np.mean([row.predicted.shape for row in rows], axis=0)
    colours = _colours(len(classes))
    legend = _legend(rows, classes, colours)
    around = 0.9 + LINE * math.ceil(len(legend) / NAMES)
    size = WIDTH * len(heads) + 0.3, len(rows) * WIDTH * shape[0] / shape[1] + around
    # Figure, not pyplot: no global state, so a thread or a notebook beside us is not disturbed.
    figure = Drawing(size, dpi=DOTS, layout="compressed")
    axes = figure.subplots(len(rows), len(heads), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        uncertainty = _line(line, row, colours, math.log(len(classes)))
    for ax, head in zip(axes[0], heads, strict=True):
        ax.set_title(head, fontsize=10, color=INK)
    _scale(axes[-1, 3], uncertainty, len(classes))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    named = figure.legend(
        handles=legend,
        loc="outside lower center",
        ncols=NAMES,
        fontsize=8,
        labelcolor=INK,
        frameon=False,
        handlelength=1.2,
    )
    for text in named.get_texts():
        text.set_parse_math(False)
    return figure


def small_png(figure: Figure) -> bytes:
    """The figure with DOTS pixels an inch, or as many as fit into MAX_BYTES."""
    dots = float(DOTS)
    while True:
        with matplotlib.rc_context({"savefig.dpi": dots}):
            data = encoded(figure, "png")
        if len(data) <= MAX_BYTES or dots <= LEAST_DOTS:
            return data
        dots *= 0.95 * math.sqrt(MAX_BYTES / len(data))


def _line(axes: Sequence[Axes], row: Row, colours: NDArray[np.uint8], most: float) -> AxesImage:
    """Draw an image; returns the map of its entropy, whose scale ends at `most`."""
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    image, reference, predicted, uncertain, bought = axes
    name = in_figure(row.image)
    name = name if len(name) <= ID_SIGNS else f"…{name[1 - ID_SIGNS :]}"
    label = "\n".join(part for part in (name, row.note) if part)
    image.set_ylabel(label, fontsize=7, color=GREY, parse_math=False)
    image.imshow(row.pixels)
    for ax, mask in ((reference, row.reference), (predicted, row.predicted)):
        ax.imshow(colours[mask], interpolation="nearest")
    bought.imshow(_covered(row, colours), interpolation="nearest")
    bought.autoscale(False)
    for outline in row.outlines:
        x, y = np.vstack([outline, outline[:1]]).T - 0.5  # pixels' corners; centres are whole
        bought.plot(x, y, color="white", lw=1.8, solid_joinstyle="round")
        bought.plot(x, y, color=INK, lw=0.8, solid_joinstyle="round")
    return uncertain.imshow(row.entropy, UNCERTAINTY, vmin=0, vmax=most, interpolation="nearest")


def _scale(ax: Axes, uncertainty: AxesImage, classes: int) -> None:
    """The colours of entropy, right below a map of it and as wide."""
    place = ax.inset_axes((0, -0.09, 1, 0.05))
    bar = ax.figure.colorbar(uncertainty, cax=place, orientation="horizontal")
    low, high = uncertainty.get_clim()
    bar.set_ticks([low, high], labels=["0", f"ln {classes} = {high:.1f} nats"])
    first, last = place.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    bar.outline.set_visible(False)
    place.tick_params(length=0, labelcolor=INK, labelsize=8)


def _covered(row: Row, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image in pale grey, H W 3, the bought mask laid over it."""
    grey = row.pixels.mean(axis=2, keepdims=True, dtype=np.float32)
    pale = (0.6 * grey + 0.4 * 255).repeat(3, axis=2)
    mixed = COVER * colours[row.bought].astype(np.float32) + (1 - COVER) * pale
    nothing = (row.bought == IGNORE)[:, :, None]
    covered: NDArray[np.uint8] = np.where(nothing, pale, mixed).round().astype(np.uint8)
    return covered


def _colours(classes: int) -> NDArray[np.uint8]:
    """What each value of a mask looks like, sRGB: 256 3."""
    colours = np.tile(to_rgb(NO_CLASS), (IGNORE + 1, 1))
    colours[:classes] = palette(classes)
    return (255 * colours).round().astype(np.uint8)


def _legend(rows: Sequence[Row], classes: Sequence[str], colours: NDArray[np.uint8]) -> list[Patch]:
    """The classes that some mask shows."""
    masks = [mask for row in rows for mask in (row.reference, row.predicted, row.bought)]
    shown = np.unique(np.concatenate([np.unique(mask) for mask in masks])).tolist()
    names = {**dict(enumerate(map(in_figure, classes))), IGNORE: "no class"}
    return [Patch(color=colours[value] / 255, label=names[value]) for value in shown]
