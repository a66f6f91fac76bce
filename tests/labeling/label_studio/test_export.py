"""What a JSON export says, and what is refused with the reason."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.data.masks import IGNORE
from rayal.errors import UsageError
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.label_studio.brush_rle import encode_brush
from rayal.labeling.label_studio.export import answers, read_tasks

ITEMS = (Item("a", 1, "images/a.png", (4, 6)), Item("b", 2, "images/b.png", (4, 6)))
CLASSES = Asked("asked", "cycle-000", ("cat", "dog"), False, ITEMS)
MASKS = Asked("asked", "cycle-000", ("cat", "dog"), True, ITEMS)
Json = dict[str, Any]


def choice(name: str = "cat") -> Json:
    value = {"choices": [name]}
    return {"from_name": "class", "to_name": "image", "type": "choices", "value": value}


def drawn(kind: str, name: str, value: Json) -> Json:
    return {
        "from_name": kind,
        "to_name": "image",
        "type": f"{kind}labels",
        "original_width": 6,
        "original_height": 4,
        "image_rotation": 0,
        "value": {**value, f"{kind}labels": [name]},
    }


def brush(name: str, pixels: np.ndarray) -> Json:
    return drawn("brush", name, {"format": "rle", "rle": encode_brush(pixels)})


def polygon(name: str, *points: tuple[float, float]) -> Json:
    percent = [[100 * x / 6, 100 * y / 4] for x, y in points]
    return drawn("polygon", name, {"points": percent, "closed": True})


def annotation(*result: Json, who: object = 1, **fields: Any) -> Json:
    made = {"id": 31, "completed_by": who, "result": list(result), "was_cancelled": False}
    return {**made, "lead_time": 2.5, "updated_at": "2026-11-30T12:00:00Z", **fields}


def task(unit: str, *annotations: Json, **fields: Any) -> Json:
    data = {"image": "x", "rayal_id": unit, "rayal_request": "asked"}
    return {"id": 7, "data": data, "annotations": list(annotations), **fields}


def read(*tasks: Json, asked: Asked = CLASSES) -> list[Answer | Problem]:
    return [*answers(read_tasks(json.dumps(tasks).encode()), asked)]


def test_choices_and_skips() -> None:
    """Who said what of which unit, and how long it took, would be lost."""
    skip = annotation(who={"id": 2, "email": "b@x"}, was_cancelled=True, lead_time=None)
    found = read(task("a", annotation(choice("dog")), skip), task("b"))
    where = "task 7, annotation 31"
    at = "2026-11-30T12:00:00Z"

    assert [
        Answer(where, "a", "dog", "1", 2.5, at, "asked"),
        Answer(where, "a", None, "2", None, at, "asked"),
    ] == found


@pytest.mark.parametrize(
    ("who", "name"),
    [(3, "3"), ({"id": 3, "email": "x@y"}, "3"), ({"email": "x@y"}, "x@y"), (None, "")],
)
def test_annotators(who: object, name: str) -> None:
    """One annotator would count as two, as the export was made one way or the other."""
    (answer,) = read(task("a", annotation(choice(), who=who)))

    assert isinstance(answer, Answer) and name == answer.annotator


def test_what_is_no_answer() -> None:
    """What the model said, or somebody is about to say, would train the next one."""
    said = {"model_version": "rayal", "result": [choice()]}
    found = read(task("a", predictions=[said], drafts=[{"result": [choice()]}]))

    assert [] == found


def test_remarks_are_left_alone() -> None:
    """A team that added a field for notes could not give its answers back."""
    note = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["?"]}}
    (answer,) = read(task("a", annotation(note, choice("dog"))))

    assert isinstance(answer, Answer) and "dog" == answer.label


def test_strokes_and_polygons_in_order() -> None:
    """What was drawn over something else would be lost below it; void would become a class."""
    left = np.zeros((4, 6), bool)
    left[:, :3] = True
    top = np.zeros((4, 6), bool)
    top[0] = True
    square = polygon("dog", (2, 1), (5, 1), (5, 4), (2, 4))
    found = read(task("a", annotation(brush("cat", left), square, brush("cat", top))), asked=MASKS)
    v = IGNORE
    expected = [[0] * 6, *[[0, 0, 1, 1, 1, v]] * 3]

    assert isinstance(found[0], Answer) and isinstance(found[0].label, np.ndarray)
    assert expected == found[0].label.tolist()


EMPTY = np.zeros((4, 6), bool)
TURNED = {**brush("cat", ~EMPTY), "image_rotation": 90}
SMALL = {**brush("cat", ~EMPTY), "original_width": 3}
WIDE = copy.deepcopy(choice())
WIDE["value"]["choices"] = ["cat", "dog"]
OPEN = copy.deepcopy(polygon("cat", (0, 0), (1, 0), (0, 1)))
OPEN["value"]["closed"] = False
LINE = polygon("cat", (0, 0), (1, 0))
NAN = copy.deepcopy(polygon("cat", (0, 0), (1, 0), (0, 1)))
NAN["value"]["points"][0][0] = float("nan")


@pytest.mark.parametrize(
    ("asked", "given", "reason"),
    [
        (CLASSES, annotation(), "says nothing; answer it, or skip it"),
        (MASKS, annotation(), "says nothing; answer it, or skip it"),
        (CLASSES, annotation(choice("cat"), choice("dog")), "has 2 choices; leave one"),
        (CLASSES, annotation(WIDE), r"names \['cat', 'dog'\] in place of one class"),
        (CLASSES, annotation({**choice(), "from_name": "kind"}), "of type 'choices' from 'kind'"),
        (CLASSES, annotation({**choice(), "type": "labels"}), "of type 'labels' from 'class'"),
        (CLASSES, annotation({**choice(), "to_name": "text"}), "to 'text', which the conf"),
        (CLASSES, annotation(brush("cat", ~EMPTY)), "from 'brush' to 'image'"),
        (MASKS, annotation(choice()), "from 'class' to 'image'"),
        (CLASSES, annotation({**choice(), "value": 1}), "a result without a value"),
        (CLASSES, annotation(choice(), lead_time=-1), "lead_time is -1"),
        (CLASSES, annotation(choice(), lead_time=float("nan")), "lead_time is nan"),
        (CLASSES, annotation(choice(), was_cancelled="no"), "was_cancelled is 'no'"),
        (CLASSES, annotation(result="cat"), "its result is no list"),
        (MASKS, annotation(brush("cow", ~EMPTY)), "region 1: 'cow' is no class"),
        (MASKS, annotation(brush("cat", ~EMPTY[:2])), "region 1: its run lengths are of 48 values"),
        (MASKS, annotation(SMALL), "4 high and 3 wide, and that of the request is 4 high and 6"),
        (MASKS, annotation(TURNED), "drawn on a rotated image"),
        (MASKS, annotation(OPEN), "a polygon that is not closed"),
        (MASKS, annotation(LINE), "not three or more x y"),
        (MASKS, annotation(NAN), "not three or more x y"),
    ],
)
def test_annotations_that_cannot_be_taken(asked: Asked, given: Json, reason: str) -> None:
    """A label would be guessed, or the others not be looked at."""
    bad, good = read(task("a", given), task("b", annotation(was_cancelled=True)), asked=asked)

    assert isinstance(bad, Problem) and re.search(reason, bad.reason), bad
    assert bad.where == "task 7, annotation 31" and bad.reason.startswith("'a': ")
    assert isinstance(good, Answer)
    mended = annotation(brush("cat", ~EMPTY) if asked.masks else choice())
    assert all(isinstance(each, Answer) for each in read(task("a", mended), asked=asked))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"image": "x"}, "has no rayal_id"),
        ({"rayal_id": "a"}, "belongs to another request, None instead of 'asked'"),
        ({"rayal_id": "a", "rayal_request": "other"}, "another request, 'other' instead"),
        ({"rayal_id": 12, "rayal_request": "asked"}, "its rayal_id is 12, which is no text"),
        (None, "has no rayal_id"),
    ],
)
def test_tasks_of_others(data: Json | None, reason: str) -> None:
    """Answers of another cycle would label units of this one."""
    (found,) = read({"id": 7, "data": data, "annotations": [annotation(choice())]})

    assert isinstance(found, Problem) and reason in found.reason and "task 7" == found.where
    (left,) = read(task("a", annotation(choice())))  # without it
    assert isinstance(left, Answer)


COCO = b'{"images": [], "categories": [], "annotations": []}'
MIN = b'[{"image": "x", "id": 13, "class": "3", "annotator": 4, "annotation_id": 2}]'
CSV = b'"annotation_id","annotator","class","id","rayal_id"\n2,"4","3",13,"a"\n'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (COCO, "Label Studio's COCO export, which loses ids, skips and brush masks"),
        (MIN, "perhaps JSON_MIN, which leaves out who skipped what"),
        (CSV, "the file is no JSON; CSV and the like leave out who skipped what"),
        (b"PK\x03\x04\xff", "a zip of another export"),
        (b"\xff\xfe[\x00", "not UTF-8"),
        (json.dumps([task("a", annotation(choice()))]).encode()[:-40], "not whole"),
        (b"[" * 5000, "damaged or not whole"),
        (b"", "the file is no JSON"),
        (b'{"a": 1}', "no list of tasks"),
        (b"[1]", "no list of tasks"),
        (b'[{"data": {"rayal_id": "a"}}]', "tasks without any annotations"),
    ],
)
def test_other_files(data: bytes, reason: str) -> None:
    """Another export would be taken for one in which nobody skipped anything."""
    with pytest.raises(UsageError, match="export the project again as JSON") as found:
        read_tasks(data)

    assert reason in str(found.value)


def test_a_byte_order_mark() -> None:
    """An export that an editor has saved again would be refused."""
    data = b"\xef\xbb\xbf" + json.dumps([task("a", annotation(choice()))]).encode()

    assert 1 == len([*answers(read_tasks(data), CLASSES)])


def test_an_empty_project() -> None:
    """Nothing is answered yet: that is no error."""
    assert [] == read_tasks(b"[]")


HERE = Path(__file__).parent


def test_what_a_real_server_has_written() -> None:
    """Made by tests/system/test_label_studio.py: two annotators, skips, a draft, a disagreement."""
    tasks = read_tasks((HERE / "classes.json").read_bytes())
    units = tuple(
        Item(each["data"]["rayal_id"], rank, "x", (8, 8)) for rank, each in enumerate(tasks, 1)
    )
    name = tasks[0]["data"]["rayal_request"]
    asked = Asked(name, "cycle-000", tuple("0123456789"), False, units)
    found = [*answers(tasks, asked)]
    assert all(isinstance(each, Answer) for each in found)
    skips = [each for each in found if each.label is None]

    assert (22, 2, 2) == (len(found), len(skips), len({each.annotator for each in found}))
    assert {2.5, 1.5} == {each.seconds for each in found}


def test_masks_that_a_real_server_has_written() -> None:
    """Made by the same: strokes, a polygon over them, a stroke over both."""
    tasks = read_tasks((HERE / "masks.json").read_bytes())
    result = tasks[0]["annotations"][0]["result"]
    size = result[0]["original_height"], result[0]["original_width"]
    classes = tuple(dict.fromkeys(each["value"][each["type"]][0] for each in result))
    items = tuple(Item(each["data"]["rayal_id"], 1, "x", size) for each in tasks)
    asked = Asked(tasks[0]["data"]["rayal_request"], "cycle-000", classes, True, items)
    found = [*answers(tasks, asked)]

    assert 3 == len(found) and {0, 1, 2, IGNORE} == {*np.unique(found[0].label).tolist()}
    assert (found[0].label[size[0] // 2] == 2).all()
