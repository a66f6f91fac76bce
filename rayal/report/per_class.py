"""What every class reached in every cycle: a heat map per run, and a table of the same numbers.

For every metric that has a value per class (`per_class_iou`, `per_class_accuracy`, ...). C classes,
T evaluated cycles.
"""

import math
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayal.errors import StorageError
from rayal.models.card import ModelCard
from rayal.report.drawing import DOTS, GREY, INK, encoded
from rayal.report.palette import NO_CLASS
from rayal.report.places import in_figure
from rayal.report.runs import Run, question
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Evaluated, Trained
from rayal.storage import csv_file

PREFIX = "per_class_"
ACRONYMS = {"iou": "IoU"}
PANELS = 12
"""Runs in one figure; the table has all."""
NUMBERED, NAMED = 16, 64
"""Most cycles whose cells hold numbers, and most classes whose rows have names."""
CELL, ROW, NAMES = 0.46, 0.22, 1.5
"""Width and height of a cell, and width of the column of names, in inches."""
WIDTH, HEIGHT, TALL = 15.5, 1.0, 7.0
"""Width of a figure at most, height of what is above and below cells, and of more classes than
NAMED, in inches."""
BAR, BAR_HEIGHT = 0.8, 2.6
"""Width of the colour bar with its numbers, and its height at most, in inches."""
LEAST, SIGNS = 5, 14
"""Cells of a panel at least, so that its title has room; signs of a title in an inch."""
COLOURS, DARK = "YlGnBu", 0.55
"""Of cells, and from which value on they are dark."""


class Grid(NamedTuple):
    """One metric of one run."""

    run: Run
    metric: str
    unit: str
    """What the budget counts."""
    classes: tuple[str, ...]  # C
    cycles: tuple[int, ...]  # T
    labels: tuple[int, ...]  # T
    costs: tuple[float, ...]  # T
    values: NDArray[np.float64]  # C T, NaN where it is not defined

    @property
    def spent(self) -> Sequence[float]:
        """T: what was paid before each cycle's training, in the budget's unit."""
        return self.labels if self.unit == "samples" else self.costs


def files(records: Iterable[Record]) -> dict[str, bytes]:
    """`per_class_iou.png` and `.csv` of runs, and so on; the headline's own metric comes first."""
    found: dict[str, list[Grid]] = {}
    for record in records:
        for grid in grids(record):
            found.setdefault(grid.metric, []).append(grid)
    made = {}
    for metric, each in found.items():
        made[f"{metric}.png"] = encoded(draw(each), "png")
        made[f"{metric}.csv"] = table(each).encode()
    return made


def grids(record: Record) -> list[Grid]:
    """The metrics of a run that have a value per class, the headline's own first."""
    rows = record.cycles()
    evaluated = (record.result(row["cycle"], Evaluated) for row in rows)
    results = [each.metrics for each in evaluated if each is not None]
    names = {key for result in results for key in result if key.startswith(PREFIX)}
    if not names:
        return []
    run, unit = Run.read(record), record.experiment()["budget"].get("unit", "samples")
    found = []
    for metric in sorted(names, key=lambda name: (not _belongs(name, run.metric), name)):
        values = np.array([result[metric] for result in results], np.float64).T  # null -> NaN
        found.append(
            Grid(
                run=run,
                metric=metric,
                unit=unit,
                classes=_classes(record) or tuple(map(str, range(len(values)))),
                cycles=tuple(row["cycle"] for row in rows),
                labels=tuple(row["labels"] for row in rows),
                costs=tuple(row["cost"] for row in rows),
                values=values,
            )
        )
    return found


def _belongs(metric: str, headline: str) -> bool:
    """Whether the headline is its mean: `per_class_iou` and `miou`."""
    return headline.endswith(metric.removeprefix(PREFIX))


def _classes(record: Record) -> tuple[str, ...] | None:
    """Their names as the run knows them; of an older rayal, as the first weights tell them, and
    None where these were removed."""
    if (known := record.classes()) is not None:
        return known
    trained = record.result(0, Trained)
    if trained is None:
        return None
    try:
        folder = stage_folder(record.folder, 0, "train")
        card = ModelCard.read(folder, trained.weights.name, record.plugins)
    except StorageError:
        return None
    return None if card is None else card.classes


def table(grids: Iterable[Grid]) -> str:
    """A row for each run, cycle and class, as CSV; a value that is not defined is left empty."""
    header = ["run", "name", "dataset", "strategy", "scheme", "seed"]
    header += ["cycle", "labels", "cost", "class"]
    rows = list[list[str | float | None]]()
    metric = ""
    for grid in grids:
        metric, run = grid.metric.removeprefix(PREFIX), grid.run
        of: list[str | float | None] = [
            run.url,
            run.name,
            run.dataset,
            run.strategy,
            run.scheme,
            run.seed,
        ]
        for at, cycle in enumerate(grid.cycles):
            when = [*of, cycle, grid.labels[at], grid.costs[at]]
            for number, name in enumerate(grid.classes):
                value = float(grid.values[number, at])
                rows.append([*when, name, value if math.isfinite(value) else None])
    return csv_file.dump([*header, metric], rows)


def draw(grids: Sequence[Grid]) -> Figure:
    """A panel for each of the first PANELS runs: classes down, cycles across, the mean below."""
    shown = grids[:PANELS]
    cells = max(LEAST, *(min(len(grid.cycles), NUMBERED) for grid in shown))
    width = NAMES + CELL * cells
    columns = max(1, min(len(shown), int(WIDTH / width)))
    rows = math.ceil(len(shown) / columns)
    counts = [len(grid.classes) for grid in shown]
    height = HEIGHT + max(ROW * (count + 1) if count <= NAMED else TALL for count in counts)
    size = width * columns + BAR, height * rows
    # Figure, not pyplot: no global state, so a thread or a notebook beside us is not disturbed.
    figure = Figure(size, dpi=DOTS, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    for ax, grid in zip(axes, shown, strict=False):
        _panel(ax, grid, int(CELL * cells * SIGNS))
    shrink = min(0.7, BAR_HEIGHT / size[1])
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), COLOURS),
        ax=axes[:],
        shrink=shrink,
        aspect=22,
        pad=0.02,
        anchor=(0, 0.9),
    )
    metric = shown[0].metric.removeprefix(PREFIX)
    bar.set_label(f"Test {ACRONYMS.get(metric, metric)} of the class (%)", color=INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color="#BBBBBB", labelcolor=INK, labelsize=8)
    if len(grids) > len(shown):
        note = f"{len(shown)} of {len(grids)} runs; the table beside this figure has all"
        figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def _panel(ax: Axes, grid: Grid, signs: int) -> None:
    """The cells of a run; its title has that many `signs` in a line."""
    count, cycles = grid.values.shape
    values = 100 * np.vstack([grid.values, _mean(grid.values)])  # C + 1, T
    apart = max(1.0, count / NAMED) * np.array([0.25, 0.75, 1.25])  # of the mean from the classes
    edges = np.array([*range(count + 1), count + apart[0], count + apart[2]])
    cells = np.ma.masked_invalid(np.insert(values, count, np.nan, axis=0))
    mesh = ax.pcolormesh(np.arange(cycles + 1), edges, cells, cmap=COLOURS, vmin=0, vmax=100)
    if count <= NAMED:
        mesh.set(edgecolor="white", linewidth=0.6)
    ax.set_facecolor(NO_CLASS)
    ax.axhspan(*edges[-3:-1], color="white", lw=0, zorder=3)
    ax.set(xlim=(0, cycles), ylim=(edges[-1], 0))
    centres = [*(np.arange(count) + 0.5), count + apart[1]]
    names = [*map(in_figure, grid.classes), "mean"]
    if count > NAMED:
        centres, names = centres[-1:], names[-1:]
    elif cycles <= NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            _number(ax, column + 0.5, centres[row], value)
    ax.set_yticks(centres, names, fontsize=8, parse_math=False)
    every = math.ceil(cycles / NUMBERED)
    at = np.arange(0, cycles, every)
    ax.set_xticks(at + 0.5, [f"{grid.spent[cycle]:.10g}" for cycle in at], fontsize=8)
    ax.set_xlabel(
        "Labels" if grid.unit == "samples" else grid.unit.capitalize(), color=INK, fontsize=9
    )
    run = grid.run
    told = (question(run.name, run.dataset), f"{run.strategy} ({run.scheme}), seed {run.seed}")
    title = "\n".join(fill(in_figure(line), signs) for line in told)
    ax.set_title(title, loc="left", fontsize=9, color=INK, parse_math=False)
    ax.tick_params(length=0, labelcolor=INK)
    ax.spines[:].set_visible(False)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the classes where it is defined: C T -> T, NaN where it is for none."""
    defined = np.isfinite(values)
    sums = np.where(defined, values, 0).sum(axis=0)
    mean: NDArray[np.float64] = sums / np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
    return mean


def _number(ax: Axes, x: float, y: float, value: float) -> None:
    text = f"{value:.0f}" if math.isfinite(value) else "–"
    colour = "white" if value > 100 * DARK else INK
    ax.text(x, y, text, ha="center", va="center", fontsize=7.5, color=colour)
