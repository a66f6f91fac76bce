"""A request in a folder, and the answers to it."""

import json
from pathlib import Path

import pytest

from rayal.labeling.exchange.base import Answer, Asked, Item
from rayal.labeling.exchange.label_studio import LabelStudio
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder

ITEMS = (
    Item("b", 1, "images/0001-b.png", (4, 6)),
    Item("a", 2, "https://host/a.png", (4, 6)),
)
ASKED = Asked("asked", "cycle-001", ("cat", "a & <b>"), False, ITEMS)


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    LabelStudio().write(ASKED, {"b": Suggestion(0.5, "why", 1, 0.9)}, Folder(tmp_path))
    return Folder(tmp_path)


def test_tasks_in_order_of_rank(out: Folder) -> None:
    """A server shows tasks in the order of import: the first must be worth most."""
    tasks = json.loads(out.read("tasks.json"))

    assert [("b", 1), ("a", 2)] == [
        (each["data"]["rayal_id"], each["data"]["rayal_rank"]) for each in tasks
    ]
    assert "/data/local-files/?d=images/0001-b.png" == tasks[0]["data"]["image"]
    assert "https://host/a.png" == tasks[1]["data"]["image"]
    assert [1, 0] == [len(each.get("predictions", [])) for each in tasks]
    assert b"a &amp; &lt;b&gt;" in out.read("config.xml")


def test_what_people_say_of_it_comes_back(out: Folder) -> None:
    """The way out and the way back would not fit together."""
    tasks = json.loads(out.read("tasks.json"))
    tasks[0]["annotations"] = [{"result": tasks[0]["predictions"][0]["result"]}]
    tasks[1]["annotations"] = [{"result": [], "was_cancelled": True}]
    found = [*LabelStudio().read(json.dumps(tasks).encode(), ASKED)]

    assert all(isinstance(each, Answer) for each in found)
    assert [("b", "a & <b>"), ("a", None)] == [(each.unit, each.label) for each in found]


def test_the_steps_say_what_people_stumble_over() -> None:
    """Images are 404 until a storage covers them, and imports double tasks: few know."""
    said = " ".join(LabelStudio(document_root="/data").steps(ASKED, "/data/run/request"))

    for words in (
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/data`",
        "`/data/run/request/images`",
        "404",
        "doubles",
        "rayal_rank",
        "rayal labels push",
        "JSON-MIN",
        "COCO",
    ):
        assert words in said
    linked = Asked("asked", "cycle-001", ("cat",), True, ITEMS[1:])
    said = " ".join(LabelStudio().steps(linked, "/run/request"))
    assert "stay at their own addresses" in said and "are void" in said


def test_polygons_alone(tmp_path: Path) -> None:
    """A team that only draws outlines would be shown a brush."""
    masks = Asked("asked", "cycle-001", ("cat",), True, ITEMS)
    LabelStudio(masks="polygon").write(masks, {}, Folder(tmp_path))
    written = Folder(tmp_path).read("config.xml")

    assert b"<PolygonLabels" in written and b"Brush" not in written
