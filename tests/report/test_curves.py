import io
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from numpy.testing import assert_allclose
from PIL import Image

from rayal.report import curves
from rayal.report.curves import TOGETHER, draw, draw_run, figure
from rayal.report.drawing import GREY
from rayal.report.groups import group
from rayal.report.line_names import spaced
from rayal.report.runs import Run
from rayal.report.tables import Summary

BASE = Run("a", "digits", "cod", "supervised", 0, "accuracy", {}, True, "/runs/x")
POINTS = {10: 0.5, 20: 0.7, 30: 0.8}


def summary(*runs: Run) -> Summary:
    return Summary(group(runs))


def seeds(strategy: str, count: int) -> list[Run]:
    return [
        replace(
            BASE, strategy=strategy, seed=n, points={at: y + 0.01 * n for at, y in POINTS.items()}
        )
        for n in range(count)
    ]


def only_panel(of: Summary) -> Axes:
    (panel,) = figure(of).axes
    return panel


def means(panel: Axes) -> list[Line2D]:
    return [line for line in panel.lines if line.get_linestyle() != "None"]


def test_mean_and_band_by_hand() -> None:
    """The figure that ends up in the paper."""
    panel = only_panel(summary(*seeds("cod", 2)))
    (line,), (band,) = means(panel), panel.collections

    assert_allclose(line.get_xdata(), [10, 20, 30])
    assert_allclose(line.get_ydata(), [50.5, 70.5, 80.5])
    assert_allclose(band.get_datalim(panel.transData).y0, 50.5 - 12.706204736 * 0.5)
    assert ("Labels", "Test accuracy (%)") == (panel.get_xlabel(), panel.get_ylabel())


@pytest.mark.parametrize("count", [2, TOGETHER + 1])
def test_a_huge_band_neither_flattens_curves_nor_leaves_what_can_be(count: int) -> None:
    """Two seeds had an axis from -88 % to 145 %, and curves on it that told nothing.

    By hand: means 55, 75, 85 with bands of 12.7 * 5: values span 30, so 30 below and, up to the
    100 that can be, 15 above, and a twentieth of those 75 more, half of that above the limit.
    """
    apart = [
        replace(BASE, strategy=f"s{n}", seed=seed, points={at: y + 0.1 * seed for at, y in
                                                           POINTS.items()})
        for n in range(count) for seed in range(2)
    ]  # fmt: skip
    panels = [ax for ax in figure(summary(*apart)).axes if ax.axison]

    for panel in panels:
        assert_allclose(panel.get_ylim(), [25 - 0.05 * 75, 100 + 0.025 * 75])
        drawn = np.concatenate([p.vertices[:, 1] for p in panel.collections[0].get_paths()])
        assert (0.0, 100.0) == (max(drawn.min(), 0), drawn.max())


def test_other_metrics_have_no_limits() -> None:
    """A likelihood may be above 1, and below 0."""
    panel = only_panel(summary(*(replace(run, metric="nll") for run in seeds("cod", 3))))
    half = 4.30265273 * 0.01 / math.sqrt(3)
    edge = 0.05 * (0.3 + 2 * half)

    assert_allclose(panel.get_ylim(), [0.51 - half - edge, 0.81 + half + edge], rtol=1e-6)


@pytest.mark.parametrize("name, title", [("a", "a on digits"), ("digits", "digits")])
def test_a_name_that_is_the_datasets_is_said_once(name: str, title: str) -> None:
    """`digits on digits` reads as a mistake."""
    of = summary(*(replace(run, name=name) for run in seeds("cod", 1)))

    assert title == only_panel(of).get_title(loc="left")
    assert of.tables()[0].title.startswith(f"{title}: accuracy")


def test_a_long_title_stays_in_the_picture() -> None:
    """It was cut off at the edge, or written over the panel beside it."""
    of = summary(replace(BASE, name="one that a paper would need all of " * 4, points=POINTS))
    drawn = figure(of)
    drawn.canvas.draw()
    (panel,) = drawn.axes

    assert drawn.bbox.x1 > panel.title.get_window_extent().x1
    assert drawn.bbox.x1 > panel._left_title.get_window_extent().x1  # type: ignore[attr-defined]


def test_one_seed_has_no_band() -> None:
    """A band of width zero would claim certainty."""
    (band,) = only_panel(summary(*seeds("cod", 1))).collections

    assert 0 == sum(len(path.vertices) for path in band.get_paths())


def test_random_is_grey_and_behind() -> None:
    """The baseline must be found at a glance, whatever else is drawn."""
    cod, random = means(only_panel(summary(*seeds("random", 3), *seeds("cod", 3))))

    assert (GREY.lower(), False) == (to_hex(random.get_color()), GREY == cod.get_color())
    assert random.get_zorder() < cod.get_zorder()


def test_lines_are_named_at_their_ends() -> None:
    """A legend would have to be matched by colour; n says how much a line is worth."""
    partial = replace(BASE, seed=9, complete=False, points={10: 0.5})
    panel = only_panel(summary(*seeds("cod", 2), partial, *seeds("random", 3)))

    assert {"cod (n = 3, 1 partial)", "random (n = 3)"} == {t.get_text() for t in panel.texts}


def test_a_point_is_a_point() -> None:
    """The line from its name would cross the others, as a curve that nobody measured."""
    one = replace(BASE, strategy="margin", points={10: 0.5})
    beside = only_panel(summary(*seeds("cod", 1), one)).texts
    alone = only_panel(summary(one)).texts

    assert {"cod (n = 1)"} == {text.get_text() for text in beside if text.arrow_patch is not None}
    assert [None] == [text.arrow_patch for text in alone]


def test_names_are_drawn_as_they_are() -> None:
    """A path would be question marks, a price a formula, and a long name push the curves out."""
    setting = {"dataset.root": "/data/$a$/[1]"}
    other = {"dataset.root": f"/data/{'very ' * 30}long"}
    panel = only_panel(
        summary(*(replace(BASE, settings=each, points=POINTS) for each in (setting, other)))
    )
    texts = [text.get_text() for text in panel.texts]

    assert "cod (root=[1]) (n = 1)" in texts
    assert all(len(line) < 60 for text in texts for line in text.splitlines())
    assert not any(text.get_parse_math() for text in panel.texts)
    assert panel.get_position().width > 0.5


def test_missing_points_are_gaps() -> None:
    """A line through a missing point shows a value that nobody measured."""
    lacking = replace(BASE, seed=1, points={10: 0.5, 20: math.nan, 30: 0.8})
    panel = only_panel(summary(replace(BASE, points=POINTS), lacking))
    (line,) = means(panel)
    (rings,) = set(panel.lines) - {line}

    assert [False, True, False] == list(np.isnan(line.get_ydata()))
    assert_allclose(rings.get_xydata(), [(20, 70)])


def test_strategies_of_a_panel_differ() -> None:
    """Two lines of the same look are one line."""
    runs = [run for n in range(TOGETHER) for run in seeds(f"s{n}", 1)]
    looks = {(line.get_color(), line.get_linestyle()) for line in means(only_panel(summary(*runs)))}

    assert TOGETHER == len(looks)


@given(st.lists(st.floats(0, 1), max_size=12).map(sorted))
def test_names_do_not_overlap(heights: list[float]) -> None:
    """Strategies end close together; their names must stay readable and in order."""
    found = spaced(heights)

    assert all(b - a > 0.065 - 1e-9 for a, b in zip(found, found[1:], strict=False))
    assert len(found) == len(heights)


def test_files(tmp_path: Path) -> None:
    """Pixels for a page, vectors for a paper; equal runs give equal files, which diff well."""
    of = summary(*seeds("cod", 2), *seeds("random", 2), replace(BASE, name="b", points=POINTS))
    for name in ("a", "b"):
        draw(of, tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    svg = (tmp_path / "a.svg").read_text()

    assert (2560, 840) == Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).size
    assert "<svg" in svg and "http-equiv" not in svg and "<script" not in svg
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("rows", [[], [{"cycle": 0, "labels": 10, "accuracy": 0.5}]])
def test_figure_of_a_run_that_has_begun(
    rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop draws it after the first cycle, when there is one point or, diverged, none."""
    points = {row["labels"]: row["accuracy"] for row in rows}
    begun = replace(BASE, points=points, complete=False)
    monkeypatch.setattr(curves, "summarise", lambda records: summary(begun))

    image = Image.open(io.BytesIO(draw_run(SimpleNamespace())))  # type: ignore[arg-type]

    assert (1280, 840) == image.size


def test_many_arms_have_a_panel_each() -> None:
    """Nine bands in one panel hide each other, and their names run off the figure."""
    names = [f"strategy_{letter}" for letter in "abcdefgh"]
    runs = [run for name in ("random", *names) for run in seeds(name, 2)]
    other = [replace(run, scheme="tod") for run in seeds("random", 2)]
    panels = [ax for ax in figure(summary(*runs, *other)).axes if ax.axison]

    assert [*(f"random ({s}) (n = 2)" for s in ("supervised", "tod"))] == [
        ax.get_title("left") for ax in panels[:2]
    ]
    assert [f"{name} (supervised) (n = 2)" for name in names] == [
        ax.get_title("left") for ax in panels[2:]
    ]
    assert [1, 1, *[2] * 8] == [len(means(ax)) for ax in panels]
    for ax in panels[2:]:
        strategy, baseline = sorted(means(ax), key=lambda line: -line.get_zorder())
        assert GREY.lower() == to_hex(baseline.get_color()) != to_hex(strategy.get_color())
