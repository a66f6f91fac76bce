"""A table beside images that says their labels: what it lists, and what is refused."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.data.datasets.listed_folder import ListedFolder
from rayal.data.named_file import NamedFiles
from rayal.data.store import Store
from rayal.errors import DataError, StorageError, UsageError
from tests.data.datasets.test_image_folder import plant

POOL = {"a.png": "dog", "sub/b.png": "cat"}
TEST = {"c.png": "cat", "d.png": "dog"}


def csv(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())


def listed(folder: Path, rows: dict[str, Any], kind: str = "csv") -> None:
    """A table of these labels, in place of any other."""
    for each in ("csv", "jsonl", "parquet"):
        (folder / f"metadata.{each}").unlink(missing_ok=True)
    file = folder / f"metadata.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"file_name": [*rows], "label": [*rows.values()]}), file)
    elif kind == "jsonl":
        lines = [{"file_name": name, "label": label} for name, label in rows.items()]
        csv(file, "".join(f"{json.dumps(line)}\n" for line in lines))
    else:
        lines = [f"{name},{'' if label is None else label}\n" for name, label in rows.items()]
        csv(file, "".join(["file_name,label\n", *lines]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images and a table in each split; the first is black, the next a little red."""
    for split, rows in (("train", POOL), ("test", TEST)):
        plant(tmp_path / split, *rows)
        listed(tmp_path / split, rows)
    return tmp_path


def opened(root: Path, **options: Any) -> Store:
    return ListedFolder(root=str(root), **options).open()


def reds(store: Store) -> list[int]:
    """What `plant` made the images of the pool of, in their order."""
    return list(store.pool.decode(store.pool.take(store.pool.ids())).images[:, 0, 0, 0].tolist())


def test_rows_are_units(root: Path) -> None:
    """An image would get the label of another one."""
    store = opened(root)

    assert ("cat", "dog") == store.card.classes
    assert ["train/a.png", "train/sub/b.png"] == store.pool.ids() and [0, 1] == reds(store)
    assert {"train/a.png": 1, "train/sub/b.png": 0} == store.labels("pool")
    assert {"test/c.png": 0, "test/d.png": 1} == store.labels("test")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_other_tables_say_the_same(kind: str, root: Path) -> None:
    """A dataset would be another one for the form of its table."""
    expected = opened(root)
    for split, rows in (("train", POOL), ("test", TEST)):
        listed(root / split, rows, kind)

    assert expected.card.files == opened(root).card.files


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile_name,label\r\na.png,dog\r\nsub/b.png,cat\r\n",
        "file_name,label\na.png,dog\nsub\\b.png,cat\n",
        "file_name,label\n./a.png,dog\nsub/../sub//b.png,cat",
        "file_name,label\na.png,dog\nsub/b.png,cat\na.png,dog\n",
        'label,note,file_name\ndog,"x,\ny",a.png\ncat,,sub/b.png\n',
        "image_file_name,label\na.png,dog\nsub/b.png,cat\n",
    ],
    ids=["windows", "backslash", "dots", "twice the same", "more columns", "another name"],
)
def test_what_is_the_same_is_read_alike(text: str, root: Path) -> None:
    """A table that went through a spreadsheet would be refused, or lose its first column."""
    expected = opened(root)
    csv(root / "train/metadata.csv", text)

    assert expected.card.files == opened(root).card.files


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "../../secret.png",
            r"row 2 \('../../secret.png'\): leads out of .*; move the file into",
        ),
        ("..\\..\\secret.png", "leads out of"),
        ("/etc/secret.png", "is no path below its folder"),
        ("file:///etc/secret.png", "is no path below its folder"),
        ("s3://bucket/secret.png", "is no path below its folder"),
        ("out.png", "is a link out of .*set dataset.follow_links: true"),
        ("folder/a.png", "is a link out of .*set dataset.follow_links: true"),
    ],
)
def test_names_that_lead_out(name: str, said: str, root: Path, tmp_path_factory: Any) -> None:
    """A table of somebody else's would read any file of this machine into a store."""
    outside = tmp_path_factory.mktemp("outside")
    plant(outside, "a.png")
    (root / "train/out.png").symlink_to(outside / "a.png")
    (root / "train/folder").symlink_to(outside)
    listed(root / "train", {name: "dog", **POOL})
    with pytest.raises(DataError, match=said):
        opened(root)

    listed(root / "train", POOL)
    assert 2 == opened(root).card.pool


def test_links_that_are_followed(root: Path, tmp_path_factory: Any) -> None:
    """A folder of links into a shared disk is usual, once somebody says so; its own links are."""
    outside = tmp_path_factory.mktemp("outside")
    plant(outside, "a.png", "b.png")
    (root / "train/out.png").symlink_to(outside / "b.png")
    (root / "train/within.png").symlink_to("sub/b.png")
    listed(root / "train", {"out.png": "dog", "within.png": "cat"})

    assert [1, 1] == reds(opened(root, follow_links=True))
    (root / "train/out.png").unlink()
    plant(root, "train/out.png")
    assert [0, 1] == reds(opened(root))


def test_a_table_that_is_a_link(root: Path, tmp_path_factory: Any) -> None:
    """Its words would show in a message."""
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    (root / "train/metadata.csv").rename(outside)
    (root / "train/metadata.csv").symlink_to(outside)
    with pytest.raises(DataError, match="metadata.csv is a link out of .*; copy the file there"):
        opened(root)

    (root / "train/metadata.csv").unlink()
    (root / "train/metadata.csv").write_bytes(outside.read_bytes())
    assert 2 == opened(root).card.pool


@settings(max_examples=200, deadline=None)
@given(
    name=st.text(min_size=1) | st.text("./\\~aé:", min_size=1),
    folder=st.sampled_from(["", "train"]),
)
def test_no_name_leads_out(name: str, folder: str) -> None:
    """One trick more would be enough."""
    root = Path(__file__).parent
    try:
        path = NamedFiles(root).path(folder, name)
    except DataError:
        return
    assert os.path.realpath(root / path).startswith(str(root.resolve()))


def test_images_that_nobody_lists(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever forgot half of a table would take it for all."""
    plant(root, "train/z.png", "train/sub/y.png", "test/x.png")
    with caplog.at_level(logging.WARNING):
        store = opened(root)

    assert (2, 2) == (store.card.pool, store.card.test)
    assert (
        "3 images are not listed in train/metadata.csv or test/metadata.csv and left out, first"
        " 'test/x.png'" in caplog.text
    )


def test_names_without_a_file(root: Path) -> None:
    """One that is lost, or called otherwise, is bad as any other image that cannot be read."""
    listed(root / "train", {"A.png": "dog", "gone.png": "cat", **POOL})
    store = opened(root)

    assert {"train/A.png", "train/gone.png"} == {*store.card.bad}
    assert f"missing: {root}/train/gone.png" == store.card.bad["train/gone.png"]
    plant(root, "train/gone.png")
    again = opened(root)
    assert {"train/A.png"} == {*again.card.bad} and again.url != store.url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file_name;label\na.png;dog\n", "separated by ';'; save it with commas"),
        ("name,label\na.png,dog\n", "has the columns 'name', 'label'; set dataset.image to"),
        ("l_file_name,r_file_name,label\na,b,dog\n", "set dataset.image to that of the images'"),
        ("file_name,class\na.png,dog\n", "has no column 'label', of 'file_name', 'class'; set"),
        ("file_name,label,label\na.png,dog,cat\n", "has 2 columns 'label', of"),
        ("file_name,label\n", "lists no image; add some"),
        ("file_name,label\n,dog\n", "1 row has no file_name"),
        ("file_name,label\na.png,dog\nsub/b.png,\n", r"row 3 \('sub/b.png'\): has no label"),
        ("file_name,label\na.png,dog\nsub/../a.png,cat\n", r"labeled 'cat' here and 'dog' in"),
        ("file_name,label\na.png,dog\n", "class 'cat' is not in the list"),
        ("file_name,label\na.png,dog\xff\n".encode("latin-1"), "is not in UTF-8"),
    ],
)
def test_tables_that_are_refused(text: str | bytes, said: str, root: Path) -> None:
    """Half of a table would be taken for the whole, or one column for another."""
    file = root / "train/metadata.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said):
        opened(root)

    listed(root / "train", POOL)
    assert 2 == opened(root).card.pool


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"file_name": "a.png", "label": ', "line 2 is no whole JSON"),
        ('["a.png", "dog"]', r"line 2 is \['a.png', 'dog'\], no object; write one in each line"),
        ('{"file_name": "a.png", "label": 3}', "'label' is not of one kind in all lines; write"),
        ('{"file_name": "a.png", "label": true}', "'label' is not of one kind in all lines"),
        ('{"file_name": ["a.png"], "label": "dog"}', "'file_name' is not of one kind in all"),
        ('{"file_name": "a.png", "file_name": "b"}', "has 'file_name' twice in one object"),
        ('{"file_name": "\\ud800.png", "label": "dog"}', "is not of one kind|is no name"),
        ('{"file_name": "a\\u0000.png", "label": "dog"}', "is no name of a file; correct it"),
        ("[" * 100_000, "line 2 is no whole JSON"),
    ],
)
def test_lines_that_are_refused(line: str, said: str, root: Path) -> None:
    """A line that is cut off, or says two things, would be an image less or another label."""
    (root / "train/metadata.csv").unlink()
    first = '{"file_name": "sub/b.png", "label": "cat"}\n'
    file = root / "train/metadata.jsonl"
    file.write_text(f"{first}{line}\n")
    with pytest.raises(DataError, match=said):
        opened(root)

    file.write_text(f'{first}\n{{"file_name": "a.png", "label": "dog", "note": ["x", 1]}}\n')
    assert 2 == opened(root).card.pool


def test_numbers_of_classes(root: Path) -> None:
    """Of ten and more classes 10 would come before 2, and names would be other classes."""
    listed(root / "train", {"a.png": 2, "sub/b.png": 1})
    listed(root / "test", {"c.png": 1, "d.png": 2})
    store = opened(root)
    named = opened(root, classes=("cow", "cat", "dog"))
    words = opened(root, classes=("2", "1"))

    assert ("0", "1", "2") == store.card.classes
    assert {"train/a.png": 2, "train/sub/b.png": 1} == store.labels("pool")
    assert store.labels("pool") == named.labels("pool")
    assert {"train/a.png": 0, "train/sub/b.png": 1} == words.labels("pool")
    with pytest.raises(DataError, match="2 is no class index; give one of 0 to 1, or the class's"):
        opened(root, classes=("cat", "dog"))
    listed(root / "train", {"a.png": "0017", "sub/b.png": 17})
    listed(root / "test", {"c.png": "0017", "d.png": 17})
    assert ("0017", "17") == opened(root).card.classes


def test_splits_that_speak_otherwise(root: Path) -> None:
    """0 of one table is no name of the other."""
    listed(root / "train", {"a.png": 0, "sub/b.png": 1})
    with pytest.raises(DataError, match="class 'cat' is not in the list"):
        opened(root)
    pq.write_table(pa.table({"file_name": ["c.png"], "label": [0]}), root / "test/metadata.parquet")
    (root / "test/metadata.csv").unlink()
    assert 1 == opened(root).card.test

    listed(root / "train", POOL)
    with pytest.raises(DataError, match="labels are names in one and numbers in the other; write"):
        opened(root)
    assert {"test/c.png": 0} == opened(root, classes=("cat", "dog")).labels("test")


def test_a_pool_without_labels(root: Path) -> None:
    """Its rows would be of a class called nothing."""
    listed(root / "train", dict.fromkeys(POOL))
    store = opened(root)

    assert not store.card.labeled and ("cat", "dog") == store.card.classes
    assert ["train/a.png", "train/sub/b.png"] == store.pool.ids()
    csv(root / "train/metadata.csv", "file_name\na.png\nsub/b.png\na.png\n")
    assert 2 == opened(root, label=None, test_label="label").card.pool
    assert 2 == opened(root, label=None, test=None, classes=("x", "y")).card.pool
    with pytest.raises(UsageError, match="leaves the test images without labels; set test_label"):
        opened(root, label=None)
    listed(root / "train", dict.fromkeys(POOL))
    with pytest.raises(DataError, match="no row has a label; set dataset.classes to the names"):
        opened(root, test=None)
    with pytest.raises(UsageError, match="nobody tells the classes; set classes"):
        opened(root, label=None, test=None)


def test_a_column_says_the_split(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A test image would be learned from."""
    rows = [
        ("train/a.png", "dog", "fit"),
        ("test/c.png", "cat", "judge"),
        ("train/sub/b.png", "cat", "fit"),
        ("test/d.png", "", "later"),
    ]
    text = "".join(f"{','.join(row)}\n" for row in rows)
    csv(root / "metadata.csv", f"file_name,label,part\n{text}")
    options = {"split": "part", "pool": "fit"}
    with caplog.at_level(logging.WARNING):
        store = opened(root, test="judge", **options)

    assert {"train/a.png": 1, "train/sub/b.png": 0} == store.labels("pool")
    assert {"test/c.png": 0} == store.labels("test")
    assert "1 row is in metadata.csv of other splits and left out: 'later'" in caplog.text
    assert "not listed" not in caplog.text
    with pytest.raises(DataError, match="no row is of the split 'test', its splits are 'fit', 'ju"):
        opened(root, **options)
    with pytest.raises(DataError, match="has no column 'split', of .*; set dataset.split to that"):
        opened(root, split="split")
    with pytest.raises(UsageError, match="pool and test are both 'fit'; name two splits"):
        opened(root, test="fit", **options)


def test_root_itself(root: Path) -> None:
    """Images that lie there with their table need no folder."""
    plant(root, "x.png")
    listed(root, {"x.png": "cat", "train/a.png": "dog"})
    store = opened(root, pool=".")

    assert {"x.png": 0, "train/a.png": 1} == store.labels("pool")
    listed(root, {"x.png": "cat", "test/c.png": "dog"})
    with pytest.raises(DataError, match="used more than once in pool and test, first 'test/c.png'"):
        opened(root, pool=".")


def test_which_table(root: Path) -> None:
    """Of two tables one would be forgotten."""
    (root / "train/metadata.jsonl").write_text('{"file_name": "a.png", "label": "cat"}\n')
    with pytest.raises(DataError, match="has 'metadata.csv', 'metadata.jsonl'; set dataset.table"):
        opened(root)
    (root / "train/metadata.jsonl").unlink()
    for split in ("train", "test"):
        (root / split / "metadata.csv").rename(root / split / "labels.csv")
    with pytest.raises(DataError, match="metadata.csv is missing; dataset 'listed_folder' expects"):
        opened(root)

    assert 2 == opened(root, table="labels.csv").card.pool


def test_a_table_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know which file is meant."""

    def denied(self: object, name: str) -> bytes:
        raise StorageError(f"{name}: no permission; choose another folder")

    with monkeypatch.context() as patch:
        patch.setattr("rayal.storage.folder.Folder.read", denied)
        with pytest.raises(StorageError, match="metadata.csv: no permission"):
            opened(root)
    assert 2 == opened(root).card.pool


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files of theirs
def test_as_hugging_face_reads_it(kind: str, numbers: bool, root: Path) -> None:
    """Who changes the tool would get other images or labels."""
    datasets = pytest.importorskip("datasets")
    for split, rows in (("train", POOL), ("test", TEST)):
        labels = {name: ("cat", "dog").index(each) for name, each in rows.items()}
        listed(root / split, labels if numbers else rows, kind)
    theirs = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(root / "hf"))
    store = opened(root)

    for split, name in (("pool", "train"), ("test", "test")):
        known = [store.card.classes[number] for number in store.labels(split).values()]
        assert known == [*map(str, theirs[name]["label"][:])]
    assert [image.getpixel((0, 0))[0] for image in theirs["train"]["image"]] == reds(store)
