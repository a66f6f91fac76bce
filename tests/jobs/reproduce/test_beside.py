"""The table and the figure of a paper's numbers beside ours."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from beside import Result, figure, markdown, rows, to_csv
from published import Published

from rayal.report.drawing import encoded
from rayal.report.runs import Run


def a_run(seed: int, points: dict[int, float]) -> Run:
    return Run("x", "cifar10", "cod", "tod", seed, "accuracy", points, True, f"/runs/{seed}")


def test_the_table_by_hand() -> None:
    """Mean 0.7, sd 0.02, n = 3: half a 95 % t-interval is 4.303 x 2 / sqrt(3) = 4.968 points."""
    published = (
        Published("Table 1", (100, 200), ((75.1, 66.0),)),
        Published("log", (200,), ((65.0,), (65.2,)), approximate=True),
    )
    curves = ({100: 0.68, 200: 0.66}, {100: 0.70, 200: math.nan}, {100: 0.72, 300: 0.9})
    ours = [a_run(seed, points) for seed, points in enumerate(curves)]
    nothing = [Result("tod", "Semi", published[:1], []), Result("vaal", "VAAL", (), [])]
    found = rows([Result("cod", "Ours", published, ours), *nothing])
    lines = markdown(found).splitlines()[2:9]

    assert [line.strip("| ").split(" | ") for line in lines] == [
        ["cod", "Ours", "100", "75.10", "Table 1", "70.00 ± 4.97", "3", "-5.10", "no"],
        ["cod", "Ours", "200", "66.00", "Table 1", "66.00", "1", "+0.00", "–"],
        ["cod", "Ours", "200", "≈ 65.10 ± 0.14", "log", "66.00", "1", "+0.90", "–"],
        ["cod", "Ours", "300", "–", "–", "90.00", "1", "–", "–"],
        ["tod", "Semi", "100", "75.10", "Table 1", "not run", "0", "–", "–"],
        ["tod", "Semi", "200", "66.00", "Table 1", "not run", "0", "–", "–"],
        ["vaal", "VAAL", "–", "–", "–", "not run", "0", "–", "–"],
    ]
    written = to_csv(found).splitlines()
    assert "cod,Ours,300,,,False,,90.0,,1,," == written[4]
    assert "tod,Semi,100,75.1,,False,Table 1,,,0,," == written[5]
    assert "vaal,VAAL,,,,False,,,,0,," == written[7]


@pytest.mark.parametrize(("paper", "inside"), [(74.96, True), (74.98, False), (65.04, True)])
def test_inside_is_by_the_interval_alone(paper: float, inside: bool) -> None:
    """70 +- 4.968, as above."""
    ours = [a_run(seed, {100: value}) for seed, value in enumerate((0.68, 0.70, 0.72))]
    (row,) = rows([Result("cod", "Ours", (Published("Table 1", (100,), ((paper,),)),), ours)])

    assert inside is row.inside


def test_the_figure_has_both(tmp_path: Path, assert_drawn: Callable[[Path], None]) -> None:
    """Markers at the paper's numbers, a line through ours; nothing of neither is no figure."""
    published = (Published("Table 1", (100, 200), ((60.0, 66.0),)),)
    results = [Result("cod", "Ours", published, [a_run(s, {100: 0.6, 200: 0.7}) for s in range(3)])]
    drawn = figure("tod: cifar10", results)
    assert drawn is not None
    ours, paper = drawn.axes[0].lines

    assert ([100, 200], [60, 70]) == (list(ours.get_xdata()), pytest.approx(ours.get_ydata()))
    assert ([100, 200], [60, 66]) == (list(paper.get_xdata()), list(paper.get_ydata()))
    assert ours.get_color() == paper.get_color() and "None" == paper.get_linestyle()
    for kind in ("png", "svg"):
        (tmp_path / f"x.{kind}").write_bytes(encoded(drawn, kind))
    assert_drawn(tmp_path / "x")
    assert figure("nothing", [Result("cod", "Ours", (), [])]) is None
