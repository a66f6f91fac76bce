"""What messages of formats tell people to do with their files is done, and the file is taken."""

import json
from typing import Any

import pytest

from rayal.data.masks import encode
from rayal.errors import UsageError
from rayal.labeling.exchange._zip import LARGEST
from rayal.labeling.exchange.base import Answer, Asked, Format, Item, Problem
from rayal.labeling.exchange.coco import Coco
from rayal.labeling.exchange.csv import Csv
from rayal.labeling.exchange.cvat import Cvat
from rayal.labeling.exchange.folder import Folder as Folders
from tests.support.exports import mask_of, zipped

Files = dict[str, bytes]


def asked(*units: str, masks: bool = False) -> Asked:
    items = [Item(u, n, f"images/{n}-cafe.png", (4, 5)) for n, u in enumerate(units, start=1)]
    return Asked("cafe", "x", ("cat", "catfish"), masks, tuple(items))


def read(form: Format, data: bytes, of: Asked) -> tuple[dict[str, Any], str]:
    """Unit -> label, and all that is said against the file."""
    labels, told = dict[str, Any](), list[str]()
    try:
        for found in form.read(data, of):
            if isinstance(found, Answer):
                labels[found.unit] = found.label
            else:
                assert isinstance(found, Problem)
                told.append(found.reason)
    except UsageError as error:
        told.append(str(error))
    return labels, "\n".join(told)


CSV: list[tuple[str | bytes, str, str]] = [
    ("rayal_id,label\na,cat\nb", "is cut off; save it again", "rayal_id,label\na,cat\nb,\n"),
    ("rayal_id,label\na,cat,x\n", "put texts with ',' into q", 'rayal_id,label,y\na,cat,"x,z"\n'),
    ("id,label\na,cat\n", "; save the table that was handed out", "rayal_id,label\na,cat\n"),
    ("rayal_id,label,label\na,cat,\n", "two columns label; leave out", "rayal_id,label\na,cat\n"),
    (b"rayal_id,label,z\na,cat,\xe4\n", "not UTF-8 (byte 24", "rayal_id,label,z\na,cat,ä\n"),
    (
        "rayal_id,label\0\na,cat\n",
        "null characters; save it as CSV UTF-8",
        "rayal_id,label\na,cat\n",
    ),
    ('rayal_id,label\na,"cat\n', "or the file is cut off there; save", 'rayal_id,label\na,"cat"\n'),
    (
        "rayal_id,label,rayal_request\na,cat,\nb,cat,r-f00d\n",
        "another request, 'r-f00d'; leave it out",
        "rayal_id,label,rayal_request\na,cat,\n",
    ),
    ("rayal_id,label\na,cat\nz,cat\n", "'z' was not asked for; leave", "rayal_id,label\na,cat\n"),
    ("rayal_id,label\nA,cat\n", "give rayal_id as it was", "rayal_id,label\na,cat\n"),
    (
        "rayal_id,label,seconds\na,cat,soon\n",
        "give a number such as 12.5",
        "rayal_id,label,seconds\na,cat,12.5\n",
    ),
    (
        "rayal_id;label;seconds\na;cat;1.500\n",
        "write 1500 or 1,500",
        "rayal_id;label;seconds\na;cat;1,500\n",
    ),
    ("rayal_id,label\na,cat", "end it with a line break", "rayal_id,label\na,cat\n"),
]


@pytest.mark.parametrize(("given", "said", "mended"), CSV, ids=[each[1] for each in CSV])
def test_tables(given: str | bytes, said: str, mended: str) -> None:
    """A person would do what it says, and be refused again."""
    data = given if isinstance(given, bytes) else given.encode()
    labels, told = read(Csv(), data, asked("a", "b"))

    assert said in told, told
    assert ({"a": "cat"}, "") == read(Csv(), mended.encode(), asked("a", "b"))


def test_an_id_that_another_may_have_become() -> None:
    """As above, with the column of ranks."""
    _, told = read(Csv(), b"rayal_id,label\n12,cat\n", asked("12", "012"))
    table = b"rayal_id,label,rayal_rank\n12,cat,1\n"

    assert "keep the column rayal_rank" in told
    assert ({"12": "cat"}, "") == read(Csv(), table, asked("12", "012"))


def xml(more: str = "", images: str = "", first: str = "") -> str:
    """A document of one image, which is a cat."""
    image = '<image name="1-cafe.png" width="5" height="4"><tag label="cat"/>'
    return f"{first}<annotations>{image}{more}</image>{images}</annotations>"


XML: list[tuple[str, str]] = [
    (xml(first="<!DOCTYPE a>"), "declares a document type"),
    (xml('<tag label="SKIP"/>'), "delete one or the other"),
    (xml('<tag label="catfish"/>'), "leave one of them"),
    (xml(images='<image name="z"/>'), "; leave it out"),
]


@pytest.mark.parametrize(("given", "said"), XML, ids=[each[1] for each in XML])
def test_xml(given: str, said: str) -> None:
    """As above."""
    mended = xml().encode()

    assert said in read(Cvat(), given.encode(), asked("a"))[1]
    assert ({"a": "cat"}, "") == read(Cvat(), mended, asked("a"))


def coco(**changes: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "1-cafe.png", "height": 4, "width": 5}
    names = {1: "cat", 2: "catfish", 3: "SKIP"}
    return {
        "images": [image],
        "annotations": [{"image_id": 1, "category_id": 1}],
        "categories": [{"id": number, "name": name} for number, name in names.items()],
        **changes,
    }


CAT = {"image_id": 1, "category_id": 1}
JSON: list[tuple[dict[str, Any], str]] = [
    ({"annotations": [CAT, CAT | {"category_id": 3}]}, "delete one or the other"),
    ({"annotations": [CAT, CAT | {"category_id": 2}]}, "leave one of them"),
    ({"info": {"rayal_suggestions": True}}, "take rayal_suggestions out of its info"),
    ({"info": {"rayal_request": "f00d"}}, "belongs to another request, 'f00d'; give it there"),
    ({"images": coco()["images"] * 2}, "leave out one of them"),
    ({"annotations": [CAT, CAT | {"image_id": 2}]}, "leave it out"),
    ({"annotations": [CAT | {"category_id": 9}]}, "which the file has not; add it"),
]


@pytest.mark.parametrize(("changes", "said"), JSON, ids=[each[1] for each in JSON])
def test_json(changes: dict[str, Any], said: str) -> None:
    """As above; a category that is missing is added."""
    given, right = json.dumps(coco(**changes)).encode(), json.dumps(coco()).encode()
    added = coco(**changes)
    added["categories"].append({"id": 9, "name": "cat"})

    assert said in read(Coco(), given, asked("a"))[1]
    assert ({"a": "cat"}, "") == read(Coco(), right, asked("a"))
    if "add it" in said:
        assert ({"a": "cat"}, "") == read(Coco(), json.dumps(added).encode(), asked("a"))


def test_a_key_that_is_there_twice() -> None:
    """As above."""
    right = json.dumps(coco())

    assert "leave out one of" in read(Coco(), f'{{"images": [],{right[1:]}'.encode(), asked("a"))[1]


def test_a_polygon_without_an_inside() -> None:
    """As above, where it is deleted."""
    line, area = [[0, 0, 5, 4]], [[0, 0, 5, 0, 5, 4, 0, 4]]
    drawn = [CAT | {"segmentation": each} for each in (area, line)]
    both, one = (json.dumps(coco(annotations=some)).encode() for some in (drawn, drawn[:1]))
    labels, told = read(Coco(), one, asked("a", masks=True))

    assert "or delete it" in read(Coco(), both, asked("a", masks=True))[1]
    assert "" == told and (labels["a"] == 0).all()


FOLDER: list[tuple[Files, str]] = [
    ({"dog/1-cafe.png": b""}, "move it to one of _skip, cat, catfish"),
    ({"cat/1-cafe.png": b"", "z.png": b""}, "is no image of this request; leave it out"),
    ({"metadata.jsonl": b'{"file_name": "1-cafe.png", "label": 0}'}, "write the class's name"),
    ({"metadata.jsonl": b"{}"}, "has no file_name; leave it out"),
]


@pytest.mark.parametrize(("given", "said"), FOLDER, ids=[each[1] for each in FOLDER])
def test_folders(given: Files, said: str) -> None:
    """As above."""
    for right in (
        {"cat/1-cafe.png": b""},
        {"metadata.jsonl": b'{"file_name": "1-cafe.png", "label": "cat"}'},
    ):
        assert said in read(Folders(), zipped(given), asked("a"))[1]
        assert ({"a": "cat"}, "") == read(Folders(), zipped(right), asked("a"))


def test_masks_in_folders() -> None:
    """As above, of masks."""
    of, mask = asked("a", masks=True), mask_of((4, 5))
    name, right = "masks/1-cafe.png", encode(mask)
    labels, told = read(Folders(), zipped({name: right}), of)

    assert "save it as PNG" in read(Folders(), zipped({name: encode(mask + 9)}), of)[1]
    assert "leave it out" in read(Folders(), zipped({name: right, "masks/z.png": right}), of)[1]
    assert "" == told and (labels["a"] == mask).all()


def test_zips() -> None:
    """As above, of all that a zip can be."""
    right, of = {"cat/1-cafe.png": b""}, asked("a")
    for data, said in (
        (zipped(right)[:-9], "make it again"),
        (zipped({**right, "../x": b""}), "make it again"),
        (zipped({**right, "large": bytes(LARGEST + 1)}), "give one of answers alone"),
        (b"no zip", "give the folder labeled, or a zip of it"),
    ):
        assert said in read(Folders(), data, of)[1]
    assert ({"a": "cat"}, "") == read(Folders(), zipped(right), of)
    two = {"a.json": json.dumps(coco()).encode(), "b.json": b""}
    assert "give that file itself" in read(Coco(), zipped(two), of)[1]
    assert ({"a": "cat"}, "") == read(Coco(), two["a.json"], of)


@pytest.mark.parametrize(
    ("form", "classes", "said", "instead"),
    [
        (Csv(), ("SKIP",), "set it to another word", Csv(skip="NONE")),
        (Cvat(), ("AGREED",), "set it to another word", Cvat(agreed="YES")),
        (Cvat(), ("a\1",), "use csv", Csv()),
        (Folders(), ("a/b",), "use csv", Csv()),
        (Folders(), ("Cat", "cat"), "use csv", Csv()),
    ],
)
def test_classes(form: Format, classes: tuple[str, ...], said: str, instead: Format) -> None:
    """As above, before anybody has labeled."""
    with pytest.raises(UsageError, match=said):
        form.check(classes)
    instead.check(classes)
