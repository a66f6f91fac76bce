"""Tables, as spreadsheets, scripts and people hand them in."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from rayal.errors import UsageError
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.exchange.csv import FILE, Csv
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder

CLASSES = "cat", "catfish", "dog"


def asked(*units: str) -> Asked:
    items = [Item(u, rank, f"images/{rank}.png", (2, 3)) for rank, u in enumerate(units, start=1)]
    return Asked("cafe", "x", CLASSES, False, tuple(items))


def read(text: str | bytes, *units: str) -> list[Answer | Problem]:
    data = text if isinstance(text, bytes) else text.encode()
    return [*Csv().read(data, asked(*units or ("a", "b")))]


def labels(text: str | bytes, *units: str) -> dict[str, str]:
    """Unit -> label, of a file without problems."""
    found = read(text, *units)
    assert all(isinstance(each, Answer) for each in found), found
    return {each.unit: each.label for each in found}  # type: ignore


def reasons(text: str, *units: str) -> list[str]:
    return [str(each.reason) for each in read(text, *units) if isinstance(each, Problem)]


def test_what_goes_out_comes_back(tmp_path: Path) -> None:
    """A spreadsheet would compute an id that begins as a formula does, or lose its signs."""
    units = "=1+2", "'quoted", "@x", "-1", "ü", "a,b", 'say "x"', "two\nlines"
    out = Folder(tmp_path)
    said = {"ü": Suggestion(0.5, "margin", 2, 0.9)}
    Csv().write(asked(*units), said, out)
    text = out.read(FILE).decode("utf-8-sig")
    rows = [*csv.DictReader(io.StringIO(text, newline=""))]
    for row in rows:
        row["label"] = "dog"
    filled = io.StringIO()
    table = csv.DictWriter(filled, rows[0])
    table.writeheader()
    table.writerows(rows)

    assert out.read(FILE).startswith(b"\xef\xbb\xbf")  # Excel reads it as UTF-8
    assert not any(line[:1] in "=+-@" for row in rows for line in row.values() if line)
    assert ["", "", "", "", "dog", "", "", ""] == [row["suggested"] for row in rows]
    assert [] == read(out.read(FILE), *units)
    assert dict.fromkeys(units, "dog") == labels(filled.getvalue(), *units)


def test_a_table_by_hand() -> None:
    """Two columns are enough; what is blank waits."""
    assert {"a": "cat"} == labels("rayal_id,label\na,cat\nb,\n\n,,\n")
    assert {"b": "dog"} == labels(" Label ;RAYAL_ID;mine\r\ndog;b;x\r\n")
    assert {"b": "dog"} == labels("sep=;\r\nlabel;rayal_id\r\ndog;b\r\n")
    assert {"a": "cat"} == labels("rayal_id\tlabel\na\tcat\n".encode("utf-16"))
    assert {"a": None} == labels("rayal_id,label\na,SKIP\n")


def test_rows_are_numbered_as_a_spreadsheet_does() -> None:
    """A person would look for the mistake in another row."""
    found = read('rayal_id,label\n"x\ny",cat\n\nz,dog\n', "x\ny")

    assert ["row 2", "row 4"] == [each.where for each in found]


@pytest.mark.parametrize(
    ("given", "unit"),
    [
        ("12", "0012"),
        ("1E+05", "100000"),
        ("1,00E+05", "100000"),
        ("1.23457E+11", "123456789012"),
        ("1.23457E+15", "1234567890123456"),
        ("1234567890123450", "1234567890123456"),
        ("12.0", "12"),
        ("1.00E+05", "1e5"),
        ("3-Feb", "3-2"),
        ("03.02.2026", "3-2"),
        ("2026-02-03 00:00:00", "feb3"),
        ("Mrz 05", "05-mar"),
        ("TRUE", "true"),
        ("A ", "a"),
        ("e\u0301", "é"),
    ],
)
def test_what_a_spreadsheet_made_of_an_id(given: str, unit: str) -> None:
    """It would be said that the unit was not asked for, and nobody know which was."""
    table = f'rayal_id;label\n"{given}";cat\n'
    (reason,) = reasons(table, unit, "other")

    assert f"{ascii(unit) if unit == 'é' else unit!r} probably was" in reason or "é" in reason
    assert {unit: "cat"} == labels(f'rayal_id;label\n"{unit}";cat\n', unit, "other")
    assert "probably" not in reasons(table, "train-00012", "x")[0]


def test_one_id_that_another_may_have_become() -> None:
    """The label of 012 would be taken for that of 12."""
    table = "rayal_id,label\n12,cat\n"

    assert "may be what a spreadsheet made of another id" in reasons(table, "12", "012")[0]
    assert {"12": "cat"} == labels("rayal_rank,rayal_id,label\n1,12,cat\n", "12", "012")
    assert "has rank 1, not '2'" in reasons("rayal_rank,rayal_id,label\n2,12,cat\n", "12", "012")[0]


def test_columns_that_were_sorted_apart() -> None:
    """Labels would be of the images of other rows."""
    table = "rayal_rank,rayal_id,image,label\n1,b,,cat\n,b,images/1.png,cat\n2.0,b,2.png,cat\n"

    assert 2 == len(reasons(table)) and all("sort whole rows" in each for each in reasons(table))


@pytest.mark.parametrize(
    ("cell", "delimiter", "seconds"),
    [
        ("12", ",", 12.0),
        ("1.5", ",", 1.5),
        ('"1,5"', ",", None),
        ("1,5", ";", 1.5),
        ("1.5", ";", 1.5),
        ("1.500", ";", None),
        ("1,500", ";", 1.5),
        ("-1", ",", None),
        ("nan", ",", None),
        ("soon", ",", None),
        ("9" * 400, ",", None),
    ],
)
def test_seconds(cell: str, delimiter: str, seconds: float | None) -> None:
    """1,5 of a German spreadsheet would be 15 seconds, or 1.500 one and a half."""
    table = "rayal_id,label,seconds,x\n\na,cat,{},\n".replace(",", delimiter).format(cell)
    (found,) = read(table)

    assert seconds == (found.seconds if isinstance(found, Answer) else None)
    assert isinstance(found, Answer) or "seconds are" in found.reason


def test_a_file_that_ends_without_a_line_break() -> None:
    """`cat` would be taken where `catfish` was cut off; and what Google Sheets saves, refused."""
    assert {"a": "dog"} == labels("rayal_id,label\na,dog")
    assert {"a": "cat"} == labels("rayal_id,label,rayal_request\na,cat,r-cafe")
    assert {"a": "cat"} == labels("rayal_id,label\na,cat\n")
    for cut in ("rayal_id,label\na,cat", "rayal_id,label,rayal_request\na,cat,r-ca"):
        assert "may be cut off" in reasons(cut)[0]
    assert "may be cut off in seconds" in reasons("rayal_id,label,seconds\na,cat,1")[0]
    assert "may be cut off in rayal_id" in reasons("label,rayal_id\ncat,a", "a", "ab")[0]
    with pytest.raises(UsageError, match="row 3, the last, has 1 of 2 columns: the file is cut"):
        read("rayal_id,label\na,cat\nb")
    with pytest.raises(UsageError, match="row 2 cannot be read .unexpected end of data"):
        read('rayal_id,label\na,"ca')


def test_other_refusals() -> None:
    """It would be taken, or end in a traceback, or nobody know what to do."""
    assert (
        "belongs to another request, 'r-f00'"
        in reasons("rayal_id,label,rayal_request\na,cat,r-f00\n")[0]
    )
    assert "did you mean 'SKIP'?" in reasons("rayal_id,label\na,skip \n")[0]
    assert "has more cells than the 2 columns" in reasons("rayal_id,label\na,cat,1\n")[0]
    for data, message in {
        b"": "no column rayal_id, label",
        b"id,label\na,cat\n": "no column rayal_id, its columns are 'id', 'label'; save the table",
        b"rayal_id,label,Label\na,cat,dog\n": "two columns label; leave out one",
        "rayal_id,label\nä,cat\n".encode("latin-1"): "not UTF-8 .byte 16 of 21.; save it as CSV",
        "rayal_id,label\na,cat\n".encode("utf-16-le"): "null characters; save it as CSV UTF-8",
    }.items():
        with pytest.raises(UsageError, match=message):
            read(data)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("SKIP", "x"), "'SKIP' is a class of the dataset too; set it to another word"),
        ((" ", "x"), "has no name that people can write"),
        (("'=x", "=x"), "look alike in a spreadsheet; use label_studio"),
    ],
)
def test_classes_that_it_cannot_carry(classes: tuple[str, ...], message: str) -> None:
    """People would label for nothing."""
    with pytest.raises(UsageError, match=message):
        Csv().check(classes)
    Csv(skip="none_of_these").check(("SKIP", "x"))


def test_late_rows_of_units_that_are_asked_for_again() -> None:
    """The ranks and images of the newer request would be expected of the older one's table."""
    now = Asked("cafe", "x", CLASSES, False, (Item("b", 1, "images/1-b-cafe.png", (2, 3)),))
    items = Item("a", 1, "images/1-a-beef.png", (2, 3)), Item("b", 2, "images/2-b-beef.png", (2, 3))
    what = replace(now, earlier=(Asked("beef", "x", CLASSES, False, items),))

    def found(row: str) -> Answer | Problem:
        text = f"rayal_rank,rayal_id,image,label,rayal_request\n{row}\n"
        (answer,) = Csv().read(text.encode(), what)
        return answer

    assert "beef" == found("2,b,images/2-b-beef.png,dog,r-beef").request  # type: ignore[union-attr]
    assert "beef" == found(",b,images/2-b-beef.png,dog,").request  # type: ignore[union-attr]
    assert "cafe" == found("1,b,,dog,").request  # type: ignore[union-attr]
    assert "" == found(",b,,dog,").request  # type: ignore[union-attr]
    assert "has rank 2, not '1'" in found("1,b,,dog,r-beef").reason  # type: ignore[union-attr]
    assert "sorted apart" in found("2,b,images/1-b-cafe.png,dog,").reason  # type: ignore[union-attr]
