"""rayal/workflows/init: what is filled in, and that a run of it goes to its end."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from rayal.cli import app
from rayal.errors import DataError, UsageError
from rayal.experiment import config
from rayal.workflows.init import KINDS, write
from rayal.workflows.init.found import Found, Size, spread
from rayal.workflows.init.masks import Classes, classes_of
from tests.support import originals

RNG = np.random.default_rng(0)


def photos(root: Path, splits: tuple[str, str] = ("train", "test")) -> Path:
    """Twelve images of two classes to choose from, four to measure with, 50 x 40 pixels."""
    for split, count in zip(splits, (6, 2), strict=True):
        names = [f"{split}/{each}/{n}.jpg" for each in ("cat", "dog") for n in range(count)]
        originals.plant(root, names, (40, 50, 3))
    return root


def files(root: Path) -> Path:
    """The same number in Parquet files, with a column of other words."""
    root.mkdir()
    for split, count in (("train", 12), ("test", 4)):
        data = [originals.encoded(RNG.integers(0, 256, (16, 16, 3), np.uint8))] * count
        columns = {
            "note": ["none"] * count,
            "key": [f"{split}-{n}" for n in range(count)],
            "img": pa.array(data, pa.binary()),
            "fine_label": ["cat", "dog"] * (count // 2),
        }
        pq.write_table(pa.table(columns), root / f"{split}-0.parquet")
    return root


def scenes(root: Path, numbers: tuple[int, ...] = (0, 255), masks: str = "{}/masks") -> Path:
    """The same number with masks, 24 x 16 pixels."""
    for split, count in (("train", 12), ("test", 4)):
        originals.plant(root, [f"{split}/images/{n}.jpg" for n in range(count)], (16, 24, 3))
        folder = root / masks.format(split)
        folder.mkdir(parents=True)
        for n in range(count):
            mask = RNG.choice(np.array(numbers, np.uint8), (16, 24))
            (folder / f"{n}.png").write_bytes(originals.encoded(mask))
    return root


def listed(root: Path) -> Path:
    """The same number, in no folders of classes, and a table beside them."""
    for split, count in (("train", 12), ("test", 4)):
        originals.plant(root / split, [f"{n}.jpg" for n in range(count)], (40, 50, 3))
        rows = [f"{n}.jpg,{('cat', 'dog')[n % 2]}\n" for n in range(count)]
        (root / split / "metadata.csv").write_text("".join(["file_name,category\n", *rows]))
    return root


def coco(root: Path) -> Path:
    """The same number, with a box in each."""
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    for split, count in (("train", 12), ("val", 4)):
        names = [f"{n}.jpg" for n in range(count)]
        originals.plant(root / f"images/{split}", names, (40, 50, 3))
        boxes = [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [0, 0, 9, 9]}
            for n in range(count)
        ]
        images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
        content = {"images": images, "categories": categories, "annotations": boxes}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


MAKE = {
    "image_folder": photos,
    "listed_folder": listed,
    "coco_images": coco,
    "parquet": files,
    "masks": scenes,
}
"""Of images that have labels."""
OPEN = [kind for kind in KINDS if kind not in MAKE]
"""Those that people are to label."""
AS_IMAGE_FOLDER = ("listed_folder", "coco_images")
"""Whose templates are, but for the dataset, its own; there the network of all three is trained."""


def command(*words: str) -> str:
    """What it prints; raises what it raises."""
    done = CliRunner().invoke(app, words, catch_exceptions=False, standalone_mode=False)
    return done.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", MAKE)
def test_from_a_folder_to_a_run(kind: str, here: Path) -> None:
    """What a newcomer is given would not run."""
    MAKE[kind](here / "data")
    told = command("init", "first", "--data", kind, "--root", "data")
    short = "steps" if kind == "masks" else "epochs"
    changes = [
        "compute.engine=local",
        "compute.cpus_per_worker=1",
        "tracking=none",
        f"scheme.{short}=1",
        "budget.total=6",
        *(["model={name: small_cnn, width: 4}"] if kind in AS_IMAGE_FOLDER else []),
    ]
    options = [word for each in changes for word in ("--set", each)]

    assert "12 " in told and "rayal plan first.yaml" in told
    assert "cycle" in command("plan", "first.yaml", "--no-probe")
    assert "curve.png" in command("run", "first.yaml", *options)
    assert (here / "runs/first/margin-supervised-seed0/curve.png").exists()


@pytest.mark.parametrize("kind", MAKE)
def test_every_template_is_an_experiment(kind: str, here: Path) -> None:
    """Without a look it is a file that the folder is put into."""
    told = command("init", "first", "--data", kind)
    x = config.load("first.yaml", ["dataset.root=elsewhere"])

    assert "set dataset.root" in told
    assert str(here / "elsewhere") == x.dataset.root
    assert "$" not in Path("first.yaml").read_text()


def test_a_folder_by_hand(here: Path) -> None:
    """Sizes are those of the images, numbers fit the pool, classes are those of the folders."""
    photos(here / "photos", ("training", "val"))
    write("first", "image_folder", Path("photos"), here)
    x = config.load("first.yaml")
    written = x.dataset.model_dump()

    assert ("training", "val", 40) == tuple(written[key] for key in ("pool", "test", "size"))
    assert ("cat", "dog") == written["classes"]
    assert (4, 2, 12) == (x.budget.initial, x.budget.per_cycle, x.budget.total)
    assert "resnet18" == x.model.part_name()


def test_a_list_by_hand(here: Path) -> None:
    """The column, the classes and the files are those that are there."""
    write("first", "listed_folder", listed(here / "list"), here)
    write("second", "coco_images", coco(here / "coco"), here)
    one, two = (config.load(f"{name}.yaml").dataset.model_dump() for name in ("first", "second"))

    assert ("category", "train", None) == tuple(one[key] for key in ("label", "pool", "split"))
    assert ("cat", "dog") == one["classes"] and 40 == one["size"] == two["size"]
    assert "annotations/instances_val.json" == two["test"]
    assert ("images/train", "images/val") == (two["images"], two["test_images"])


def test_a_column_of_splits(here: Path) -> None:
    """One table for all images is usual, too."""
    root = listed(here / "list")
    rows = [
        f"{split}/{n}.jpg,{'ab'[n % 2]},{split}\n" for split in ("train", "test") for n in (0, 1)
    ]
    for split in ("train", "test"):
        (root / split / "metadata.csv").unlink()
    table = root / "metadata.csv"
    table.write_text("file_name,label\n")
    with pytest.raises(UsageError, match="has no column split, and nothing to measure with; add"):
        write("first", "listed_folder", root, here)
    table.write_text("".join(["file_name,label,split\n", *rows]))
    write("first", "listed_folder", root, here)
    written = config.load("first.yaml").dataset.model_dump()
    assert ("train", "test", "split") == tuple(written[key] for key in ("pool", "test", "split"))

    table.write_text("".join(["file_name,label,split\n", *rows]).replace(",test\n", ",b\n"))
    with pytest.raises(UsageError, match="has the splits 'b', 'train'; leave root out and write"):
        write("second", "listed_folder", root, here)
    table.write_text("".join(["file_name,x,split\n", *rows]))
    with pytest.raises(UsageError, match="none of them called as labels are; leave root out"):
        write("second", "listed_folder", root, here)
    table.unlink()
    with pytest.raises(UsageError, match="but metadata.csv is expected in train/ and in test/"):
        write("second", "listed_folder", root, here)
    write("second", "listed_folder", None, here)
    assert "listed_folder" == config.load("second.yaml").dataset.part_name()


def test_what_lists_the_images_is_named(here: Path) -> None:
    """Whoever takes the best known kind would move files about."""
    root = listed(here / "list")
    with pytest.raises(
        DataError, match="in no class folder; .*; test/metadata.csv lists images: data listed_fol"
    ):
        write("first", "image_folder", root, here)
    with pytest.raises(UsageError, match="instances_train.json lists images: data coco_images"):
        write("first", "image_folder", coco(here / "coco"), here)
    _, told = write("first", "photos", here / "coco", here)
    assert "instances_train.json lists images: data coco_images takes" in str(told)

    for split in ("train", "test"):
        table = root / split / "metadata.csv"
        table.write_text(
            "file_name,label\n0.jpg,\n" if split == "train" else "file_name,label\n1.jpg,a\n"
        )
    with pytest.raises(UsageError, match="no row has a label, so people have to give them; give"):
        write("second", "listed_folder", root, here)
    write("second", "photos", None, here)
    change = ["dataset={name: listed_folder, root: list, size: 16}"]
    assert "listed_folder" == config.load("second.yaml", change).dataset.part_name()


def test_files_of_coco_that_are_not_found(here: Path) -> None:
    """Without images to measure with nobody would know how good a model is."""
    root = coco(here / "coco")
    (root / "annotations/instances_val.json").unlink()
    with pytest.raises(UsageError, match="and one called test or val are expected; leave root out"):
        write("first", "coco_images", root, here)
    write("first", "coco_images", None, here)
    assert "coco_images" == config.load("first.yaml").dataset.part_name()


def test_names_of_classes_are_words(here: Path) -> None:
    """A class called 1 or no would be another one in YAML."""
    for split in ("train", "test"):
        originals.plant(here, [f"{split}/{each}/a.jpg" for each in ("1", "no", "a: b", "~x")])
    write("first", "image_folder", here, here)

    assert ("1", "a: b", "no", "~x") == config.load("first.yaml").dataset.model_dump()["classes"]


def test_columns_by_hand(here: Path) -> None:
    """Another column would be taken for the image or the label."""
    files(here / "data")
    write("first", "parquet", Path("data"), here)
    written = config.load("first.yaml").dataset.model_dump()

    assert ("key", "img", "fine_label") == tuple(written[key] for key in ("id", "image", "label"))
    assert (["train*.parquet"], 16) == ([*written["pool"]], written["size"])


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 255], Classes(["background", "object"], [0, 255], [])),
        ([0, 1, 2], Classes(["class_0", "class_1", "class_2"], None, [255])),
        ([0, 2, 255], Classes(["class_0", "class_1", "class_2"], None, [255])),
        ([0, 128], Classes(["class_0", "class_128"], [0, 128], [255])),
        ([0], Classes(["class_0", "class_1"], None, [255])),
    ],
)
def test_numbers_of_masks(numbers: list[int], expected: Classes) -> None:
    """The guess would not be the one that most people mean."""
    assert expected == classes_of(numbers)


@pytest.mark.parametrize("masks", ["{}/labels", "{}/masks"])
def test_folders_of_masks(masks: str, here: Path) -> None:
    """Only one of the usual names would be found."""
    scenes(here / "data", (0, 1), masks)
    write("first", "masks", Path("data"), here)

    assert masks.replace("{}", "*") == config.load("first.yaml").dataset.model_dump()["masks"]


@settings(max_examples=30)
@given(pool=st.integers(1, 10**7), classes=st.integers(1, 2000))
def test_a_budget_fits_every_pool(pool: int, classes: int) -> None:
    """`plan` would refuse what `init` wrote."""
    budget = {key: int(value) for key, value in Found({}, pool, classes).budget().items()}

    assert 1 <= budget["initial"] <= budget["total"] <= pool
    assert 1 <= budget["per_cycle"] <= 500


@settings(max_examples=30)
@given(height=st.integers(1, 10_000), width=st.integers(1, 10_000))
def test_suggested_sizes(height: int, width: int) -> None:
    """A network would be given what it is too small for, or a first run would take a day."""
    size = Size(height, width)

    assert min(128, height, width) <= size.side <= 128
    assert 16 <= size.side < max(17, min(height, width) + 8)
    assert size.side % 8 == 0
    assert all(side % 8 == 0 and side >= 8 for side in size.shape)
    assert min(size.shape) <= 128


@pytest.mark.parametrize(("side", "expected"), [(9, 16), (28, 32), (32, 32), (64, 64), (500, 128)])
def test_small_images_keep_their_pixels(side: int, expected: int) -> None:
    """16 for 28 x 28 would throw two thirds of the pixels away."""
    assert expected == Size(side, side + 1).side


@settings(max_examples=30)
@given(st.lists(st.integers(), max_size=500), st.integers(1, 50))
def test_looks_are_spread(items: list[int], count: int) -> None:
    """Only the first class would be looked at, or all of a million images."""
    chosen = spread(items, count)

    assert len(chosen) <= count
    assert items[:1] == [*chosen[:1]]
    assert len(chosen) == len(items) or len(items) > count


# Ways out


def test_no_file_is_overwritten(here: Path) -> None:
    """Hours of somebody's thoughts would be gone."""
    Path("first.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"^first\.yaml is there already; use another name, or mo"):
        write("first", "masks", None, Path())

    assert "mine" == Path("first.yaml").read_text()
    write("second", "masks", None, Path())
    Path("first.yaml").rename("old.yaml")
    write("first", "masks", None, Path())
    assert {"first.yaml", "second.yaml", "old.yaml"} == set(os.listdir())


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "a/b", "é"])
def test_a_name_that_is_none(name: str, here: Path) -> None:
    with pytest.raises(UsageError, match="is no name of an experiment; use letters, digits, dots"):
        write(name, "masks", None, here)
    write("first-try", "masks", None, here)


def test_a_root_that_is_not_there(here: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder; check the path"):
        write("first", "image_folder", Path("foto"), here)
    write("first", "image_folder", photos(here / "photos"), here)


def test_classes_without_splits(here: Path) -> None:
    """The two folders are made, or others are named in the file."""
    photos(here / "photos", ("big", "small"))
    with pytest.raises(UsageError, match=r"holds 'big', 'small', but .*make these, or leave root"):
        write("first", "image_folder", here / "photos", here)
    write("first", "image_folder", None, here)
    changes = ["dataset.pool=big", "dataset.test=small", "dataset.root=photos"]
    assert 12 == len(config.load("first.yaml", changes).dataset.open().pool.ids())
    for old, new in (("big", "train"), ("small", "test")):
        (here / "photos" / old).rename(here / "photos" / new)
    write("second", "image_folder", here / "photos", here)


def test_files_without_splits(here: Path) -> None:
    """They are renamed, or named in the file."""
    files(here / "data")
    for old, new in (("train-0", "a"), ("test-0", "b")):
        (here / f"data/{old}.parquet").rename(here / f"data/{new}.parquet")
    with pytest.raises(UsageError, match="holds 'a.parquet', 'b.parquet', but .*; rename them, or"):
        write("first", "parquet", here / "data", here)
    write("first", "parquet", None, here)
    columns = ["dataset.id=key", "dataset.image=img", "dataset.label=fine_label"]
    named = ["dataset.pool=[a.parquet]", "dataset.test=[b.parquet]", "dataset.root=data"]
    assert 12 == len(config.load("first.yaml", [*columns, *named]).dataset.open().pool.ids())
    for old, new in (("a", "train"), ("b", "test")):
        (here / f"data/{old}.parquet").rename(here / f"data/{new}.parquet")
    write("second", "parquet", here / "data", here)


def test_columns_of_other_names(here: Path) -> None:
    """All else would have to be found by hand for the want of a name; `plan` names what is left."""
    data = files(here / "data")
    for file in data.iterdir():
        table = pq.read_table(file)
        pq.write_table(table.rename_columns(["kind", "shot_id", "x", "what"]), file)
    told = command("init", "first", "--data", "parquet", "--root", "data")
    lines = Path("first.yaml").read_text().splitlines()
    columns = ["dataset.id=shot_id", "dataset.label=what"]

    assert (
        "found   12 rows, images in column 'x', the column of classes to be filled in, the column"
        " of ids not found, rows are numbered. These are about 16 x 16.\n"
    ) in told
    assert "  label: label   # (!) which of 'kind', 'shot_id', 'what'?" in lines
    assert "  id: null   # (!) or one of 'kind', 'shot_id', 'what'" in lines
    assert "  image: x" in lines and "  size: 16" in lines
    with pytest.raises(DataError, match="has no column 'label'; it has kind, shot_id, x, what"):
        config.load("first.yaml").dataset.open()
    assert 12 == len(config.load("first.yaml", columns).dataset.open().pool.ids())


def test_images_that_may_be_any_column(here: Path) -> None:
    """Of two the wrong one would be taken; all that is missing is told at once."""
    for split in ("train", "test"):
        both = {"a": pa.array([b""] * 20, pa.binary()), "b": pa.array([b""] * 20, pa.binary())}
        pq.write_table(pa.table(both), here / f"{split}.parquet")
    write("first", "parquet", here, here)

    assert "  image: image   # (!) which of 'a', 'b'?" in Path("first.yaml").read_text()
    with pytest.raises(DataError, match="has no columns 'image', 'label'; it has a, b"):
        config.load("first.yaml").dataset.open()


@pytest.mark.parametrize("kind", MAKE)
def test_a_root_that_is_a_file(kind: str, here: Path) -> None:
    """It is there, and yet it was said not to be."""
    MAKE[kind](here / "data")
    file = next(path for path in sorted((here / "data").rglob("*")) if path.is_file())
    with pytest.raises(UsageError, match="is a file; give the folder that it is in, .*data"):
        write("first", kind, file, here)

    write("first", kind, here / "data", here)


def test_masks_that_look_like_a_class(here: Path) -> None:
    """A network would learn to tell photos from masks, and nobody would know."""
    scenes(here / "street", (0, 1))
    told = command("init", "first", "--data", "image_folder", "--root", "street")

    assert "The files of 'images' and 'masks' have the same names: if these are images" in told
    assert "and their masks, use --data masks" in told
    assert "masks with the numbers 0, 1" in command(
        "init", "second", "--data", "masks", "--root", "street"
    )


@pytest.mark.parametrize("classes", [("cat", "dog"), ("masks", "no masks")])
def test_classes_of_numbered_files_are_no_masks(classes: tuple[str, str], here: Path) -> None:
    """Cats 0 to 11 and dogs 0 to 11 would be told of masks, as would people who wear some."""
    for number, name in enumerate(classes):
        for split in ("train", "test"):
            start = 100 * number if "masks" in classes else 0
            names = [f"{split}/{name}/{n}.jpg" for n in range(start, start + 3)]
            originals.plant(here, names, (16, 16, 3))
    told = write("first", "image_folder", here, here)[1]

    assert told == "6 images of 2 classes. These are about 16 x 16."


def test_masks_in_other_folders(here: Path) -> None:
    """They are named in the file, or called as is usual."""
    data = scenes(here / "data", masks="{}/truth")
    with pytest.raises(
        UsageError, match="but images and their masks are expected in it, train/imag"
    ):
        write("first", "masks", data, here)
    write("first", "masks", None, here)
    changes = ["dataset.masks='*/truth'", "dataset.values=[0, 255]", "dataset.ignore=[]"]
    x = config.load("first.yaml", [*changes, f"dataset.root={data}"])
    assert 12 == len(x.dataset.open().pool.ids())
    for split in ("train", "test"):
        (data / split / "truth").rename(data / split / "masks")
    write("second", "masks", data, here)


def test_masks_in_colour(here: Path) -> None:
    """What colours mean nobody can tell; a palette says it."""
    data = scenes(here / "data")
    coloured = data / "train/masks/0.png"
    grey = Image.open(io.BytesIO(coloured.read_bytes())).copy()
    grey.convert("RGB").save(coloured)
    with pytest.raises(
        DataError, match=r"0\.png is no mask with one number.*; convert it to a gre"
    ):
        write("first", "masks", data, here)
    grey.save(coloured)
    write("first", "masks", data, here)


def heap(root: Path, kind: str) -> Path:
    """Twelve images that nobody has labeled, 50 x 40 pixels."""
    if kind == "photos":
        originals.plant(root, [f"{n}.jpg" for n in range(12)], (40, 50, 3))
    else:
        root.mkdir()
        data = [originals.encoded(RNG.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(12)]
        names = [f"image-{n}" for n in range(12)]
        pq.write_table(pa.table({"key": names, "photo": data}), root / "some.parquet")
    return root


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("seen", [True, False])
def test_images_that_people_label(kind: str, seen: bool, here: Path) -> None:
    """A list of classes that nobody filled in would be a model of two made-up ones."""
    if seen:
        heap(here / "data", kind)
    told = command("init", "first", "--data", kind, *(["--root", "data"] if seen else []))
    changes = ["dataset.root=data"]

    assert "(!)" in told and ("12 " in told) == seen
    with pytest.raises(UsageError, match="nobody tells the classes; set classes"):
        config.load("first.yaml", changes)
    x = config.load("first.yaml", [*changes, "dataset.classes=[cat, dog]"])
    text = Path("first.yaml").read_text()
    assert (
        "oracle: {name: people, format: label_studio, wait: all, votes: 1, consensus: majority}"
        in text
    )
    assert "$" not in text and not x.dataset.tested and not x.budget.balanced
    if seen:
        card = x.dataset.open().card
        assert (12, ("cat", "dog"), False) == (card.pool, card.classes, card.labeled)
        assert (40, 40) == card.image.sides


def test_a_heap_with_images_to_measure_with(here: Path) -> None:
    """Those would be labeled as well, and their classes be typed again."""
    originals.plant(here / "data", [f"{n}.jpg" for n in range(12)])
    originals.plant(
        here / "data", [f"val/{name}/{n}.jpg" for name in ("b: x", "no") for n in (0, 1)]
    )
    write("first", "photos", Path("data"), here)
    x = config.load("first.yaml", [])
    card = x.dataset.open().card

    assert (12, 4, ("b: x", "no")) == (card.pool, card.test, card.classes)


def test_labeled_files_beside_a_pool(here: Path) -> None:
    """The column of their classes is found."""
    files(here / "data")
    heap(here / "more", "unlabeled_parquet")
    (here / "more/some.parquet").rename(here / "data/pool-0.parquet")
    (here / "data/train-0.parquet").unlink()
    write("first", "unlabeled_parquet", Path("data"), here)
    written = config.load("first.yaml", ["dataset.classes=[cat]"]).dataset

    found = written.model_dump()
    assert ("key", "photo", None, "fine_label") == tuple(
        found[key] for key in ("id", "image", "label", "test_label")
    )
    assert (["pool*.parquet"], ["test*.parquet"]) == ([*found["pool"]], [*found["test"]])


@pytest.mark.parametrize("kind", OPEN)
def test_nothing_to_label(kind: str, here: Path) -> None:
    """The file would be of nothing."""
    (here / "data").mkdir()
    with pytest.raises(UsageError, match="holds no images to label|holds no Parquet files"):
        write("first", kind, here / "data", here)
    heap(here / "others", kind)
    assert write("first", kind, here / "others", here)[0].exists()
