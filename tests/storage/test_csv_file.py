"""Tables: nothing in them is computed, every row stays one row, and they are read as written."""

import csv
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some

from rayal.storage import csv_file

CELLS = some.text(some.sampled_from("-+=@'\t\r\n,\"a0é "), max_size=4)


def test_cells_by_hand() -> None:
    """An id would run as a formula (F06), or a carriage return in it would end the row."""
    rows = [["=1+1", -1.5, None], ["a\rb", 2, "'x"], ['a"b,c\nd', 0.1, "-"]]
    text = csv_file.dump(["id", "score", "@reason"], rows)

    assert text.startswith("id,score,'@reason\r\n'=1+1,-1.5,\r\n")
    assert [
        ["id", "score", "'@reason"],
        ["'=1+1", "-1.5", ""],
        ["a\rb", "2", "''x"],
        ['a"b,c\nd', "0.1", "'-"],
    ] == list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("number", [-1, -0.5, np.float32(-0.5), np.int64(-2), float("-inf")])
def test_a_number_stays_one(number: object) -> None:
    """A spreadsheet would add up no column with a negative number in it."""
    assert f"x\r\n{number}\r\n" == csv_file.dump(["x"], [[number]])


def test_what_is_no_text_is_disarmed_as_it_is_shown() -> None:
    """A formula would come in as something that only turns into a text when it is written."""

    class Named:
        def __str__(self) -> str:
            return "=1+1"

    assert "x\r\n'=1+1\r\n" == csv_file.dump(["x"], [[Named()]])


def test_records() -> None:
    """A column would hold what belongs to another one."""
    rows = [{"a": 1, "b": "x"}, {"b": "-y"}]

    assert "a,b\r\n1,x\r\n,'-y\r\n" == csv_file.dump_records(rows)
    assert "\r\n" == csv_file.dump_records([])


@given(some.lists(CELLS.filter(bool), min_size=1))
def test_ids_survive_the_round_trip(ids: list[str]) -> None:
    """A chosen unit would not be known as labeled, and bought again."""
    text = csv_file.dump(["rank", "id"], list(enumerate(ids)))

    assert ids == csv_file.parse(text.encode())["id"].to_pylist()


@given(some.lists(CELLS.filter(bool), min_size=1), some.sampled_from(["=", "-a", "'a", "'", "@'"]))
def test_what_others_wrote_is_left_as_it_is(ids: list[str], theirs: str) -> None:
    """An apostrophe would be taken from an id that has one: it would be no unit of the pool."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["id"], *([i] for i in [*ids, theirs])])

    assert [*ids, theirs] == csv_file.parse(text.getvalue().encode())["id"].to_pylist()


@given(some.lists(CELLS.filter(bool), min_size=1, unique=True))
def test_names_survive_the_round_trip(names: list[str]) -> None:
    """A column would be asked for, and not be there."""
    text = csv_file.dump(names, [["x"] * len(names)])

    assert names == csv_file.parse(text.encode()).column_names


def test_names_that_others_wrote_are_left_as_they_are() -> None:
    """An apostrophe would be taken from a name that has one."""
    assert ["'-id", "-cost"] == csv_file.parse(b"'-id,-cost\nx,1\n").column_names


def test_each_column_for_itself() -> None:
    """A negative number, which nobody disarms, would keep the ids beside it disarmed."""
    data = csv_file.dump(["id", "cost"], [["=a", -1.5], ["b", 2e300], ["c", -2e-300]]).encode()

    expected = pa.table({"id": ["=a", "b", "c"], "cost": ["-1.5", "2e+300", "-2e-300"]})
    assert expected == csv_file.parse(data)


def test_a_column_of_numbers_and_texts() -> None:
    """A setting of a sweep that is a number in one trial would change the texts of the others."""
    data = csv_file.dump(["x"], [[-1], ["-y"], [-1e-05], [float("-inf")]]).encode()

    assert ["-1", "-y", "-1e-05", "-inf"] == csv_file.parse(data)["x"].to_pylist()
