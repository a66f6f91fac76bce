"""Figures of penalties, ranks and the critical difference: what is in them, and that it fits."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from rayal.report import diagrams
from rayal.report.diagrams import COLUMN, PAGE
from rayal.report.runs import Run
from rayal.report.standings import of_group
from tests.report.test_standings import THREE, only, runs

LONG = [
    replace(run, strategy=f"{run.strategy}_with_a_long_name")
    for n, name in enumerate("defghij")
    for run in runs(name, [0.5, 0.6 + 0.01 * n, 0.7])
]


def texts(figure: Figure) -> list[str]:
    """All that is written in it."""
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_cells_of_the_matrix_are_its_table() -> None:
    """A figure with other numbers than the table beside it."""
    figure = diagrams.penalties(of_group(only(THREE)))
    (ax,) = figure.axes
    cells = ["0.50", "1.00", "0.00", "1.00", "0.00", "0.00", "0.00", "0.25", "1.00"]

    assert cells == texts(figure)
    assert ["a", "b", "random", "mean loss"] == [t.get_text() for t in ax.get_yticklabels()]
    assert ["a", "b", "random"] == [t.get_text() for t in ax.get_xticklabels()]


def test_critical_difference_by_hand() -> None:
    """Ranks 1, 2, 3 over 5 seeds, critical difference 1.48: a bar joins a and b, another b and
    random, and the scale is as long as the ranks say."""
    s = of_group(only(THREE))
    figure = diagrams.critical_difference(s)
    (ax,) = figure.axes
    bars = [line.get_xdata() for line in ax.lines if line.get_linewidth() > 2]
    scale, measure = (np.ptp(line.get_xdata()) for line in ax.lines[:5:4])

    assert ["a 1.00", "b 2.00", "random 3.00"] == sorted(
        t for t in texts(figure) if t[-3:-2] == "." and t[0] != "c"
    )
    assert "critical difference 1.48" in texts(figure)
    assert s.ranking is not None
    assert s.ranking.critical / 2 == pytest.approx(measure / scale)
    assert [scale / 2 + 0.06] * 2 == pytest.approx([np.ptp(bar) for bar in bars])
    assert "mean ranks of areas over 5 seeds, 1 is the best" in texts(figure)


def test_lines_of_ranks_are_the_means() -> None:
    """The best is on top."""
    g = only(THREE)
    (ax,) = diagrams.ranks(of_group(g), g).axes

    assert [[2, 1, 1.5], [2, 2, 1.5], [2, 3, 3]] == [[*line.get_ydata()] for line in ax.lines]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ["random", "a", "b"] == texts(ax.figure)


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("made", [THREE, [*THREE, *LONG]])
def test_all_of_it_fits(width: float, made: list[Run]) -> None:
    """A journal would cut names off that are wider than its column."""
    g = only(made)
    s = of_group(g)
    for figure in (
        diagrams.penalties(s, width),
        diagrams.critical_difference(s, width),
        diagrams.ranks(s, g, width),
    ):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        box = figure.get_tightbbox(canvas.get_renderer())  # in inches
        assert box.x0 > -0.01 and box.x1 < width + 0.01
        assert box.y0 > -0.01 and box.y1 < figure.get_figheight() + 0.01
        assert width == figure.get_figwidth()


def test_names_act_on_nothing() -> None:
    """What stands between two dollars would be typeset, and end the report where it cannot be."""
    g = only([replace(run, strategy=f"${run.strategy}\\x$") for run in THREE])
    s = of_group(g)

    for figure in (diagrams.penalties(s), diagrams.critical_difference(s), diagrams.ranks(s, g)):
        FigureCanvasAgg(figure).draw()
        assert any("$" in text.get_text() for text in figure.findobj(Text))
