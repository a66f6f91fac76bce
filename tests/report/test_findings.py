"""Tables of verdicts, labels to reach, penalties and ranks, as text."""

from dataclasses import replace

import pytest

from rayal.errors import UsageError
from rayal.report.findings import (
    MATRIX,
    penalty_table,
    rank_table,
    reach_table,
    standing_table,
    verdict_table,
)
from rayal.report.groups import aimed, group
from rayal.report.standings import of_group, over_groups
from tests.report.test_standings import THREE, only, runs


def test_labels_to_reach_by_hand() -> None:
    """Random ends with a mean of 0.72: above 0.7 come two of its five seeds; the mean of a is there
    between 100 (0.52) and 200 (0.82)."""
    table = reach_table(only(THREE))
    a, _, random = table.rows

    assert "labels" == table.header[3]
    assert ["a", "72 % accuracy", "5 of 5", "167 ± 7", "167", "44 %"] == a
    assert ["random", "72 % accuracy", "3 of 5", "–", "300", "–"] == random


def test_a_height_below_the_first_point() -> None:
    """Fewer labels may do; nobody has tried, so nothing is saved."""
    (g,) = aimed(group(THREE), 0.4)

    assert ["a", "40 % accuracy", "5 of 5", "at most 100", "at most 100", "–"] == (
        reach_table(g).rows[0]
    )


def test_a_height_of_no_rate() -> None:
    """95 for 0.95 would be reached by none, and look like a result."""
    with pytest.raises(UsageError, match=r"target 95 is no accuracy of a on digits; give a frac"):
        aimed(group(THREE), 95)
    (g,) = aimed(group(THREE), 0.95)
    assert 0.95 == g.target


def test_ranks_and_penalties_by_hand() -> None:
    """The best first; the note says what the numbers are of."""
    s = of_group(only(THREE))
    table = standing_table(s)

    assert ["a", "1.00", "0.75", "0.00", "b"] == table.rows[0]
    assert "Friedman's p 0.007; blocks are seeds: it speaks of this dataset alone" in table.note
    assert [
        ["a", "–", "0.50", "1.00"],
        ["b", "0.00", "–", "1.00"],
        ["random", "0.00", "0.00", "–"],
        ["mean loss", "0.00", "0.25", "1.00"],
    ] == penalty_table(s).rows
    assert ["b", "2.00", "1.50"] == rank_table(s, [100, 300]).rows[1]


def test_nothing_is_separated_without_friedman() -> None:
    """A note that names a difference of ranks alone would invite to use it."""
    alike = [*runs("a", [0.5, 0.6], 2), *runs("b", [0.5, 0.7], 2), *runs("random", [0.5, 0.65], 2)]
    table = standing_table(of_group(only(alike)))

    assert "so that nothing is separated" in table.note
    assert ["b", "1.00", "1.00", "0.00", "random, a"] == table.rows[0]


def test_small_and_large_comparisons() -> None:
    """Of two arms the test says all; a matrix of many is for files."""
    two = of_group(only([run for run in THREE if run.strategy != "b"]))
    many = of_group(only([run for n in range(MATRIX + 1) for run in runs(f"s{n}", [0.5, 0.6])]))

    assert [] == standing_table(two).rows == penalty_table(two).rows == penalty_table(many).rows
    assert MATRIX + 1 == len(standing_table(many).rows)


def test_over_datasets() -> None:
    """A cell of 2 is two datasets, not a share."""
    other = [replace(run, dataset="letters") for run in THREE]
    s = over_groups(group([*THREE, *other]))

    assert s is not None
    assert ["a", "–", "1.00", "2.00"] == penalty_table(s).rows[0]
    assert "added over 2 settings" in standing_table(s).note
    assert "blocks are seeds" not in standing_table(s).note


def test_verdicts_only_where_something_can_be_said() -> None:
    """Warnings say why nothing can; a table that repeats them for each arm hides them."""
    assert ["a", "b"] == [name for name, _ in verdict_table(only(THREE)).rows]
    assert [] == verdict_table(only(runs("a", [0.5, 0.6]))).rows
