"""`rayal.status`: where runs are, in Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import StorageError, UsageError


def test_a_row_per_run(runs: Path) -> None:
    """A notebook would have to read the command's text."""
    found = rayal.status(runs)
    table = found.table()

    assert ["complete"] * 4 == [*table["state"]]
    assert [40] * 4 == [*table["labels"]] and {"accuracy"} == {*table["metric"]}
    assert sorted(str(path) for path in runs.iterdir()) == sorted(table["run"])
    assert () == found.errors and found.check() is None
    assert [rayal.open_run(runs / "random-0").curve()["accuracy"].iloc[-1]] == [
        *rayal.status(rayal.open_run(runs / "random-0")).table()["value"]
    ]


def test_a_bad_folder_hides_no_other(one_damaged: Path) -> None:
    """A night's runs could not be looked at because of one of them, or it would pass unnoticed."""
    found = rayal.status([one_damaged, one_damaged / "absent"])
    states = found.table().set_index("run")["state"]

    assert "damaged" == states.pop(str(one_damaged / "entropy-1"))
    assert ["complete"] * 3 == [*states]
    assert [4, 2] == [error.exit_code for error in found.errors]
    assert "error: " in str(found) and "absent: no run folder" in found._repr_html_()
    with pytest.raises(StorageError, match="2 problems, all else is done") as raised:
        found.check()
    assert found.errors == raised.value.problems


def test_it_is_shown_in_a_line(one_damaged: Path) -> None:
    """A debugger or a list of them would show every field of every run."""
    shown = repr(rayal.status(one_damaged))

    assert f"<Status of 4 in {one_damaged}: 3 complete, 1 damaged; 1 error>" == shown


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    """A misspelt folder would be an empty table."""
    with pytest.raises(UsageError, match="absent: no run folder is there or below"):
        rayal.status(tmp_path / "absent")


def test_what_a_rule_ended_says_so(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """A run of one cycle of three would look as if its budget were spent."""
    x = tiny(stop={"target": 0.01}, scheme={"name": "supervised", "epochs": 1})
    run = rayal.run(x, tmp_path / "ended")
    (row,) = rayal.status(tmp_path).rows

    assert run.complete and (row["state"], row["cycle"]) == ("complete", 0)
    assert row["message"] == f"ended by {run.stopped}" and "stop.target: accuracy" in row["message"]
    assert rayal.status(tmp_path).notes == [f"ended: complete, {row['message']}"]
    assert "ended by a rule of stop" in rayal.compare(tmp_path).warnings[-1]
