"""Parquet files of one's own: encoded images, raw pixels or addresses."""

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.data.datasets.parquet import Parquet
from rayal.errors import DataError, UsageError

NAMES = {"pool": ("train-*.parquet",), "test": ("test.parquet",)}


def png(value: int, side: int = 4) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write(file: Path, metadata: dict[str, str] | None = None, **columns: Any) -> None:
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two files of the pool and one of test images."""
    write(tmp_path / "train-0.parquet", id=[10, 11], image=[png(10), png(11)], label=[0, 1])
    write(tmp_path / "train-1.parquet", id=[12], image=[png(12)], label=[2])
    write(tmp_path / "test.parquet", id=[10], image=[png(20)], label=[2])
    return tmp_path


def values(split: Any) -> list[int]:
    decoded = split.decode(split.take(split.ids()))
    assert {} == decoded.bad
    red: list[int] = decoded.images[:, 0, 0, 0].tolist()
    return red


def test_files_in_order(root: Path) -> None:
    """Several files are one split; whole-number ids tell pool from test."""
    store = Parquet(root=str(root), **NAMES).open()

    assert {"train-00010": 0, "train-00011": 1, "train-00012": 2} == store.labels("pool")
    assert ["test-00010"] == store.test.ids()
    assert [10, 11, 12] == values(store.pool)
    assert ("0", "1", "2") == store.card.classes


def test_files_elsewhere_are_named_by_absolute_paths(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Test images that all studies share would have to be copied below the root of each."""
    other = tmp_path_factory.mktemp("other")
    (root / "test.parquet").rename(other / "test.parquet")
    elsewhere = Parquet(root=str(root), pool=NAMES["pool"], test=(f"{other}/test.parquet",))
    before = elsewhere.fingerprint()

    assert [20] == values(elsewhere.open().test)
    write(other / "test.parquet", id=[10], image=[png(21)], label=[2])
    assert elsewhere.fingerprint() != before
    with pytest.raises(DataError, match=r"has no /nowhere/\*\.parquet"):
        Parquet(root=str(root), pool=NAMES["pool"], test=("/nowhere/*.parquet",)).open()


def test_names_are_indices_by_name(tmp_path: Path) -> None:
    """Text labels and text ids, in any order; names that nobody knows are refused with the row."""
    write(tmp_path / "train-0.parquet", i=["b", "a/../ü"], x=[png(1), png(2)], y=["dog", "cat"])
    write(tmp_path / "test.parquet", i=["c"], x=[png(3)], y=["dog"])
    columns = {"id": "i", "image": "x", "label": "y"}
    store = Parquet(root=str(tmp_path), **NAMES, **columns).open()

    assert {"b": 1, "a/../ü": 0} == store.labels("pool")
    assert ("cat", "dog") == store.card.classes

    with pytest.raises(
        DataError, match=r"train row 0 \('b'\): class 'dog' is not among 'cat', 'cow'"
    ):
        Parquet(root=str(tmp_path), **NAMES, **columns, classes=("cat", "cow")).open()
    Parquet(root=str(tmp_path), **NAMES, **columns, classes=("cat", "cow", "dog")).open()


def test_metadata_of_the_files_is_used(tmp_path: Path) -> None:
    """Class names, origin and licence travel with the file."""
    meta = {"class_names": json.dumps(["cat", "dog"]), "origin": "here", "license": "free"}
    write(tmp_path / "train-0.parquet", meta, id=[1], image=[png(1)], label=[1])
    write(tmp_path / "test.parquet", id=[1], image=[png(1)], label=[0])
    card = Parquet(root=str(tmp_path), **NAMES).open().card

    assert (("cat", "dog"), "here", "free") == (card.classes, card.origin, card.licence)
    assert {"pool": 0, "across": 1} == card.duplicates


def test_rows_without_ids_are_numbered(root: Path) -> None:
    """Across all files of a split."""
    store = Parquet(root=str(root), **NAMES, id=None).open()

    assert ["train-00000", "train-00001", "train-00002"] == store.pool.ids()


def test_raw_pixels(tmp_path: Path) -> None:
    """Tensors are taken as they are, whole columns or slices."""
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 2, 5), dtype=np.uint8)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    write(tmp_path / "train-0.parquet", id=[0, 1, 2], image=tensors, label=[0, 0, 0])
    write(tmp_path / "test.parquet", id=[0], image=tensors.slice(1, 1), label=[0])
    store = Parquet(root=str(tmp_path), **NAMES).open()
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))

    np.testing.assert_array_equal(images, decoded.images, strict=True)
    np.testing.assert_array_equal(
        images[1:2], store.test.decode(store.test.take(["test-00000"])).images, strict=True
    )


def test_addresses(root: Path) -> None:
    """Relative ones start from root and stay below it; the files may stay where they are."""
    (root / "images").mkdir()
    for value in (1, 2, 3):
        (root / "images" / f"{value}.png").write_bytes(png(value))
    paths = ["images/1.png", str(root / "images/2.png")]
    write(root / "train-0.parquet", id=[0, 1], image=paths, label=[0, 0])
    write(root / "test.parquet", id=[0], image=["images/3.png"], label=[0])
    os.remove(root / "train-1.parquet")

    for encoding in ("auto", "bytes", "uri"):
        store = Parquet(root=str(root), **NAMES, encoding=encoding).open()
        assert [1, 2] == values(store.pool)
    assert "uri" == store.card.encoding

    for path, message in (("../secret.png", "leads out of"), ("http://x/y.png", "is refused")):
        write(root / "test.parquet", id=[0], image=[path], label=[0])
        with pytest.raises(DataError, match=message):
            Parquet(root=str(root), **NAMES).open()
    write(root / "test.parquet", id=[0], image=[str(root / "images/3.png")], label=[0])
    assert [3] == values(Parquet(root=str(root), **NAMES).open().test)


def test_drifting_columns_are_named(root: Path) -> None:
    """One file of many written by another program: found before any image is decoded."""
    other = root / "train-2.parquet"
    write(other, id=["a"], image=[png(1)], label=[0])
    with pytest.raises(DataError, match="train-2.parquet: column 'id' holds string, in train-0"):
        Parquet(root=str(root), **NAMES).open()

    write(other, image=[png(1)], label=[0])
    with pytest.raises(DataError, match="train-2.parquet has no column 'id'; it has image, label"):
        Parquet(root=str(root), **NAMES).open()

    write(other, photo=[png(1)], kind=[0])
    with pytest.raises(DataError, match="has no columns 'id', 'image', 'label'; it has photo, ki"):
        Parquet(root=str(root), **NAMES).open()


def test_files_that_are_not_whole_are_named(root: Path) -> None:
    """Cut while copying, or empty; a file without rows is fine."""
    other = root / "train-2.parquet"
    empty = pq.read_table(root / "test.parquet").slice(0, 0)
    pq.write_table(empty, other)

    assert 3 == Parquet(root=str(root), **NAMES).open().card.pool

    whole = (root / "train-0.parquet").read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"text" * 10):
        other.write_bytes(content)
        with pytest.raises(DataError, match="train-2.parquet (cannot be read|is empty)"):
            Parquet(root=str(root), **NAMES).open()

    for file in root.glob("train-*"):
        pq.write_table(empty, file)
    with pytest.raises(DataError, match="the pool has no images"):
        Parquet(root=str(root), **NAMES).open()


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0.0, 1.0], "column 'label' holds double, as pandas .*; labels are class names or whole"),
        ([0.5, None], "column 'label' holds double"),
        ([True, False], "column 'label' holds bool; labels are class names or whole numbers"),
        ([[0], [1]], "column 'label' holds list"),
        ([0, None], r"train row 1 \('train-00002'\) has no label \(null\); give it one"),
        (["cat", None], r"train row 1 \('train-00002'\) has no label \(null\); give it one"),
        ([0, -1], r"row 1 \('train-00002'\): label -1 is not a class index 0..0"),
        ([0, 2], r"train row 1 \('train-00002'\) is labeled 2, but no image is labeled 1; write"),
        ([0, 10**15], "labeled 1000000000000000, but no image is labeled 1 to 999999999999999;"),
    ],
)
def test_labels_that_are_no_indices_are_refused(
    root: Path, labels: list[Any], message: str
) -> None:
    """A column read by pandas with one gap in it is float; one large number would be a network of
    that many classes."""
    write(root / "train-0.parquet", id=[1, 2], image=[png(1), png(2)], label=labels)
    os.remove(root / "train-1.parquet")
    write(root / "test.parquet", id=[1], image=[png(1)], label=labels[:1])
    with pytest.raises(DataError, match=message):
        Parquet(root=str(root), **NAMES).open()
    for given in ([0, 1], ["cat", "dog"]):
        write(root / "train-0.parquet", id=[1, 2], image=[png(1), png(2)], label=given)
        write(root / "test.parquet", id=[1], image=[png(1)], label=given[:1])
        assert 2 == Parquet(root=str(root), **NAMES).open().card.pool
    if None in labels:  # or it is left out
        write(root / "train-0.parquet", id=[1], image=[png(1)], label=given[:1])
        assert 1 == Parquet(root=str(root), **NAMES).open().card.pool


def test_null_ids_are_refused(root: Path) -> None:
    """A unit without a name can be neither asked for nor remembered."""
    write(root / "train-1.parquet", id=pa.array([None], pa.int64()), image=[png(1)], label=[0])
    with pytest.raises(DataError, match="pool row 2: id None is not a non-empty string"):
        Parquet(root=str(root), **NAMES).open()


@pytest.mark.parametrize(
    "images",
    [
        [1, 2],
        [{"bytes": b""}, {"bytes": b""}],
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 1, 2, 2), np.float32)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 4, 4, 4), np.uint8)),
    ],
)
def test_other_kinds_of_columns_are_refused(tmp_path: Path, images: Any) -> None:
    """Floats have no known range, and pixels of four channels would be read as stripes."""
    for name in ("train-0", "test"):
        write(tmp_path / f"{name}.parquet", id=[0, 1], image=images, label=[0, 0])
    with pytest.raises(DataError, match="column 'image' holds .*; images are binary, string, or"):
        Parquet(root=str(tmp_path), **NAMES).open()


def test_only_addresses_can_stay(root: Path) -> None:
    """There is no file to leave where it is."""
    with pytest.raises(UsageError, match="uri needs a column of addresses.*; choose another enco"):
        Parquet(root=str(root), **NAMES, encoding="uri").open()
    Parquet(root=str(root), **NAMES, encoding="bytes").open()


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string()])
def test_rows_without_an_image_are_bad(root: Path, kind: pa.DataType) -> None:
    """A gap in a table would end the preparation, or shift the images by a row (E16)."""
    (root / "1.png").write_bytes(png(11))
    present = "1.png" if kind == pa.string() else png(11)
    for name, images in (("train-0", [None, present]), ("train-1", [present]), ("test", [present])):
        ids = [f"{name}-{row}" for row in range(len(images))]
        image = pa.array(images, kind)
        write(root / f"{name}.parquet", id=ids, image=image, label=[0] * len(ids))
    store = Parquet(root=str(root), **NAMES).open()
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))

    assert {"train-0-0": "no data (null)"} == store.card.bad == decoded.bad
    assert ["train-0-1", "train-1-0"] == decoded.ids
    assert [11, 11] == decoded.images[:, 0, 0, 0].tolist()


def test_a_damaged_page_is_named(root: Path) -> None:
    """One flipped bit is another pixel; where the file has checksums, they are looked at (B06)."""
    table = pq.read_table(root / "train-0.parquet")
    pq.write_table(table, root / "train-0.parquet", write_page_checksum=True, compression="none")
    data = bytearray((root / "train-0.parquet").read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    (root / "train-0.parquet").write_bytes(data)
    with pytest.raises(DataError, match="train-0.parquet cannot be read: .*(CRC|checksum)"):
        Parquet(root=str(root), **NAMES).open()


def test_files_without_row_groups(root: Path) -> None:
    """A writer that was opened and closed leaves such a file; it has no rows, no fault (B08)."""
    schema = pq.read_schema(root / "train-0.parquet")
    pq.ParquetWriter(root / "train-2.parquet", schema).close()

    assert 0 == pq.ParquetFile(root / "train-2.parquet").num_row_groups
    assert 3 == Parquet(root=str(root), **NAMES).open().card.pool


def test_pickles_in_a_schema_are_not_opened(root: Path, tmp_path: Path) -> None:
    """Arrow once unpickled what a file says about its own types (K01)."""

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "exploded",)

    table = pq.read_table(root / "train-0.parquet")
    bomb = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Bomb()),
    }
    hostile = table.schema.field("image").with_metadata(bomb)
    schema = table.schema.set(table.schema.get_field_index("image"), hostile)
    pq.write_table(table.cast(schema), root / "train-0.parquet")

    assert bomb == pq.read_schema(root / "train-0.parquet").field("image").metadata
    assert [10, 11, 12] == values(Parquet(root=str(root), **NAMES).open().pool)
    assert not (tmp_path / "exploded").exists()


def test_names_without_files_are_named(root: Path) -> None:
    """A pattern that matches nothing would be a smaller pool."""
    with pytest.raises(DataError, match=f"{root} has no val.parquet"):
        Parquet(root=str(root), pool=NAMES["pool"], test=("val.parquet",)).open()
    Parquet(root=str(root), pool=NAMES["pool"], test=("test.parquet",)).open()


def test_class_names_that_are_no_list_are_refused(root: Path) -> None:
    """Metadata is written by other programs; it must not end in a traceback."""
    meta = {"class_names": "cat, dog"}
    write(root / "train-0.parquet", meta, id=[1], image=[png(1)], label=[0])
    with pytest.raises(DataError, match="class_names 'cat, dog' is not a JSON .*; set dataset.cla"):
        Parquet(root=str(root), **NAMES).open()
    Parquet(root=str(root), **NAMES, classes=("cat", "dog", "cow")).open()


@pytest.mark.parametrize(
    "labels, fields, found",
    [
        ([0, 7, 90], {"classes": tuple(f"c{number}" for number in range(91))}, [0, 7, 90]),
        (["0", "7", "90"], {}, [0, 1, 2]),
        ([1, 2, 3], {}, [1, 2, 3]),
    ],
)
def test_the_ways_out_of_labels_with_gaps(
    root: Path, labels: list[Any], fields: dict[str, Any], found: list[int]
) -> None:
    """The message would send people in a circle."""
    os.remove(root / "train-1.parquet")
    three = {"id": [0, 1, 2], "image": [png(v) for v in range(3)]}
    write(root / "train-0.parquet", **three, label=[0, 7, 90])
    with pytest.raises(DataError, match="; write names instead of numbers, or set dataset.classes"):
        Parquet(root=str(root), **NAMES).open()
    write(root / "train-0.parquet", **three, label=labels)
    write(root / "test.parquet", id=[1], image=[png(1)], label=labels[:1])
    store = Parquet(root=str(root), **NAMES, **fields).open()

    assert found == list(store.labels("pool").values())


def test_a_class_that_only_test_images_have_is_no_gap(root: Path) -> None:
    """Whoever takes a part of a pool would have to rename all classes."""
    write(root / "train-0.parquet", id=[0, 1], image=[png(1), png(2)], label=[0, 2])
    os.remove(root / "train-1.parquet")
    write(root / "test.parquet", id=[1], image=[png(1)], label=[1])

    assert ("0", "1", "2") == Parquet(root=str(root), **NAMES).open().card.classes


def of_hugging_face(number: int, path: str | None = None) -> dict[str, Any]:
    return {"bytes": None if path else png(number), "path": path}


@pytest.mark.parametrize(
    "images",
    [
        pa.array([of_hugging_face(1), of_hugging_face(2, "here.png")]),
        pa.array([png(1), png(2)], pa.binary_view()),
        pa.array([png(1), png(2)]).dictionary_encode(),
        pa.array([list(png(1)), list(png(2))], pa.list_(pa.uint8())),
        pa.array(["one.png", "here.png"], pa.string_view()),
        pa.array(["one.png", "here.png"]).dictionary_encode(),
        pa.FixedShapeTensorArray.from_numpy_ndarray(
            np.stack([np.full((4, 4, 3), number, np.uint8) for number in (1, 2)])
        ),
    ],
)
def test_the_same_images_in_other_encodings(root: Path, images: pa.Array) -> None:
    """Whole libraries' files would be refused, which say the same thing."""
    (root / "one.png").write_bytes(png(1))
    (root / "here.png").write_bytes(png(2))
    labels = pa.array(["cat", "dog"]).dictionary_encode()
    ids = pa.array(["a", "b"], pa.string_view())
    write(root / "train-0.parquet", id=ids, image=images, label=labels)
    os.remove(root / "train-1.parquet")
    write(
        root / "test.parquet",
        id=["c"],
        image=images.slice(0, 1),
        label=pa.array(["cat"], pa.large_string()),
    )
    store = Parquet(root=str(root), **NAMES).open()

    assert [1, 2] == values(store.pool)
    assert {"a": 0, "b": 1} == store.labels("pool")


def test_class_names_of_hugging_face(root: Path) -> None:
    """Classes would be called by numbers whose names are in the file."""
    features = {"label": {"names": ["owl", "cat", "dog"], "_type": "ClassLabel"}}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pq.read_table(root / "train-0.parquet")
    pq.write_table(table.replace_schema_metadata(meta), root / "train-0.parquet")

    assert ("owl", "cat", "dog") == Parquet(root=str(root), **NAMES).open().card.classes


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    """A pool without a column of labels, and test images with one."""
    write(tmp_path / "train-0.parquet", id=["a", "b"], image=[png(10), png(11)])
    write(tmp_path / "train-1.parquet", id=["c"], image=[png(12)])
    write(tmp_path / "test.parquet", id=["t"], image=[png(20)], kind=["dog"])
    return tmp_path


def test_a_pool_without_labels(heap: Path) -> None:
    """Somebody would have to make labels up."""
    options = {"root": str(heap), **NAMES, "label": None}
    store = Parquet(**options, test_label="kind", classes=("cat", "dog")).open()

    assert (["a", "b", "c"], {}, {"t": 1}) == (
        store.pool.ids(),
        store.labels("pool"),
        store.labels("test"),
    )
    assert not store.card.labeled and [10, 11, 12] == values(store.pool)
    assert ("dog",) == Parquet(**options, test_label="kind").open().card.classes


def test_rows_without_ids_and_labels_are_numbered(heap: Path) -> None:
    """The number of rows is that of labels no more."""
    names = {"pool": NAMES["pool"], "test": (), "id": None, "label": None}
    store = Parquet(root=str(heap), **names, classes=("cat", "dog")).open()

    assert ["train-00000", "train-00001", "train-00002"] == store.pool.ids()


def test_no_test_files(root: Path) -> None:
    """Labels of the pool alone are enough for a simulation."""
    store = Parquet(root=str(root), pool=NAMES["pool"], test=()).open()

    assert store.card.labeled and not store.card.tested
    assert ([], {}) == (store.test.ids(), store.labels("test"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({**NAMES, "label": None}, "set test_label to their column of classes, or test: "),
        ({**NAMES, "test": (), "label": None}, "nobody tells the classes; set classes"),
        ({**NAMES, "test": (), "label": None, "classes": ()}, "nobody tells the classes"),
    ],
)
def test_what_labels_are_missing(options: Any, told: str) -> None:
    """It would be told by a file without that column."""
    with pytest.raises(UsageError, match=told):
        Parquet(**options)
    Parquet(**{**options, "test_label": "kind", "classes": ("a",)})


def test_columns_of_test_files_that_are_missing(heap: Path) -> None:
    """The pool's columns would be looked for in them."""
    with pytest.raises(DataError, match=r"test.parquet has no column .*breed|'breed'"):
        Parquet(root=str(heap), **NAMES, label=None, test_label="breed", classes=("a",)).open()


def test_stores_without_a_column_for_tests_are_still_used(root: Path) -> None:
    """A run that began before it could not go on."""
    assert "test_label" not in Parquet(root=str(root), **NAMES).shaping()
    assert "test_label" in Parquet(root=str(root), **NAMES, test_label="label").shaping()
