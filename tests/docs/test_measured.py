"""What pages quote of our results stands there word by word."""

import measured


def test_every_number_stands_in_the_results() -> None:
    """A page would claim what was never measured."""
    there = {*measured.FILE.read_text(encoding="utf-8").splitlines()}
    quoted = measured.of("cod").splitlines()

    assert len(quoted) > 20
    assert [line for line in quoted if line.startswith("|") and line not in there] == []


def test_rows_are_of_the_part_that_is_asked_for() -> None:
    """entropy would be given the rows of entropy_gradnorm."""
    names = {
        line.split("|")[1].strip()
        for line in measured.of("entropy").splitlines()
        if line.startswith("|") and "±" in line
    }

    assert "entropy" in names
    assert not {name for name in names if "gradnorm" in name or "ensemble" in name}


def test_a_row_comes_with_its_circumstances() -> None:
    """A number without date, machine and legend says nothing."""
    quoted = measured.of("margin")

    assert "2026-11-21, commit 6db5b75, 2 cores (no GPU)" in quoted
    assert "mean ± half of the 95 % t-interval over seeds" in quoted


def test_what_was_not_measured_has_nothing() -> None:
    """A page would look as if there were results."""
    assert measured.of("no_such_part") == ""
