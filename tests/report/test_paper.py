"""Figures for a paper: exact widths, embedded fonts, and lines that differ without colours."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from rayal.report import paper
from rayal.report.drawing import COLOURS, GREY, encoded
from rayal.report.palette import difference
from rayal.report.paper import WIDTHS, curves, files
from rayal.report.references import referred
from tests.report.test_standings import THREE, only, runs


def test_files_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure at both widths, as PDF and as SVG."""
    monkeypatch.setattr(paper, "encoded", lambda *_: b"")  # it is the names that count
    found = dict(files([only(THREE)]))
    names = {"curves", "penalties", "critical_difference", "ranks"}

    assert {f"{n}-{w}.{k}" for n in names for w in WIDTHS for k in ("pdf", "svg")} == {*found}


def test_two_arms_have_curves_only_and_groups_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks of two say what their test says; a second experiment would replace the first."""
    monkeypatch.setattr(paper, "encoded", lambda *_: b"")  # it is the names that count
    two = only([run for run in THREE if run.strategy != "b"])

    assert ["curves-column.pdf", "curves-1-column.pdf"] == [
        name for name, _ in files([two, two]) if name.endswith("column.pdf")
    ]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_width_and_fonts(width: float) -> None:
    """A figure that is scaled has letters of another size; journals send Type 3 fonts back."""
    figure = curves(only(THREE), width)
    pdf = encoded(figure, "pdf")
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf)

    assert width * 72 == pytest.approx(float(box))
    assert b"/Subtype /Type3" not in pdf
    assert b"/FontFile2" in pdf or b"/Type42" in pdf or b"/CIDFontType2" in pdf
    assert pdf == encoded(curves(only(THREE), width), "pdf")


def test_lines_differ_without_colours() -> None:
    """On paper without colours, or on a photocopy."""
    g = only([run for n in range(7) for run in runs(f"s{n}", [0.5, 0.6])])
    (ax,) = curves(g).axes

    assert 7 == len({line.get_marker() for line in ax.lines})


def test_colours_differ_for_all_eyes() -> None:
    """Of arms; the baseline's grey is near to one of them for eyes without red, where its marker
    and its name tell."""
    colours = [np.array(to_rgb(name)) for name in (GREY, *COLOURS)]
    least = [min(difference(a, b) for b in colours[1:n]) for n, a in enumerate(colours) if n > 1]

    assert min(least) > 0.07
    assert min(difference(colours[0], b) for b in colours[1:]) > 0.04


def test_many_long_names_and_references_fit() -> None:
    """The legend takes lines of its own, inside of the width."""
    made = [
        replace(run, strategy=f"{run.strategy}_under_a_long_name")
        for n in range(9)
        for run in runs(f"s{n}", [0.5, 0.6])
    ]
    full = replace(made[0], name="full", points={1000: 0.9})
    (g,) = referred([only(made)], [full])
    figure = curves(g)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent(canvas.get_renderer())

    assert 10 == len(legend.get_texts())
    assert box.x0 >= 0 and box.x1 <= figure.get_figwidth() * figure.dpi
    assert figure.axes[0].get_position().height * figure.get_figheight() > 1.2
