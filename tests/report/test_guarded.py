"""The table of guards by hand: means over seeds."""

from rayal.report.guarded import HEADER, rows
from rayal.runs.results import Chosen


def quantiles(least: float, middle: float) -> dict[str, float]:
    return {"0%": least, "50%": middle, "100%": 9.0}


def test_by_hand() -> None:
    """A cell would be of one seed alone, or of another cycle."""
    first = Chosen(
        ids=("a", "b", "c", "d"),
        passed_over={"too near": 3},
        predicted={"cat": 3, "dog": 1},
        distances={"labeled": quantiles(1, 2), "chosen": quantiles(3, 4)},
    )
    second = Chosen(
        ids=("a", "b"),
        passed_over={"class full": 2, "too near": 1},
        predicted={"cat": 1, "dog": 1},
        distances={"labeled": quantiles(2, 4)},
    )

    found = rows([{0: first, 1: second}, {0: second}])
    assert [
        ["0", "2", "3", "2 too near, 1 class full", "62 %", "1.5", "3", "3", "4"],
        ["1", "1", "2", "2 class full, 1 too near", "50 %", "2", "4", "–", "–"],
    ] == found
    assert {len(HEADER)} == {*map(len, found)}
    assert [] == rows([{}])
