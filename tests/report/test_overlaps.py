"""Which arms buy the same units."""

from typing import Any

import pytest

from rayal.report.groups import Group, group
from rayal.report.overlaps import jaccard, overlap_table, overlaps, shown_by_cycle, to_json
from rayal.report.runs import DATA, Run

Chosen = dict[int, str]


def run(strategy: str, seed: int, picks: Chosen, **fields: Any) -> Run:
    """A run whose units have one letter each."""
    return Run(
        **{
            "name": "n",
            "dataset": "d",
            "strategy": strategy,
            "scheme": "supervised",
            "seed": seed,
            "metric": "accuracy",
            "points": {10: 0.5},
            "complete": True,
            "url": f"{strategy}-{seed}",
            "picks": {cycle: frozenset(units) for cycle, units in picks.items()},
            **fields,
        }
    )


def grouped(*runs: Run) -> Group:
    (found,) = group(runs)
    return found


def test_by_hand() -> None:
    """Seed 0: {a b} and {b c} at first, then {c d} and {a d}: both bought all of {a b c d} in the
    end but one bought no other; seed 1 has one of three in common, and one cycle."""
    found = overlaps(
        grouped(
            run("cod", 0, {0: "ab", 1: "cd"}),
            run("tod", 0, {0: "bc", 1: "ad"}),
            run("cod", 1, {0: "ab"}),
            run("tod", 1, {0: "bc", 1: "xy"}),
        )
    )
    (pair,) = found.pairs

    assert 1 / 3 == jaccard(frozenset("ab"), frozenset("bc"))
    assert (2, pytest.approx((1 + 1 / 3) / 2)) == (pair.seeds, pair.bought)
    assert pair.by_cycle == pytest.approx((1 / 3,))
    assert [[1, pair.bought], [pair.bought, 1]] == found.matrix


def test_equal_and_disjoint() -> None:
    """1 for the same picks in any order, 0 for none."""
    found = overlaps(
        grouped(run("a", 0, {0: "xy"}), run("b", 0, {0: "yx"}), run("c", 0, {0: "zw"}))
    )

    assert [[1, 1, 0], [1, 1, 0], [0, 0, 1]] == found.matrix


def test_agrees_with_scikit_learn() -> None:
    """Of picks as indicators over the pool."""
    from sklearn.metrics import jaccard_score

    pool, first, second = "abcdefgh", "abcf", "bcdeh"
    marks = [[unit in picks for unit in pool] for picks in (first, second)]
    (pair,) = overlaps(grouped(run("a", 0, {0: first}), run("b", 0, {0: second}))).pairs

    assert pair.bought == pytest.approx(jaccard_score(*marks))


@pytest.mark.parametrize(
    "other",
    [
        {"initial": frozenset("q")},
        {"settings": {DATA: "other"}},
        {"seed": 1},
        {"picks": {}},
    ],
)
def test_what_is_not_compared(other: dict[str, Any]) -> None:
    """Runs that began with other units, or are of other data, cannot choose the same."""
    settings = {"settings": {DATA: "one"}}
    made = {"strategy": "b", "seed": 0, "picks": {0: "x"}, **settings, **other}
    one = grouped(run("a", 0, {0: "x"}, **settings), run(**made))

    assert [] == overlaps(one).pairs == to_json(one) == overlap_table(one).rows


def test_of_many_arms_cycles_are_shown_beside_random() -> None:
    """A table of hundreds of rows is read by nobody."""
    arms = [run(f"s{n}", 0, {0: "x", 1: "y"}) for n in range(7)]
    few, many = grouped(*arms[:3]), grouped(*arms, run("random", 0, {0: "z", 1: "y"}))

    assert 3 == len(shown_by_cycle(few, overlaps(few)))
    assert {"random"} == set.intersection(
        *({each.first, each.second} for each in shown_by_cycle(many, overlaps(many)))
    )
    assert ["s0", "100", "100", "100"] == overlap_table(few).rows[0]
