"""The rows of arms, curves and pairs, as the tables of the Python API have them."""

import math
from statistics import stdev

import pytest

from rayal.report import rows
from rayal.report.runs import Run, group
from rayal.report.tables import Summary


def run(strategy: str, seed: int, lift: float = 0.0, complete: bool = True) -> Run:
    points = {10: 0.5 + lift, 20: 0.7 + lift, 30: 0.8 + lift}
    if not complete:
        del points[30]
    return Run(
        *("s", "digits", strategy, "tod", seed, "accuracy", points, complete, f"/{strategy}{seed}"),
        initial=frozenset({"a"}),
    )


def test_a_row_of_an_arm_by_hand() -> None:
    """Papers would be written from a standard deviation that is another one, or from an area of
    other runs than the complete ones."""
    (found,) = rows.arms(group([run("cod", 0), run("cod", 1, 0.01)]))

    assert rows.ARMS == [*found]
    assert ("s", "digits", "accuracy", "cod", "cod", "tod", "") == tuple(
        found[key] for key in rows.ARM
    )
    assert (2, 2, 30) == (found["n"], found["complete"], found["labels"])
    assert found["mean"] == pytest.approx(0.805)
    assert found["sd"] == pytest.approx(0.01 / math.sqrt(2))
    assert found["half_interval"] == pytest.approx(12.7062 * 0.005, rel=1e-4)
    assert found["aulc"] == pytest.approx((0.6 * 10 + 0.75 * 10) / 20 + 0.005)
    assert found["aulc_sd"] == pytest.approx(0.01 / math.sqrt(2))


def test_one_seed_has_no_spread_and_none_no_mean() -> None:
    """A single value would look as if it were known exactly."""
    (one,) = rows.arms(group([run("cod", 0)]))
    (begun,) = rows.arms(group([Run("s", "d", "cod", "tod", 0, "accuracy", {}, False, "/x")]))

    assert (0.8, None, None, 0.675) == tuple(
        one[key] if one[key] is None else pytest.approx(one[key])
        for key in ("mean", "sd", "half_interval", "aulc")
    )
    assert {None} == {begun[key] for key in ("labels", "mean", "sd", "aulc", "aulc_sd")}


def test_a_point_that_a_seed_lacks_has_no_mean() -> None:
    """The mean of the seeds that came far would be taken for that of all."""
    groups = group([run("cod", 0), run("cod", 1, 0.01, complete=False)])
    points = rows.points(groups)

    assert [rows.POINTS] * 3 == [[*each] for each in points]
    assert [(10, 2), (20, 2), (30, 1)] == [(each["labels"], each["n"]) for each in points]
    assert [False, False, True] == [each["mean"] is None for each in points]
    assert points[1]["sd"] == pytest.approx(stdev([0.7, 0.71]))
    assert (1, None) == tuple(rows.arms(groups)[0][key] for key in ("complete", "mean"))


def test_pairs_are_those_of_the_report() -> None:
    """A test in Python would say something else than the table of `rayal report`."""
    runs = [
        run(name, seed, lift + 0.01 * seed)
        for name, lift in (("cod", 0.1), ("random", 0))
        for seed in (0, 1)
    ]
    groups = group(runs)
    (found,) = rows.pairs(groups)

    assert rows.PAIRS == [*found]
    assert ("cod", "random", 2) == tuple(found[key] for key in ("first", "second", "n"))
    assert found["mean"] == pytest.approx(0.1)
    assert found["verdict"] in Summary(groups).to_markdown()
