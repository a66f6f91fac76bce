"""Users' files of ids: read as they are meant, or refused with what is wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.errors import DataError, StorageError
from rayal.storage.ids import Ids
from rayal.workflows.select.id_file import read_costs, read_groups, read_ids


def write(path: Path, data: bytes | dict) -> str:
    if isinstance(data, dict):
        pq.write_table(pa.table(data), path)
    else:
        path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    ("name", "data", "ids"),
    [
        ("a.txt", b"a\nb c \n\n0017\n", ["a", "b c ", "0017"]),
        ("a.txt", "\ufeffé\r\nb\r\n".encode(), ["é", "b"]),
        ("a.txt", b"a\nb\na", ["a", "b"]),
        ("a.txt", b"", []),
        ("a.csv", b"x,id\n1,a\n2,0017\n", ["a", "0017"]),
        ("a.csv", "\ufeffid,x\r\né,1\r\nNA,1\r\n".encode(), ["é", "NA"]),
        ("a.csv", b'id\n"a,b"\n"c\nd"\n"e""f"\n', ["a,b", "c\nd", 'e"f']),
        ("a.csv", b"id\n'=1\n''x\n0\n", ["=1", "'x", "0"]),
        ("a.csv", b"id\n'=1\n'tick.jpg\n", ["'=1", "'tick.jpg"]),
        ("a.csv", b"id\n12345678901234567890123\n", ["12345678901234567890123"]),
        ("a.csv", b"id\n", []),
        ("a.PARQUET", {"id": ["b", "a", "b"]}, ["b", "a"]),
        ("a.parquet", {"id": pa.array(["b", "a"]).dictionary_encode()}, ["b", "a"]),
        ("a.parquet", {"id": pa.array(["b"], pa.large_string()), "x": [[1]]}, ["b"]),
        ("a.parquet", {"id": pa.array(["b"], pa.string_view()), "x": [{"a": 1}]}, ["b"]),
        ("a.parquet", {"id": [10**11, -1]}, ["100000000000", "-1"]),
    ],
)
def test_ids_are_read_as_they_are_written(tmp_path: Path, name, data, ids) -> None:
    """A labeled unit would not be known, and bought again (F06)."""
    assert ids == list(read_ids(write(tmp_path / name, data)))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b"[]", "is no .csv or .parquet or .txt file"),
        ("a.txt", b"\xff\xfea\0", "cannot be read as .txt"),
        ("a.csv", b"", "cannot be read as .csv"),
        ("a.csv", b"id,x\na\n", "cannot be read as .csv: .*Expected 2 columns, got 1"),
        ("a.csv", b"id;cost\na;1\n", "has 0 columns 'id'; it needs one, and has: id;cost"),
        ("a.csv", b"id,id\na,b\n", "has 2 columns 'id'"),
        ("a.csv", b"id,x\n,1\n", "a row has no id"),
        ("a.parquet", b"PAR1", "cannot be read as .parquet"),
        ("a.parquet", {"id": [1.0]}, "the ids are double; they must be strings or whole numbers"),
        ("a.parquet", {"id": ["a", None]}, "a row has no id"),
        ("a.parquet", {"unit": ["a"]}, "has 0 columns 'id'"),
    ],
)
def test_what_is_no_list_of_ids(tmp_path: Path, name, data, message) -> None:
    """A header or half a line would pass for ids, or the user see a traceback."""
    with pytest.raises(DataError, match=message):
        read_ids(write(tmp_path / name, data))
    assert ["a"] == list(read_ids(write(tmp_path / "a.csv", b"id\na\n")))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """An empty list would be taken for it."""
    with pytest.raises(StorageError, match="no such file"):
        read_ids(str(tmp_path / "absent.txt"))


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a folder would be looked for at the root of the disk."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", b"x\n")

    assert ["x"] == list(read_ids("a.txt"))


@pytest.mark.parametrize(
    "data", [b"cost,id\n0,a\n1.5,b\n2e3,c\n", {"id": list("abc"), "cost": [0, 1.5, 2e3]}]
)
def test_costs_belong_to_their_units(tmp_path: Path, data) -> None:
    """The budget would be spent by other units' prices."""
    name = "a.csv" if isinstance(data, bytes) else "a.parquet"
    costs = read_costs(write(tmp_path / name, data))

    assert [2000.0, 0.0, 2000.0, 1.5] == costs.of(Ids("caca"[:3] + "b")).tolist()


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ("x", "a cost is not a number"),
        ("", "a cost is not a number"),
        ("-1", "the cost of 'b' is -1"),
        ("nan", "the cost of 'b' is nan"),
        ("inf", "the cost of 'b' is inf"),
    ],
)
def test_what_is_no_cost(tmp_path: Path, cost, message) -> None:
    """A negative price would add to the budget; NaN would never end it."""
    with pytest.raises(DataError, match=message):
        read_costs(write(tmp_path / "a.csv", f"id,cost\na,1\nb,{cost}\n".encode()))


@pytest.mark.parametrize("read", [read_costs, read_groups])
def test_a_unit_that_is_there_twice(tmp_path: Path, read) -> None:
    """Which of the two counts would be chance."""
    with pytest.raises(DataError, match="'b' is there more than once"):
        read(write(tmp_path / "a.csv", b"id,cost,group\na,1,x\nb,1,x\nb,2,x\n"))


def test_a_group_is_its_text(tmp_path: Path) -> None:
    """Units of one video would count as of two, or of two as of one."""
    groups = read_groups(write(tmp_path / "a.csv", b"id,group\na,x\nb,07\nc,x\nd,7\n"))
    codes = groups.of(Ids("abcd"))

    assert codes[0] == codes[2] and 3 == len(np.unique(codes))
    with pytest.raises(DataError, match="'b' has no group"):
        read_groups(write(tmp_path / "b.parquet", {"id": ["a", "b"], "group": [1, None]}))


@pytest.mark.parametrize("read", [read_costs, read_groups])
def test_a_list_alone_has_no_values(tmp_path: Path, read) -> None:
    """The kinds that can hold a column must be named."""
    with pytest.raises(
        DataError, match=r"is no \.csv or \.parquet file; give the ids in one of th"
    ):
        read(write(tmp_path / "a.txt", b"a\n"))
    read(write(tmp_path / "a.csv", b"id,cost,group\na,1,x\n"))
