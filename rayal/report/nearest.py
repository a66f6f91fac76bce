"""Pairs of images whose features are nearest, of those that a cycle chose and those that it passed
over: what a distance means is seen, and whether it is the one to set.

H W is the size of an image.
"""

import math
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayal.cycle.told import TO_CHOSEN, TO_LABELED
from rayal.data.store import Store
from rayal.report.drawing import DOTS, GREY, INK, Drawing
from rayal.report.gallery import short
from rayal.report.slices import shown
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage import csv_file
from rayal.storage.stage_file import of_stage

COLUMNS, WIDTH = 3, 2.8
"""Pairs in a line; of one, in inches."""
SHARES = [1.0, 1.0, 0.2]
"""Widths of two images and of what keeps them from the next pair."""


class Neighbours(NamedTuple):
    """Two images."""

    first: str
    """Chosen, or passed over."""
    second: str
    """What was there before it."""
    distance: float
    second_is: str
    """`labeled` or `chosen`."""
    passed_over: bool = False

    def __str__(self) -> str:
        return f"{self.distance:.4g} from {self.second_is} {self.second}"


def of_chosen(record: Record, cycle: int) -> dict[str, Neighbours]:
    """Of each unit that a cycle chose the nearest one that was there before it; none where nobody
    asked for distances."""
    chosen = record.result(cycle, Chosen)
    if chosen is None or not chosen.distances:
        return {}
    folder = stage_folder(record.folder, cycle, Chosen.stage)
    with of_stage(folder):
        table = csv_file.parse(folder.read("chosen.csv", chosen.table)).to_pydict()
    found = {}
    for row, unit in enumerate(chosen.ids):
        near = [
            Neighbours(unit, table[f"nearest_{kind}"][row], float(table[column][row]), kind)
            for kind, column in (("labeled", TO_LABELED), ("chosen", TO_CHOSEN))
            if table[column][row]
        ]
        if near:
            found[unit] = min(near, key=lambda each: each.distance)
    return found


def of_passed_over(record: Record, cycle: int) -> Iterator[Neighbours]:
    """The first units that a cycle passed over for their distance, in the order of its ranking."""
    folder = stage_folder(record.folder, cycle, Chosen.stage)
    if record.result(cycle, Chosen) is None or not folder.exists("passed_over.csv"):
        return
    table = csv_file.parse(folder.read("passed_over.csv")).to_pydict()
    columns = (table[name] for name in ("id", "nearest", "distance", "nearest_is"))
    for unit, to, distance, kind in zip(*columns, strict=True):
        yield Neighbours(unit, to, float(distance), kind, passed_over=True)


def pairs(record: Record, cycle: int, count: int) -> list[Neighbours]:
    """The pairs of a cycle on both sides of the limit, the nearest first: `count` at most of those
    chosen, the nearest, and as many of those passed over, the farthest."""
    kept = sorted(of_chosen(record, cycle).values(), key=attrgetter("distance"))
    over = sorted(of_passed_over(record, cycle), key=attrgetter("distance"))
    return over[max(0, len(over) - count) :] + kept[:count]


def picture(record: Record, store: Store, cycle: int, count: int, title: str) -> Figure | None:
    """These pairs, drawn; None where nobody asked for distances."""
    found = pairs(record, cycle, count)
    if not found:
        return None
    ids = list(dict.fromkeys(unit for pair in found for unit in (pair.first, pair.second)))
    decoded = store.pool.decode(store.pool.take(ids))
    images = dict(zip(decoded.ids, map(shown, decoded.images), strict=True))
    return draw([(pair, images[pair.first], images[pair.second]) for pair in found], title)


def draw(
    seen: Sequence[tuple[Neighbours, NDArray[np.uint8], NDArray[np.uint8]]], title: str
) -> Figure:
    """Two images side by side for each pair, H W 3, the nearest first; what was passed over is
    said."""
    columns = min(COLUMNS, len(seen))
    lines = math.ceil(len(seen) / columns)
    size = max(columns, 2) * WIDTH + 0.3, lines * (WIDTH / 2 + 0.75) + 0.4
    figure = Drawing(size, dpi=DOTS, layout="constrained")
    axes = figure.subplots(lines, 3 * columns, squeeze=False, width_ratios=SHARES * columns).ravel()
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for place, (pair, first, second) in enumerate(seen):
        left, right, _ = axes[3 * place : 3 * place + 3]
        names = pair.first, pair.second
        says = "passed over" if pair.passed_over else "chosen", pair.second_is
        for ax, pixels, name, said in zip((left, right), (first, second), names, says, strict=True):
            ax.imshow(pixels, interpolation="nearest")
            ax.set_xlabel(f"{said}\n{short(name)}", fontsize=7, color=GREY, parse_math=False)
        left.set_title(f"{pair.distance:.4g} apart", fontsize=9, color=INK, loc="left")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    return figure
