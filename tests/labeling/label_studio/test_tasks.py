"""Tasks with what the model says, and where the server finds their images."""

import numpy as np
import pytest

from rayal.data.masks import IGNORE, encode
from rayal.errors import UsageError
from rayal.labeling.exchange.base import Asked, Item
from rayal.labeling.label_studio.config import BRUSH, POLYGON
from rayal.labeling.label_studio.export import answers
from rayal.labeling.label_studio.tasks import address_of, task_of
from rayal.labeling.suggestions import Suggestion

ITEM = Item("a/ü", 3, "images/3.png", (9, 12))


def asked(masks: bool) -> Asked:
    return Asked("name", "cycle-002", ("cat", "dog"), masks, (ITEM,))


def test_a_task_with_a_class() -> None:
    """The tool could not order tasks, or tell whose they are."""
    said = Suggestion(0.93, "chosen by entropy", 1, 0.41)
    task = task_of(asked(False), ITEM, "address", said, ())

    assert {
        "image": "address",
        "rayal_id": "a/ü",
        "rayal_rank": 3,
        "rayal_request": "name",
        "rayal_title": "cycle-002",
        "rayal_reason": "chosen by entropy",
        "rayal_score": 0.93,
    } == task["data"]
    (prediction,) = task["predictions"]
    assert ("rayal", 0.41) == (prediction["model_version"], prediction["score"])
    assert {"choices": ["dog"]} == prediction["result"][0]["value"]


def test_without_a_model() -> None:
    """The first request of a run has none, nor a score."""
    task = task_of(asked(False), ITEM, "address", None, ())

    assert "predictions" not in task and "rayal_score" not in task["data"]
    nothing = Suggestion(None, "drawn", None, None)
    task = task_of(asked(True), ITEM, "address", nothing, (BRUSH,))
    assert "predictions" not in task and "rayal_score" not in task["data"]


@pytest.mark.parametrize("drawn", [(BRUSH,), (BRUSH, POLYGON), (POLYGON,)])
def test_a_suggested_mask_comes_back_as_it_was(drawn: tuple[str, ...]) -> None:
    """An annotator who accepts it would give another mask than the model's."""
    mask = np.full(ITEM.size, IGNORE, np.uint8)
    mask[1:8, 1:9] = 0
    mask[3:5, 3:6] = 1  # in the hole of the other one
    mask[0, 11] = 1
    said = Suggestion(0.5, "why", encode(mask), 0.9)
    request = asked(True)
    task = task_of(request, ITEM, "address", said, drawn)
    result = task["predictions"][0]["result"]
    (answer,) = answers([{**task, "annotations": [{"result": result}]}], request)

    assert (mask == answer.label).all()
    assert len(result) == len({each["id"] for each in result})


def test_a_mask_of_another_size_is_not_shown() -> None:
    """It would lie in the wrong place."""
    said = Suggestion(0.5, "why", encode(np.zeros((3, 3), np.uint8)), 0.9)

    assert "predictions" not in task_of(asked(True), ITEM, "address", said, (BRUSH,))


@pytest.mark.parametrize(
    ("image", "root", "expected"),
    [
        ("images/1 ü.png", None, "/data/local-files/?d=images/1%20%C3%BC.png"),
        ("images/1.png", "/data", "/data/local-files/?d=runs/r/request/images/1.png"),
        ("images/1.png", "/data/", "/data/local-files/?d=runs/r/request/images/1.png"),
        ("/photos/a&b.jpg", None, "/data/local-files/?d=photos/a%26b.jpg"),
        ("/photos/1.jpg", "/photos", "/data/local-files/?d=1.jpg"),
        ("https://host/1.jpg", "/photos", "https://host/1.jpg"),
        ("s3://bucket/1.jpg", None, "s3://bucket/1.jpg"),
    ],
)
def test_addresses(image: str, root: str | None, expected: str) -> None:
    """The server would answer 404 in place of an image."""
    item = Item("a", 1, image, (1, 1))

    assert expected == address_of(item, "/data/runs/r/request", root)


def test_a_request_on_an_object_store() -> None:
    """Its images have an address of their own."""
    assert "s3://b/r/images/3.png" == address_of(ITEM, "s3://b/r", None)


def test_a_root_that_is_not_above() -> None:
    """No image would ever be shown, and nobody would know why."""
    with pytest.raises(UsageError, match=r"is not below document_root /other.*set oracle\.format"):
        address_of(ITEM, "/data/request", "/other")
    assert "/data/local-files/?d=request/images/3.png" == address_of(ITEM, "/data/request", "/data")
