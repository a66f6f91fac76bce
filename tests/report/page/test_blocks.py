from rayal.report.page.blocks import NOTHING, Table
from rayal.report.table import Table as Plain


def test_columns_of_numbers() -> None:
    """Numbers that do not stand below each other cannot be compared by eye; a column that is taken
    for text also breaks within `-1.55 ± 1.79`."""
    rows = [
        ["badge - margin", "-1.55 ± 1.79", "0.065", "94.9 % accuracy", "not reached", "3 of 3"],
        ["badge - random", "1.33 ± 2.86", "< 0.001", "96 % accuracy", "at most 290", "0 of 3"],
    ]

    assert [False, True, True, False, True, True] == list(Table("", [""] * 6, rows).numeric)


def test_what_is_empty_on_a_terminal_is_a_dash() -> None:
    """An empty cell says neither that there is nothing nor that it was forgotten."""
    made = Table.of(Plain("Annotators", ["run", "alpha"], [["mine", ""]], ""))

    assert [["mine", NOTHING]] == [list(row) for row in made.rows]
