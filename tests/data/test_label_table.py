"""Tables of labels as people and spreadsheets write them: read whole, or refused by row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.data.label_table import read_table
from rayal.errors import DataError

CLASSES = ("cat", "dog", "Straße")
GOOD = {"a.jpg": 0, "b, c.jpg": 1, "ü.jpg": 2}
PLAIN = 'id,label\na.jpg,cat\n"b, c.jpg",dog\nü.jpg,Straße\n'


def table(file: Path, text: str | bytes) -> Path:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def problems(file: Path) -> str:
    """All that is said against a table."""
    found = read_table(str(file))
    with pytest.raises(DataError) as error:
        found.check(found.problems(CLASSES))
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        PLAIN.replace("id,", "path,"),
        PLAIN.replace("id,", "rayal_id,"),
        PLAIN.replace("id,label\n", "id,label,note\n")
        .replace("cat\n", "cat,sure\n")
        .replace("dog\n", "dog,\n")
        .replace("Straße\n", "Straße,x\n"),
        PLAIN + "a.jpg,cat\n",
    ],
    ids=[
        "plain",
        "bom",
        "windows",
        "no last end",
        "path",
        "an export",
        "more columns",
        "twice the same",
    ],
)
def test_what_is_the_same_is_read_alike(text: str, tmp_path: Path) -> None:
    """A file that went through a spreadsheet would be refused, or lose its first id."""
    found = read_table(str(table(tmp_path / "t.csv", text)))

    assert [] == found.problems(CLASSES)
    assert GOOD == found.indices(CLASSES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN.replace(",", ";"), "separated by ';'; save it with commas"),
        (PLAIN.replace(",", "\t"), r"separated by '\\t'; save it with commas"),
        (PLAIN.encode("latin-1"), "is not in UTF-8; save it as UTF-8"),
        ("id,path,label\na,b,cat\n", "give it one of id, path"),
        ("name,label\na,cat\n", "has the columns 'name', 'label'; give it one of id"),
        ("id,class\na,cat\n", "has the columns 'id', 'class'"),
        ("id,label\n", "holds no label; add some"),
        ("id,label\n,cat\n", "1 row has no id"),
        ("id,label\na,cat,dog\n", "cannot be read as .csv"),
    ],
)
def test_other_tables_are_refused(text: str | bytes, said: str, tmp_path: Path) -> None:
    """Half of a table would be read as something else."""
    with pytest.raises(DataError, match=said):
        read_table(str(table(tmp_path / "t.csv", text)))
    assert 3 == len(read_table(str(table(tmp_path / "t.csv", PLAIN))).rows)


def test_all_that_is_wrong_is_told_by_row(tmp_path: Path) -> None:
    """One fault at a time takes an afternoon; a guess takes longer."""
    text = "id,label\na,cat\nb,Dog\nc,\na,dog\nd,cat \ne,0\n"
    told = problems(table(tmp_path / "t.csv", text))

    assert "5 problems" in told and "none of it is used" in told
    assert "t.csv row 3 ('b'): class 'Dog' is not in the list; did you mean 'dog'?" in told
    assert "t.csv row 4 ('c'): has no label" in told
    assert "row 5 ('a'): labeled 'dog' here and 'cat' in t.csv row 2 ('a')" in told
    assert "row 6 ('d'): class 'cat ' is not in the list; did you mean 'cat'?" in told
    assert "row 7 ('e'): class '0' is not in the list" in told
    mended = "id,label\na,cat\nb,dog\nd,cat\n"
    assert [] == read_table(str(table(tmp_path / "t.csv", mended))).problems(CLASSES)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": ["a", "b"], "label": ["dog", "cat"]}, {"a": 1, "b": 0}),
        ({"id": [7, 10], "label": [2, 0]}, {"7": 2, "10": 0}),
        ({"path": ["a"], "label": pa.array(["dog"]).dictionary_encode()}, {"a": 1}),
    ],
)
def test_parquet_has_numbers_too(columns: Any, expected: dict[str, int], tmp_path: Path) -> None:
    """Of a table with types a number is an index."""
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = read_table(str(tmp_path / "t.parquet"))

    assert [] == found.problems(CLASSES)
    assert expected == found.indices(CLASSES)


def test_numbers_that_mean_two_things(tmp_path: Path) -> None:
    """Of classes called 1, 2 and 3 the label 1 would be the second."""
    pq.write_table(pa.table({"id": ["a"], "label": [1]}), tmp_path / "t.parquet")
    found = read_table(str(tmp_path / "t.parquet"))

    (said,) = found.problems(("1", "2", "3"))
    assert "1 is the index of class '2' and the name of another; write names" in said
    assert [] == found.problems(("0", "1", "2"))


@pytest.mark.parametrize("label", [5, -1, None])
def test_numbers_of_no_class(label: int | None, tmp_path: Path) -> None:
    """Another class would be learned."""
    pq.write_table(
        pa.table({"id": ["a"], "label": pa.array([label], pa.int64())}), tmp_path / "t.parquet"
    )

    assert "t.parquet row 0 ('a')" in problems(tmp_path / "t.parquet")
    pq.write_table(pa.table({"id": ["a"], "label": [1]}), tmp_path / "t.parquet")
    assert {"a": 1} == read_table(str(tmp_path / "t.parquet")).indices(CLASSES)


def test_floats_are_no_labels(tmp_path: Path) -> None:
    """pandas makes them of numbers where one is missing."""
    pq.write_table(pa.table({"id": ["a"], "label": [1.0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the labels are double; write class names"):
        read_table(str(tmp_path / "t.parquet"))
    pq.write_table(pa.table({"id": [1.0], "label": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the ids are double; write them as strings"):
        read_table(str(tmp_path / "t.parquet"))
    pq.write_table(pa.table({"id": [1], "label": ["cat"]}), tmp_path / "t.parquet")
    assert {"1": 0} == read_table(str(tmp_path / "t.parquet")).indices(CLASSES)


def test_only_tables(tmp_path: Path) -> None:
    """A text file has no column of labels."""
    with pytest.raises(DataError, match=r"no .csv or .parquet file; give the labels in one"):
        read_table(str(tmp_path / "labels.txt"))
    assert read_table(str(table(tmp_path / "labels.csv", PLAIN))).rows


def test_more_than_can_be_listed(tmp_path: Path) -> None:
    """A thousand lines would hide what is wrong."""
    rows = "".join(f"{n},cow\n" for n in range(30))
    told = problems(table(tmp_path / "t.csv", f"id,label\n{rows}"))

    assert 12 == len(told.splitlines()) and told.endswith("and 20 more")


def test_numbers_tell_no_classes(tmp_path: Path) -> None:
    """Labels 0 and 7 would be two classes, or eight."""
    pq.write_table(pa.table({"id": ["a", "b"], "label": [0, 7]}), tmp_path / "t.parquet")
    found = read_table(str(tmp_path / "t.parquet"))
    with pytest.raises(DataError, match="its labels are numbers, of which nobody tells the class"):
        found.classes()

    assert [] == found.problems([f"class {n}" for n in range(8)])
    assert ["cat", "dog", "Straße"] == sorted(
        read_table(str(table(tmp_path / "t.csv", PLAIN))).classes(), key=str.lower
    )
