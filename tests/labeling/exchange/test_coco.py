"""COCO instances: polygons, runs in both forms, categories, and files that say two things."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayal.data.masks import encode
from rayal.errors import UsageError
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.exchange.coco import FILE, SUGGESTED, Coco, counts_of
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder
from tests.support.exports import compressed, zipped

CLASSES = "road", "car"
V = 255
ROAD = [0, 0, 5, 0, 5, 4, 0, 4]
CAR = [1, 1, 3, 1, 3, 3, 1, 3]


def asked(masks: bool = True) -> Asked:
    return Asked("cafe", "x", CLASSES, masks, (Item("u1", 1, "images/1-cafe.png", (4, 5)),))


def content(*annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    """A file of one image, whose annotations are of the category 2 (a car)."""
    first = {"id": 7, "file_name": "1-cafe.png", "height": 4, "width": 5, **image}
    names = [*CLASSES, "SKIP", "unicorn"]
    return {
        "images": [first],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 2, **each}
            for number, each in enumerate(annotations, start=1)
        ],
    }


def read(file: object, masks: bool = True) -> Answer | Problem | None:
    data = file if isinstance(file, bytes) else json.dumps(file).encode()
    found = [*Coco().read(data, asked(masks))]
    assert len(found) < 2
    return found[0] if found else None


def mask(*segmentations: object, categories: Sequence[int] = ()) -> list[list[int]]:
    numbers = categories or [2] * len(segmentations)
    pairs = zip(segmentations, numbers, strict=True)
    found = read(content(*({"segmentation": s, "category_id": n} for s, n in pairs)))
    assert isinstance(found, Answer), found
    label: np.ndarray = found.label  # type: ignore
    return label.tolist()  # type: ignore


def reason(file: object, masks: bool = True) -> str:
    found = read(file, masks)
    assert isinstance(found, Problem), found
    return found.reason


def test_polygons_and_runs() -> None:
    """A mask would lie elsewhere than what was drawn; runs go down the columns."""
    car = [[V] * 5, [V, 1, 1, V, V], [V, 1, 1, V, V], [V] * 5]
    runs = [5, 2, 2, 2, 9]

    assert car == mask([CAR])
    assert car == mask({"size": [4, 5], "counts": runs})
    assert car == mask({"size": [4, 5], "counts": compressed(runs)})
    assert car == mask([[1, 1, 2, 1, 2, 3, 1, 3], [2, 1, 3, 1, 3, 3, 2, 3]])  # of two parts


def test_the_smaller_one_counts() -> None:
    """Which of two counts would depend on the order of the file, which COCO does not have."""
    expected = [[0] * 5, [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0] * 5]

    assert expected == mask([ROAD], [CAR], categories=(1, 2))
    assert expected == mask([CAR], [ROAD], categories=(2, 1))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_runs_that_were_compressed(runs: list[int]) -> None:
    """Masks of tools that compress them would be read as others."""
    assert runs == counts_of(compressed(runs))


def test_runs_of_pycocotools() -> None:
    """As above: what pycocotools 2.0 makes of an area of 4 columns in 9 x 7."""
    area = np.zeros((9, 7), bool)
    area[2:7, 1:5] = True
    area[0, 6] = True

    assert [11, 5, 4, 5, 4, 5, 4, 5, 11, 1, 8] == counts_of(PYCOCOTOOLS)
    assert (
        area.T.ravel().tolist()
        == np.repeat(np.arange(11) % 2 == 1, counts_of(PYCOCOTOOLS)).tolist()
    )


PYCOCOTOOLS = ";54000007LM"


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([{}], "car"),
        ([{}, {}], "car"),
        ([{"category_id": 3}], None),
        ([], "waits"),
    ],
)
def test_classes(annotations: list[dict[str, Any]], label: str | None) -> None:
    """The class of an image would be lost, or one made up where nobody gave one."""
    found = read(content(*annotations), masks=False)

    assert label == (found.label if isinstance(found, Answer) else "waits")


def test_a_class_of_the_image_itself() -> None:
    """Tools for classes write it there."""
    found = read(content(category_id=1), masks=False)

    assert isinstance(found, Answer) and "road" == found.label
    assert "has the categories 'car' and 'road'" in reason(content({}, category_id=1), masks=False)


def test_what_cannot_be_taken() -> None:
    """It would be taken for something else, or in part."""
    assert "has the categories 'car' and 'road'; leave one" in reason(
        content({}, {"category_id": 1}), masks=False
    )
    assert "has SKIP and other annotations; delete" in reason(content({}, {"category_id": 3}))
    assert "'unicorn' is no class; choose" in reason(content({"category_id": 4}))
    assert "has the category_id 9, which" in reason(content({"category_id": 9}))
    assert "is of image_id 8, which the file has not; leave" in reason(content({"image_id": 8}))
    assert "'u7' has another image" in reason(content({}, rayal_id="u7"))
    assert "is 8x10, and 4x5 was handed out; label" in reason(content({}, height=8, width=10))
    assert "'2.png' is no image of this request" in reason(content({}, file_name="2.png"))
    for segmentation, message in {
        "[]": "without a segmentation; draw it",
        "null": "without a segmentation; draw it",
        "[[0,0,1,1]]": "a polygon of 2 points, without an inside; draw it again, or delete it",
        "[[0,0,1,1,2]]": "of 5 numbers, x without y; export",
        '[["a",0,1,1,2,2]]': "no list of numbers; export",
        "[[0,0,1e300,1,2,2]]": "far out of the image; draw",
        '{"size": [5, 4], "counts": [20]}': "of size [5, 4], the image is of [4, 5]; export",
        '{"size": [4, 5], "counts": [19]}': "runs of 19 pixels, not 20; export",
        '{"size": [4, 5], "counts": [-1, 21]}': "runs of 20 pixels, not 20; export",
        '{"size": [4, 5], "counts": {}}': "has runs {}; export",
        '{"size": [4, 5], "counts": "!"}': "with the sign '!' in a number; export",
        '{"size": [4, 5], "counts": "oooooooooooooooooo"}': "with the sign 'o' in a number",
        '{"size": [4, 5], "counts": "oo"}': "has runs that are cut off; export",
    }.items():
        assert message in reason(content({"segmentation": json.loads(segmentation)})), segmentation


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "holds no object of COCO; export it as COCO instances"),
        (b"{}", "has no list of images; export it as COCO instances"),
        (b'{"images": [], "images": []}', "has 'images' twice in one object; leave out one"),
        (b"[NaN]", "has NaN where a number should be; export it again"),
        (b"[" * 10**5, "is no whole JSON .*; export it again"),
        (zipped({"a.json": b"", "b.json": b""}), "holds 2 files .json; give that file itself"),
        (zipped({"a.txt": b""}), "holds no .json; give that file itself"),
    ],
)
def test_files_that_are_none(data: bytes, message: str) -> None:
    """A mistaken file would end in a traceback, or half of it be lost."""
    with pytest.raises(UsageError, match=message):
        read(data)


def test_files_that_say_two_things() -> None:
    """One of two images with the same id would get the label of both."""
    twice = content({})
    twice["images"] *= 2
    for file, message in (
        (twice, "two images have the id 7; leave out one"),
        (content(id=1.5), "images have the id 1.5; export it again"),
        ({**content({}), "info": {"rayal_request": "f00d"}}, "belongs to another request, 'f00d'"),
    ):
        with pytest.raises(UsageError, match=message):
            read(file)


def test_what_goes_out(tmp_path: Path) -> None:
    """Tools would not import it; or what the model suggests be taken for an answer."""
    drawing = np.full((4, 5), V, np.uint8)
    drawing[1:3, 1:4] = 1
    out = Folder(tmp_path)
    Coco().write(asked(), {"u1": Suggestion(None, "margin", encode(drawing), 0.5)}, out)
    plain, suggested = json.loads(out.read(FILE)), json.loads(out.read(SUGGESTED))
    (annotation,) = suggested["annotations"]

    assert [] == plain["annotations"] and ["road", "car", "SKIP"] == [
        each["name"] for each in plain["categories"]
    ]
    assert [1, 1, 3, 2] == annotation["bbox"] and 6 == annotation["area"]
    with pytest.raises(UsageError, match="suggestions as they were handed out; export it from the"):
        read(suggested)
    del suggested["info"]["rayal_suggestions"]
    found = read(suggested)
    assert isinstance(found, Answer) and drawing.tolist() == found.label.tolist()  # type: ignore
