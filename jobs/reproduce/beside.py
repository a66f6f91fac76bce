"""Published numbers beside measured ones: as rows, Markdown, CSV and a figure.

Everything is in percent: accuracy, or the mean IoU of masks. Nothing is interpolated: a number of
ours stands at a label count where runs were evaluated, one of the paper's where it prints one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from published import Published

from rayal.report.drawing import COLOURS, INK
from rayal.report.metric import limits, scale, unit
from rayal.report.panels import band, legend, panel
from rayal.report.runs import Run
from rayal.report.statistics import Interval, interval
from rayal.storage import csv_file

MISSING, NOT_RUN = "–", "not run"
MARKERS = ("D", "s", "^")
HEADER = [
    "method",
    "in the paper",
    "labels",
    "paper",
    "source",
    "ours",
    "n",
    "difference",
    "paper in our interval",
]
NOTE = (
    "in percent; paper: mean, ± standard deviation where its trials are known, ≈ where it is known"
    " roughly only; ours: mean ± half of the 95 % t-interval over n seeds; difference: ours - paper"
    "; – where there is nothing"
)


class Result(NamedTuple):
    """A method, what the paper says about it, and the runs that there are."""

    method: str
    called: str
    """Its name in the paper."""
    published: Sequence[Published]
    runs: Sequence[Run]

    def values(self, labels: int) -> list[float]:
        """What the seeds reached with so many labels, also of runs that are still going."""
        return [
            run.points[labels] * scale(run.metric) for run in self.runs if labels in run.measured
        ]

    @property
    def measured(self) -> set[int]:
        """Label counts at which some run was evaluated."""
        return {labels for run in self.runs for labels in run.measured}


class Row(NamedTuple):
    """One method at one label count, against one source."""

    method: str
    called: str
    labels: int | None
    """None in the one row of a method of which there is nothing."""
    paper: float | None
    std: float | None
    approximate: bool
    source: str | None
    ours: Interval | None

    @property
    def difference(self) -> float | None:
        """Ours - the paper's."""
        return None if self.ours is None or self.paper is None else self.ours.mean - self.paper

    @property
    def inside(self) -> bool | None:
        """Whether the paper's number lies in our interval, which takes two seeds or more."""
        if self.difference is None or self.ours is None or self.ours.half is None:
            return None
        return abs(self.difference) <= self.ours.half


def rows(results: Sequence[Result]) -> list[Row]:
    """Method by method, a row for each label count that is published or measured, or an empty one:
    the table is whole, whatever was run."""
    found = []
    for result in results:
        published = {labels for each in result.published for labels in each.labels}
        for labels in sorted(published | result.measured):
            values = result.values(labels)
            ours = interval(values) if values else None
            first = (result.method, result.called, labels)
            sources = [each for each in result.published if labels in each.labels]
            for each in sources:
                found.append(Row(*first, *each.at(labels), each.approximate, each.source, ours))
            if not sources:
                found.append(Row(*first, None, None, False, None, ours))
        if not published | result.measured:
            found.append(Row(result.method, result.called, *(None,) * 3, False, None, None))
    return found


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table, with what its columns mean."""
    lines = [HEADER, ["---"] * len(HEADER), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + f"\n\n{NOTE}"


def to_csv(rows: Sequence[Row]) -> str:
    """The same unrounded; what is missing is empty."""
    header = "method called labels paper paper_std approximate source ours half_interval n"
    cells = [[*r[:-1], *(r.ours or (None, None, 0)), r.difference, r.inside] for r in rows]
    return csv_file.dump([*header.split(), "difference", "inside"], cells)


def figure(title: str, results: Sequence[Result]) -> Figure | None:
    """Our curves, and the paper's numbers as markers of the same colour; None without any."""
    if not any(result.published or result.measured for result in results):
        return None
    run = next((each for result in results for each in result.runs), None)
    metric, counted = (run.metric, run.counted) if run else ("accuracy", "labels")
    drawn: Figure
    drawn, ax = panel(title, counted.capitalize(), f"Test {metric}{unit(metric)}")
    for place, result in enumerate(results):
        if points := {labels: result.values(labels) for labels in result.measured}:
            band(ax, points, f"{result.method} (n = {len(result.runs)})", place, limits(metric))
        for each in result.published:
            ax.plot(
                each.labels,
                [each.at(labels)[0] for labels in each.labels],
                MARKERS[place // len(COLOURS) % len(MARKERS)],
                color=COLOURS[place % len(COLOURS)],
                mec=INK,
                mew=0.6,
                ms=5,
                alpha=0.5 if each.approximate else 1,
                label=f"paper, {result.called} ({each.source})",
            )
    legend(ax)
    return drawn


def _cells(row: Row) -> list[str]:
    paper = MISSING
    if row.paper is not None:
        paper = "≈ " * row.approximate + _spread(row.paper, row.std)
    return [
        row.method,
        row.called,
        MISSING if row.labels is None else f"{row.labels:,}",
        paper,
        row.source or MISSING,
        NOT_RUN if row.ours is None else _spread(row.ours.mean, row.ours.half),
        str(row.ours.n if row.ours else 0),
        MISSING if row.difference is None else f"{row.difference:+.2f}",
        {None: MISSING, True: "yes", False: "no"}[row.inside],
    ]


def _spread(value: float, around: float | None) -> str:
    return f"{value:.2f}" if around is None else f"{value:.2f} ± {around:.2f}"
