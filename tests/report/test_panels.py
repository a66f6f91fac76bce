"""What a panel shows of the points it is given."""

import numpy as np
import pytest

from rayal.report.panels import band, legend, panel


def test_a_band_is_the_interval_from_three_runs_on() -> None:
    """Two runs would be drawn as if they knew nothing: 12.7 standard errors on each side.

    By hand: mean 2, sd 1, n = 3: half a 95 % t-interval is 4.303 / sqrt(3) = 2.484.
    """
    figure, ax = panel("Title", "Labels", "Loss")
    band(ax, {200: [1.0, 3.0], 100: [1.0, 2.0, 3.0]}, "cod", 0)
    (line,), (area,) = ax.lines, ax.collections
    heights = {
        x: np.ptp([y for at, y in area.get_paths()[0].vertices if at == x]) for x in (100, 200)
    }

    assert ([100, 200], [2, 2]) == (list(line.get_xdata()), list(line.get_ydata()))
    assert pytest.approx({100: 2 * 2.484, 200: 0}, abs=0.001) == heights
    assert "Labels" == ax.get_xlabel() and "Loss" == ax.get_ylabel()
    assert figure.axes == [ax]


def test_each_place_looks_different() -> None:
    """Lines of two methods would be taken for one, or stand in the legend without a name."""
    _, ax = panel("Title", "Labels", "Loss")
    for place in range(24):
        band(ax, {100: [1.0]}, f"method {place}", place)
    legend(ax)
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}

    assert 24 == len(looks)
    assert [f"method {n}" for n in range(24)] == [t.get_text() for t in ax.get_legend().texts]
