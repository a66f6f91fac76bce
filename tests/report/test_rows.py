"""The rows of arms, curves and pairs, as the tables of the Python API have them."""

import math
from statistics import stdev

import pytest

from rayal.report import rows
from rayal.report.groups import group
from rayal.report.runs import Run
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


def test_verdicts_by_hand() -> None:
    """Cod is 0.1 above random in every seed: at 0.8, where random ends, after 20 labels and two
    thirds of the way to 30... its own curve has 0.8 there, so 20 of 30 labels do."""
    made = [
        run(name, seed, lift) for name, lift in (("cod", 0.1), ("random", 0)) for seed in (0, 1)
    ]
    (found,) = rows.verdicts(group(made))

    assert rows.VERDICTS == [*found]
    assert ("cod", "random", "better", 2) == tuple(
        found[key] for key in ("arm", "baseline", "kind", "seeds")
    )
    assert (0.1, 0.8, 20, 1 / 3) == pytest.approx(
        tuple(found[key] for key in ("difference", "height", "labels", "saved"))
    )
    assert (2, 2, False) == (found["reached_by"], found["of"], found["at_most"])


def test_nothing_known_is_none() -> None:
    """Zeros would be read as results."""
    (found,) = rows.verdicts(group([run("cod", 0)]))

    assert {None} == {found[key] for key in rows.VERDICTS[7:-1]}
    assert ("unknown", 0) == (found["kind"], found["seeds"])


def test_penalties_and_ranks_are_of_the_standings() -> None:
    """A row for each cell that is known, and for each mean rank, that of areas among them."""
    lifts = {"cod": 0.1, "margin": 0.05, "random": 0.0}
    summary = Summary(group([run(n, s, lift) for n, lift in lifts.items() for s in (0, 1)]))
    penalties, ranks = rows.penalties(summary.standings), rows.ranks(summary.standings)

    assert rows.PENALTIES == [*penalties[0]] and rows.RANKS == [*ranks[0]]
    assert {("cod", "margin"): 1.0, ("margin", "cod"): 0.0}.items() <= {
        (row["winner"], row["loser"]): row["share"] for row in penalties
    }.items()
    assert 6 == len(penalties)
    assert {("cod", None): 1, ("cod", 10): 1, ("random", 30): 3}.items() <= {
        (row["arm"], row["labels"]): row["rank"] for row in ranks
    }.items()
    assert 3 * 4 == len(ranks)


def test_files_are_the_rows() -> None:
    """Of what there is nothing there is no file."""
    assert {"verdicts.csv"} == {*rows.files(Summary(group([run("cod", 0)])))}
    lifts = {"cod": 0.1, "margin": 0.05, "random": 0.0}
    summary = Summary(group([run(n, s, lift) for n, lift in lifts.items() for s in (0, 1)]))
    files = rows.files(summary)

    assert {"verdicts.csv", "penalties.csv", "ranks.csv"} == {*files}
    assert rows.RANKS == files["ranks.csv"].decode().splitlines()[0].split(",")
