"""Images of COCO files: the class of each, where they lie, and what is refused."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayal.data.datasets._coco import Said, class_of
from rayal.data.datasets.coco_images import CocoImages
from rayal.data.store import Store
from rayal.errors import DataError, UsageError
from tests.data.datasets.test_image_folder import plant

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 5, "name": "eel"}]
DRAWN = {
    "a.png": [("cat", 4), ("dog", 9), ("cat", 4)],
    "b.png": [("dog", 4)],
    "sub/c.png": [],
    "d.png": [("eel", 2), ("cat", 8)],
}
"""What is in each image, with the area of its box."""


def content(drawn: dict[str, list[tuple[str, int]]], **more: Any) -> dict[str, Any]:
    """A file in which images have the ids 10, 11, ..."""
    ids = {each["name"]: each["id"] for each in CATEGORIES}
    annotations = [
        {"image_id": image, "category_id": ids[name], "bbox": [0, 0, area, 1], "iscrowd": 0}
        for image, boxes in enumerate(drawn.values(), 10)
        for name, area in boxes
    ]
    return {
        "info": {"year": 2017},
        "images": [{"id": n, "file_name": name} for n, name in enumerate(drawn, 10)],
        "annotations": [{"id": n, **each} for n, each in enumerate(annotations)],
        "categories": CATEGORIES,
        **more,
    }


def written(root: Path, what: dict[str, Any], file: str = "pool.json") -> None:
    (root / file).write_text(json.dumps(what))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images; the first is black, the next a little red."""
    plant(tmp_path / "train2017", *DRAWN)
    written(tmp_path, content(DRAWN))
    return tmp_path


def opened(root: Path, **options: Any) -> Store:
    return CocoImages(root=str(root), **{"pool": "pool.json", **options}).open()


def named(store: Store) -> dict[str, str]:
    """Id -> name of the class, of the pool."""
    return {unit: store.card.classes[number] for unit, number in store.labels("pool").items()}


def test_a_pool_that_nobody_has_labeled(root: Path) -> None:
    """Boxes are no classes of images; an image without one is an image too."""
    store = opened(root)
    images = store.pool.decode(store.pool.take(store.pool.ids())).images

    assert [f"train2017/{name}" for name in DRAWN] == store.pool.ids()
    assert [0, 1, 2, 3] == images[:, 0, 0, 0].tolist()
    assert ("cat", "eel", "dog") == store.card.classes and not store.card.labeled
    assert 0 == store.card.test
    written(root, {key: each for key, each in content(DRAWN).items() if key != "annotations"})
    assert store.card.files == opened(root).card.files


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("largest", {"a.png": "dog", "b.png": "dog", "d.png": "cat"}),
        ("most", {"a.png": "cat", "b.png": "dog", "d.png": "cat"}),
        ("only", {"b.png": "dog"}),
    ],
)
def test_rules(rule: str, expected: dict[str, str], root: Path, caplog: Any) -> None:
    """An image would be learned as what is a speck in it."""
    with caplog.at_level(logging.WARNING):
        store = opened(root, label=rule)

    assert {f"train2017/{name}": label for name, label in expected.items()} == named(store)
    assert (
        "pool.json: 1 image is left out, without an annotation of any class; dataset.background"
        in caplog.text
    )
    assert ("pool.json: 2 images are left out, with several" in caplog.text) == (rule == "only")


def test_images_without_an_annotation(root: Path) -> None:
    """A model that never sees them calls them something."""
    store = opened(root, label="only", background="nothing")

    assert ("cat", "eel", "dog", "nothing") == store.card.classes
    assert {"train2017/b.png": "dog", "train2017/sub/c.png": "nothing"} == named(store)
    with pytest.raises(UsageError, match="is the class of images without an annotation, but no"):
        opened(root, background="nothing")


def test_some_of_the_classes(root: Path) -> None:
    """Annotations of what is not asked for would decide."""
    store = opened(root, label="largest", classes=("none", "eel", "cat"), background="none")

    assert {"a.png": "cat", "b.png": "none", "sub/c.png": "none", "d.png": "cat"} == {
        unit.removeprefix("train2017/"): label for unit, label in named(store).items()
    }
    with pytest.raises(DataError, match="'cta' is no category of pool.json; did you mean 'cat'"):
        opened(root, label="largest", classes=("cta",))
    assert ("sunny", "dark") == opened(root, classes=("sunny", "dark")).card.classes


def test_test_images(root: Path) -> None:
    """Numbers of categories may be others in the other file; names are not."""
    plant(root / "val2017", "t.png")
    other = content({"t.png": [("eel", 1)]}, categories=[{"id": 5, "name": "dog"}])
    written(root, other, "val.json")
    store = opened(root, label="largest", test="val.json")
    assert {"val2017/t.png": 2} == store.labels("test")
    assert {"val2017/t.png": 2} == opened(root, test="val.json", test_label="only").labels("test")
    with pytest.raises(UsageError, match="leaves the test images without labels; set test_label"):
        opened(root, test="val.json")

    written(root, {**other, "categories": [{"id": 5, "name": "fox"}]}, "val.json")
    with pytest.raises(DataError, match="has the categories 'fox', which pool.json has not; set"):
        opened(root, label="largest", test="val.json")
    plant(root / "val2017", "u.png")
    written(root, content({"u.png": [("dog", 1)]}), "val.json")
    picked = opened(root, label="largest", test="val.json", classes=("dog", "cat"))
    assert {"val2017/u.png": 0} == picked.labels("test")
    (root / "val.json").rename(elsewhere := root.parent / "val.json")
    far = opened(root, label="largest", test=str(elsewhere), classes=("dog", "cat"))
    assert {"val2017/u.png": 0} == far.labels("test")


CAT, DOG = {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}
IMAGE = {"id": 1, "file_name": "a.png"}
BOX = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": {}}, "has no list of annotations; export it as COCO instances"),
        ({"images": None}, "has no list of images"),
        ({"images": [1]}, "has no list of images"),
        ({"images": [IMAGE, {"id": 1, "file_name": "b.png"}]}, "two images have the id 1; leave"),
        ({"images": [{"id": 1.5, "file_name": "a.png"}]}, "images have the id 1.5; export it"),
        ({"images": [{"id": 1}]}, r"image 1 \(None\): has no file_name; add it"),
        (
            {
                "images": [IMAGE, {"id": 2, "file_name": "./a.png"}],
                "annotations": [BOX, BOX | {"image_id": 2}],
            },
            r"image 2 \('train2017/a.png'\): is twice; leave one out",
        ),
        ({"images": [{"id": 1, "file_name": "../../x.png"}]}, "leads out of the dataset's folder"),
        ({"images": [{"id": 1, "file_name": "/etc/x.png"}]}, "is no path below its folder; write"),
        ({"images": [{"id": 1, "file_name": "a\0.png"}]}, "is no name of a file; correct it"),
        ({"images": [{"id": 1, "file_name": "\ud800"}]}, "is no name of a file; correct it"),
        ({"categories": [CAT, {"id": 1, "name": "dog"}]}, "two categories have the id 1"),
        ({"categories": [CAT, {"id": 2, "name": "cat"}]}, "2 categories are called 'cat'; give"),
        ({"categories": [{"id": 1}]}, "category 1 has no name; give it one"),
        ({"categories": [DOG]}, r"image 1 \('a.png'\): has the category_id 1, which the file"),
        ({"annotations": [BOX | {"category_id": None}]}, r"annotation 1 \(id 9\): has no image_id"),
        ({"annotations": [BOX | {"bbox": [0, 0, 2]}]}, r"bbox \[0, 0, 2\] is no x, y, width,"),
        ({"annotations": [BOX | {"bbox": [0, 0, -2, 2]}]}, "is no x, y, width, height; correct"),
        ({"annotations": [BOX | {"bbox": [0, 0, 1e999, 2]}]}, "has Infinity where a number"),
        ({"annotations": [BOX | {"bbox": [0, 0, True, 2]}]}, "is no x, y, width, height"),
        ({"annotations": [BOX | {"bbox": None}] * 12}, "is no x, y, .*and 2 more"),
    ],
)
def test_files_that_are_refused(changes: dict[str, Any], said: str, root: Path) -> None:
    """Another image would have the label, or any file of this machine be read."""
    right = {"images": [IMAGE], "categories": [CAT], "annotations": [BOX]}
    written(root, right | changes)
    with pytest.raises(DataError, match=f"(?s)pool.json.*{said}"):
        opened(root, label="largest")

    written(root, right)
    assert {"train2017/a.png": "cat"} == named(opened(root, label="largest"))


def test_a_file_that_is_cut_off(root: Path) -> None:
    """Its images would be fewer, and those without annotations background."""
    whole = (root / "pool.json").read_text()
    for end in (1, 50, len(whole) - 1):
        (root / "pool.json").write_text(whole[:-end])
        with pytest.raises(DataError, match="pool.json: it is no whole JSON .*; export it again"):
            opened(root)
    (root / "pool.json").write_text(whole)
    assert 4 == opened(root).card.pool


def test_annotations_of_other_images(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Part of a file keeps them; they change nothing, but whoever lost images should know."""
    made = content(DRAWN)
    written(root, {**made, "images": made["images"][:1]})
    with caplog.at_level(logging.WARNING):
        store = opened(root, label="largest")

    assert {"train2017/a.png": "dog"} == named(store)
    assert "pool.json: 3 annotations are of images that the file has not" in caplog.text


def test_annotations_that_come_first(root: Path) -> None:
    """An object has no order."""
    expected = opened(root, label="most")
    written(root, dict(reversed(content(DRAWN).items())))

    assert named(expected) == named(opened(root, label="most"))


def test_crowds_count_once(root: Path) -> None:
    """An image that is full of people would be background."""
    made = content({"a.png": [("cat", 9), ("dog", 1), ("dog", 1)]})
    made["annotations"][0]["iscrowd"] = 1
    written(root, made)

    assert {"train2017/a.png": "cat"} == named(opened(root, label="largest"))
    assert {"train2017/a.png": "dog"} == named(opened(root, label="most"))


def test_images_that_lie_elsewhere(root: Path, tmp_path_factory: Any) -> None:
    """Images are where the disk is, annotations come by mail; nothing is copied of what is far."""
    folder = (root / "train2017").rename(tmp_path_factory.mktemp("far") / "images")
    assert [*DRAWN] == opened(root, images=str(folder)).pool.ids()
    (root / "train2017").symlink_to(folder)
    with pytest.raises(DataError, match="is a link out of .*set dataset.follow_links: true"):
        opened(root, limit_pool=3)  # of all of it there is a store
    assert 3 == opened(root, limit_pool=3, follow_links=True).card.pool

    far = opened(root, images=f"file://{folder}")
    assert [f"file://{folder}/{name}" for name in DRAWN] == far.pool.ids()
    assert "uri" == far.card.encoding and {} == far.card.bad
    for key in ("coco_url", "file_name"):
        images = [{"id": 1, "file_name": "a.png", key: f"{folder}/a.png"}]
        written(root, content(DRAWN, images=images))
        assert [f"{folder}/a.png"] == opened(root, images=None).pool.ids()
    web = {"id": 1, "file_name": "a.png", "coco_url": "http://images.example.org/a.png"}
    written(root, content(DRAWN, images=[web]))
    with pytest.raises(DataError, match=r"\('a.png'\): .* is refused; .*set dataset.images to"):
        opened(root, images=None)
    assert 1 == opened(root, images=str(folder)).card.pool


def test_a_file_that_is_not_there(root: Path) -> None:
    """An image that was not fetched is bad as any other that cannot be read."""
    (root / "train2017/b.png").unlink()
    store = opened(root, label="largest")

    assert {"train2017/b.png": f"missing: {root}/train2017/b.png"} == store.card.bad
    with pytest.raises(DataError, match="annotations/instances_train2017.json is missing; dataset"):
        CocoImages(root=str(root)).open()


SAID = st.dictionaries(
    st.sampled_from("abcd"), st.builds(Said, st.integers(1, 3), st.integers(0, 3).map(float))
)


@given(SAID, st.permutations("abcd"), st.sampled_from(["largest", "most", "only"]))
def test_the_order_of_annotations_does_not_matter(said: Any, order: Any, rule: Any) -> None:
    """The same file, exported again, would have other labels."""
    shuffled = {name: said[name] for name in order if name in said}
    found = class_of(shuffled, rule, "abc")

    assert found == class_of(said, rule, "abc")
    assert found is None or found in "abc"
    if rule == "largest" and found:
        assert said[found].largest == max(said[name].largest for name in "abc" if name in said)
