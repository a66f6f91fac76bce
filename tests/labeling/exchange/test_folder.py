"""Folders of classes and of masks, as people and their computers leave them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayal.data.masks import encode
from rayal.errors import UsageError
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.exchange.folder import Folder as Folders
from rayal.labeling.incoming import Given
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder
from tests.support.exports import zipped

CLASSES = "cat", "labeled cat"


def asked(masks: bool = False, classes: tuple[str, ...] = CLASSES) -> Asked:
    items = [Item(unit, n, f"images/{unit}-cafe.png", (2, 3)) for n, unit in enumerate("abc", 1)]
    return Asked("cafe", "x", classes, masks, tuple(items))


def read(files: dict[str, bytes] | bytes, of: Asked | None = None) -> list[Answer | Problem]:
    data = files if isinstance(files, bytes) else zipped(files)
    return [*Folders().read(data, of or asked())]


def labels(*names: str, of: Asked | None = None, **files: str) -> dict[str, object]:
    more = {name.replace("_", "."): text.encode() for name, text in files.items()}
    found = read(dict.fromkeys(names, b"") | more, of)
    assert all(isinstance(each, Answer) for each in found), found
    return {each.unit: each.label for each in found}  # type: ignore


def reasons(*names: str, of: Asked | None = None, **files: str) -> list[str]:
    more = {name.replace("_", "."): text.encode() for name, text in files.items()}
    found = read(dict.fromkeys(names, b"") | more, of)
    return [each.reason for each in found if isinstance(each, Problem)]


CAT, OTHER, SKIPPED = "cat/a-cafe.png", "labeled cat/b-cafe.png", "_skip/c-cafe.png"
ALL = {"a": "cat", "b": "labeled cat", "c": None}


def test_classes() -> None:
    """Images would be of other classes than the folders that they lie in."""
    assert ALL == labels(CAT, OTHER, SKIPPED)
    assert ALL == labels(*(f"labeled/{name}" for name in (CAT, OTHER, SKIPPED)))
    assert ALL == labels(*(f"some/labeled/{name}" for name in (CAT, OTHER, SKIPPED)))
    assert {"a": "cat"} == labels(CAT)  # not taken for a folder above
    assert {"a": "cat"} == labels(CAT, "images/b-cafe.png", "c-cafe.png")  # these wait
    assert {"a": "cat"} == labels(
        f"labeled/{CAT}", "request.json", "HOW.md", "images/b-cafe.png", "suggested/x.png"
    )
    assert {"a": "labeled"} == labels("labeled/a-cafe.png", of=asked(classes=("labeled", "x")))


def test_what_computers_leave_behind() -> None:
    """Every folder of a Mac or of Windows would be refused."""
    remnants = "cat/.DS_Store", "Thumbs.db", "cat/desktop.ini", "__MACOSX/cat/._a.png", "cat/._a"

    assert {"a": "cat"} == labels(CAT, *remnants)


def test_who_labeled() -> None:
    """Two annotators would be taken for one who contradicts himself."""
    (answer,) = read({CAT: b"", "annotator.txt": "Jürgen\r\n".encode()})

    assert isinstance(answer, Answer) and "Jürgen" == answer.annotator


def test_metadata() -> None:
    """Files of Hugging Face would be refused, or their labels be lost."""
    table = "file_name,label\na-cafe.png,cat\nsub/b-cafe.png,labeled cat\nc-cafe.png,_skip\n"
    lines = [{"file_name": "a-cafe.png", "label": "cat"}, {"file_name": "b-cafe.png"}]
    text = "\n".join(map(json.dumps, lines))

    assert ALL == labels("a-cafe.png", metadata_csv=table)
    assert {"a": "cat"} == labels("a-cafe.png", "b-cafe.png", metadata_jsonl=text + "\n\n")
    assert ["the label of 'a-cafe.png' is 3; write the class's name"] == reasons(
        metadata_jsonl='{"file_name": "a-cafe.png", "label": 3}'
    )
    for name, content, message in (
        ("metadata.csv", table[:-1], "row 4: may be cut off; end it with a line break"),
        ("metadata.csv", "file_name,label\na,cat,1\n", "row 2: has more cells"),
        ("metadata.jsonl", "{}", "row 1: has no file_name; leave it out"),
        ("metadata.jsonl", text[:-3], "row 2, is no whole JSON .*; export it again"),
    ):
        with pytest.raises(UsageError, match=f"{name}, {message}"):
            read({name: content.encode()})


def test_what_cannot_be_taken() -> None:
    """A file of somebody else's would be taken, or one of ours be lost."""
    assert "'a-cafe (1).png' is no image of this request, did you mean 'a-cafe.png'?" in reasons(
        "cat/a-cafe (1).png"
    )
    assert ["'holiday.png' is no image of this request; leave it out"] == reasons("holiday.png")
    assert "lies in 'dog'; move it to one of _skip, cat, labeled cat" in reasons(
        CAT, "dog/b-cafe.png"
    )
    assert "lies in 'Cat'; move" in reasons("Cat/a-cafe.png")[0]  # not taken for a folder above
    assert "lies in 'cat/old'; move" in reasons("cat/old/a-cafe.png", OTHER)[0]
    twice = read({CAT: b"", "labeled cat/a-cafe.png": b""})
    assert ["cat", "labeled cat"] == [each.label for each in twice]  # type: ignore


def test_masks() -> None:
    """A mask would be of another image, or its numbers other classes."""
    mask = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    of = asked(masks=True)
    coloured, palette = Image.frombytes("P", (3, 2), mask.tobytes()), io.BytesIO()
    coloured.putpalette(list(range(256)) * 3)
    coloured.save(palette, "PNG")
    found = read({"masks/a-cafe.png": palette.getvalue(), "_skip/b-cafe.png": b""}, of)
    strange = read({"masks/a-cafe.png": encode(mask + 7)}, of)
    none = read({"masks/a-cafe.png": b"", "masks/a-cafe.jpg": b"", "masks/z.png": b""}, of)

    assert mask.tolist() == found[0].label.tolist()  # type: ignore
    assert isinstance(found[1], Answer) and found[1].label is None
    assert "no classes; known are 0-1, 255; save it as PNG" in strange[0].reason  # type: ignore
    assert all(isinstance(each, Problem) for each in none) and 3 == len(none)
    assert "'z.png' is no mask of an image of this request; leave it out" == none[2].reason  # type: ignore
    assert "'z.png' is no image of this request; leave it out" in reasons("cat/z.png", of=of)[0]


def test_what_goes_out_and_is_moved(tmp_path: Path) -> None:
    """People would have to make the folders, and could misspell them."""
    Folders().write(asked(), {}, Folder(tmp_path))
    names = sorted(path.name for path in (tmp_path / "labeled").iterdir())
    (tmp_path / "labeled" / CAT).write_bytes(b"moved")
    given = Given.at(tmp_path / "labeled")

    assert ["_skip", "cat", "labeled cat"] == names
    assert ["a"] == [each.unit for each in read(given.data)]  # type: ignore
    assert ["a"] == [each.unit for each in read(Given.at(tmp_path).data)]  # type: ignore


def test_suggested_masks_go_out(tmp_path: Path) -> None:
    """Everybody would begin with an empty mask."""
    mask = np.ones((2, 3), np.uint8)
    said = {"a": Suggestion(None, "margin", encode(mask), 0.5)}
    Folders().write(asked(masks=True), said, Folder(tmp_path))

    (tmp_path / "request.json").write_text("{}")

    assert encode(mask) == (tmp_path / "suggested/a-cafe.png").read_bytes()
    assert [] == read(Given.at(tmp_path).data, asked(masks=True))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("a/b", "x"), "'a/b' cannot be the name of a folder everywhere; use csv"),
        (("..", "x"), "cannot be the name of a folder everywhere; use csv"),
        (("Images", "x"), "cannot be the name of a folder everywhere; use csv"),
        (("Cat", "cat"), "folders 'Cat' and 'cat' are one on some systems; use csv"),
        (("_skip", "x"), "'_skip' is a class of the dataset too; set it to another word"),
    ],
)
def test_classes_that_it_cannot_carry(classes: tuple[str, ...], message: str) -> None:
    """People would label for nothing, on some computers."""
    with pytest.raises(UsageError, match=message):
        Folders().check(classes)
    Folders(skip="none").check(("_skip", "x"))


def test_a_file_that_is_none() -> None:
    """It would end in a traceback."""
    with pytest.raises(UsageError, match="is no zip; give the folder labeled, or a zip of it"):
        read(b"rayal_id,label\n")
