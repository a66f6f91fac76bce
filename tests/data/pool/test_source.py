"""What is a pool, and what is refused before any work."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.data import uri
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.datasets.image_folder import ImageFolder
from rayal.data.images import Decoding
from rayal.data.pool import folder as pool_folder
from rayal.data.pool.source import Pool, open_pool
from rayal.errors import DataError, StorageError, UsageError
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from tests.data.test_images import encoded

DIGITS = ImageSpec(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,))


def spec(side: int = 4) -> ImageSpec:
    return ImageSpec(channels=3, height=side, width=side, mean=(0.0,) * 3, std=(1.0,) * 3)


def png(value: int) -> bytes:
    return encoded(Image.new("RGB", (4, 4), (value, 0, 0)))


def write(file: Path, ids: list[Any] | None, images: Any = None, **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = 1 if ids is None else len(ids)
    columns = {"image": [png(row) for row in range(rows)] if images is None else images}
    pq.write_table(pa.table(columns if ids is None else {"id": ids, **columns}), file, **options)


def plant(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png(7))


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Pool]:
    """Opens pools; the listing of images is in the folder `listing` beside them."""

    def opened(where: str | Path, **given: Any) -> Pool:
        listing = Folder(tmp_path / "listing")
        usual = {"decoding": Decoding(size=4), "spec": spec(), "listing": listing}
        return open_pool(str(where), **{**usual, **given})

    return opened


def ids(pool: Pool) -> list[str]:
    return [unit for s in pool.shards(2) for unit in pool.images.read(s)["id"].to_pylist()]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """A folder of three files, one deeper and one without rows, among what others leave there."""
    root = tmp_path / "pool"
    write(root / "b.parquet", ["d", "e"])
    write(root / "a.parquet", ["a", "b", "c"], row_group_size=2)
    write(root / "x=1" / "c.parquet", [], pa.array([], pa.binary()))
    pq.ParquetWriter(root / "x=1" / "d.parquet", pq.read_schema(root / "a.parquet")).close()
    for junk in ("_temporary/0/c.parquet", ".hidden.parquet", "_metadata.parquet", ".x/a.parquet"):
        write(root / junk, ["junk"])
    (root / "_SUCCESS").touch()
    (root / "README.md").touch()
    return root


def test_a_folder_of_parquet_files(parquet: Path, opened: Callable[..., Pool]) -> None:
    """All of them, in the same order everywhere, without what writers leave behind (E11, B08)."""
    pool = opened(parquet)

    assert (5, list("abcde")) == (pool.rows, ids(pool))
    assert {
        f"{parquet}/a.parquet": (2, 1),
        f"{parquet}/b.parquet": (2,),
        f"{parquet}/x=1/c.parquet": (0,),
        f"{parquet}/x=1/d.parquet": (),
    } == pool.files
    assert not pool.unique and f"4 Parquet files in {parquet}" == pool.origin


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("a.parquet", "abc"),
        ("[ab].parquet", "abcde"),
        ("*", "abcde"),
        ("**/*.parquet", "abcde"),
        ("x=1/../b.parquet", "de"),
    ],
)
def test_files_and_patterns(
    parquet: Path, opened: Callable[..., Pool], pattern: str, expected: str
) -> None:
    """A part of a folder."""
    assert list(expected) == ids(opened(parquet / pattern))
    assert list(expected) == ids(opened(f"file://{parquet}/{pattern}"))


def test_relative_paths(
    parquet: Path, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the current folder; workers run in another."""
    monkeypatch.chdir(parquet)
    pool = opened("*.parquet")

    assert list("abcde") == ids(pool)
    assert all(os.path.isabs(file) for file in pool.files)


def test_names_that_look_like_patterns(tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """What is there by its very name is no pattern."""
    write(tmp_path / "x [1]*" / "a?.parquet", ["a"])
    write(tmp_path / "x 1" / "ab.parquet", ["b"])

    assert ["a"] == ids(opened(tmp_path / "x [1]*")) == ids(opened(tmp_path / "x [1]*/a?.parquet"))


def test_rows_are_named_by_file(parquet: Path, opened: Callable[..., Pool]) -> None:
    """Below the pool's root, so that a copy of the pool has the same ids."""
    pool = opened(parquet, id=None)

    assert [*(f"a.parquet:{row}" for row in range(3)), "b.parquet:0", "b.parquet:1"] == ids(pool)
    assert pool.unique


def test_the_fingerprint_is_the_layout(
    parquet: Path, tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """Shards of another state of the pool must not be continued; a copy of it may (E10)."""
    first = opened(parquet).fingerprint
    parquet.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    small = opened(moved, decoding=Decoding(size=4, resize=5)).fingerprint

    assert first == opened(moved).fingerprint != small
    assert opened(moved, id=None).fingerprint not in (first, small)

    write(moved / "a.parquet", ["a", "b", "c"], row_group_size=3)
    assert first != opened(moved).fingerprint
    write(moved / "a.parquet", ["a", "b", "c"], row_group_size=2)
    assert first == opened(moved).fingerprint
    write(moved / "e.parquet", ["f"])
    assert first != opened(moved).fingerprint


def test_files_that_are_not_whole_are_named(parquet: Path, opened: Callable[..., Pool]) -> None:
    """Cut while copying, or empty: before any work (B07, B08)."""
    whole = (parquet / "a.parquet").read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"text" * 10):
        (parquet / "b.parquet").write_bytes(content)
        with pytest.raises(DataError, match="b.parquet (cannot be read|is empty)"):
            opened(parquet)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"id": [1], "image": [b""]}, "z.parquet: column 'id' holds int64, in a.parquet string"),
        ({"id": ["z"], "image": [""]}, "z.parquet: column 'image' holds string, in a.parquet bin"),
        ({"image": [b""]}, "z.parquet has no column 'id'; it has image"),
        ({"photo": [b""]}, "z.parquet has no columns 'id', 'image'; it has photo"),
        ({"id": ["z"], "pixels": [b""]}, "z.parquet has no column 'image'; it has id, pixels"),
    ],
)
def test_drifting_columns_are_named(
    parquet: Path, opened: Callable[..., Pool], columns: dict[str, Any], message: str
) -> None:
    """One file of many written by another program: before any work (B09)."""
    pq.write_table(pa.table(columns), parquet / "z.parquet")
    with pytest.raises(DataError, match=message):
        opened(parquet)


def test_a_name_of_two_columns_is_refused(tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """Which of them holds the ids?"""
    table = pa.Table.from_arrays([pa.array(["a"])] * 2 + [pa.array([b""])], ["id", "id", "image"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="a.parquet has 2 columns 'id'; rename all but one"):
        opened(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "images",
    [
        [1],
        [{"bytes": b""}],
        pa.array([bytes(47)], pa.binary(47)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, 3, 4, 4), np.float32)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, 3, 5, 4), np.uint8)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, 4, 3, 4), np.uint8)),
    ],
)
def test_images_of_another_kind_are_refused(
    tmp_path: Path, opened: Callable[..., Pool], images: Any
) -> None:
    """Floats have no known range; pixels of another shape would be read as stripes."""
    write(tmp_path / "a.parquet", ["a"], images)
    with pytest.raises(DataError, match=r"column 'image' holds .*a uint8 tensor \(3, 4, 4\) \(C"):
        opened(tmp_path / "a.parquet")


def test_files_that_encode_the_same_otherwise_are_one_pool(
    tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """Files of two writers, or of two versions of one, would be no pool."""
    (tmp_path / "pool").mkdir()
    write(tmp_path / "pool/a.parquet", ["a"])
    write(tmp_path / "pool/c.parquet", [3], pa.array([png(2)], pa.binary_view()))
    lists = pa.table({"id": ["b"], "image": pa.array([list(png(1))], pa.list_(pa.uint8()))})
    pq.write_table(lists, tmp_path / "pool/b.parquet")
    with pytest.raises(DataError, match="column 'id' holds int64, in a.parquet string"):
        opened(tmp_path / "pool")
    write(tmp_path / "pool/c.parquet", pa.array(["c"]).dictionary_encode(), [png(2)])
    pool = opened(tmp_path / "pool")
    decoded = [pool.images.decode(pool.images.read(shard)) for shard in pool.shards(9)]

    assert list("abc") == ids(pool)
    assert [{}] * 3 == [each.bad for each in decoded]


def test_images_of_hugging_face(tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """Most Parquet files of images there are would be refused."""
    (tmp_path / "here.png").write_bytes(png(0))
    rows = [{"bytes": png(0), "path": "x"}, {"bytes": None, "path": "here.png"}, None]
    write(tmp_path / "a.parquet", ["a", "b", "c"], rows)
    pool = opened(tmp_path / "a.parquet")
    (shard,) = pool.shards(9)
    decoded = pool.images.decode(pool.images.read(shard))

    assert (["a", "b"], {"c": "no data (null)"}) == (decoded.ids, decoded.bad)


def test_what_only_its_writer_can_read_is_no_image(
    tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """Pixels of Ray's own tensors would be taken for encoded images, all of them bad."""
    field = pa.field("image", pa.list_(pa.uint8()), metadata={"ARROW:extension:name": "ray.tensor"})
    schema = pa.schema([pa.field("id", pa.string()), field])
    pq.write_table(pa.table({"id": ["a"], "image": [[1]]}, schema), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'image' holds ray.tensor, .*; write it as binary"):
        opened(tmp_path / "a.parquet")


@pytest.mark.parametrize("unit", [1.5, b"a", ["a"], None])
def test_ids_of_another_kind_are_refused(
    tmp_path: Path, opened: Callable[..., Pool], unit: Any
) -> None:
    """A column of whole numbers with a gap in it is float after pandas: 7 would be 7.0."""
    write(tmp_path / "a.parquet", [unit])
    with pytest.raises(DataError, match="column 'id' holds .*; ids are strings or integers"):
        opened(tmp_path / "a.parquet")


@pytest.mark.parametrize("tensors", [False, True])
def test_raw_pixels(tmp_path: Path, opened: Callable[..., Pool], tensors: bool) -> None:
    """Need no decoding, whatever it is set to."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    flat = pa.array([image.tobytes() for image in pixels], pa.binary(48))
    write(tmp_path / "a.parquet", [1, 2, 3], tensor if tensors else flat)
    pool = opened(tmp_path / "a.parquet", decoding=Decoding(size=9))
    (shard,) = pool.shards(9)

    assert pool.images.raw
    found = pool.images.decode(pool.images.read(shard))
    np.testing.assert_array_equal(pixels, found.images, strict=True)


def test_a_decoding_that_does_not_fit_is_refused(
    parquet: Path, opened: Callable[..., Pool]
) -> None:
    """All images would be bad, one after the other."""
    for decoding in (Decoding(size=5), Decoding(size=4, channels=1)):
        with pytest.raises(UsageError, match="set size: 4 and channels: 3 of decoding$"):
            opened(parquet, decoding=decoding)
    wide = spec().model_copy(update={"height": 2})
    with pytest.raises(
        UsageError, match=r"sees .3, 2, 4.; set shape: \[2, 4\] and channels: 3 of "
    ):
        opened(parquet, decoding=Decoding(size=4), spec=wide)
    assert 5 == opened(parquet, decoding=Decoding(shape=(2, 4), channels=3), spec=wide).rows
    assert 5 == opened(parquet, decoding=Decoding(size=4, channels=3)).rows
    assert 5 == opened(parquet, decoding=Decoding()).rows


def test_no_rows_are_refused(tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """An empty pool is a mistake (E07)."""
    write(tmp_path / "a.parquet", [], pa.array([], pa.binary()))
    write(tmp_path / "b.parquet", ["x"])
    pq.write_table(pq.read_table(tmp_path / "b.parquet").slice(0, 0), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="has no rows; name another"):
        opened(tmp_path / "b.parquet")
    write(tmp_path / "c.parquet", ["x"])
    assert 1 == opened(tmp_path / "c.parquet").rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    plant(root, "b/2.png", "b/1.JPG", "a.jpeg", "_new/3.png", "ü/\x1b[2J #%.png")
    plant(root, ".ipynb_checkpoints/1.png", "__MACOSX/a.png", "b/._2.png")
    (root / "notes.txt").touch()
    return root


IDS = ["_new/3.png", "a.jpeg", "b/1.JPG", "b/2.png", "ü/\x1b[2J #%.png"]


def test_a_folder_of_images(folder: Path, opened: Callable[..., Pool]) -> None:
    """Named by their path, so that picks can be found; what is junk is left out (E11)."""
    pool = opened(folder)
    tables = [pool.images.read(shard) for shard in pool.shards(2)]

    assert IDS == ids(pool)
    assert [f"{folder}/{unit}" for unit in IDS] == [
        path for table in tables for path in table["image"].to_pylist()
    ]
    assert [7] * 5 == [
        red for t in tables for red in pool.images.decode(t).images[:, 0, 0, 0].tolist()
    ]
    assert (5, True, f"images in {folder}") == (pool.rows, pool.unique, pool.origin)


def test_what_changed_since_the_listing_is_told(folder: Path, opened: Callable[..., Pool]) -> None:
    """A pass that is continued must see the pool that it began with, and know when it is another
    (E10, B14)."""
    first = opened(folder)
    assert first.changes is None is opened(folder).changes

    plant(folder, "c.png")
    os.remove(folder / "a.jpeg")
    (folder / "b/2.png").write_bytes(png(8))
    os.utime(folder / "b/2.png", (1, 1))  # of the same size
    again = opened(folder)
    found = [again.images.decode(again.images.read(shard)) for shard in again.shards(9)]

    assert IDS == ids(again)
    assert (first.files, first.fingerprint) == (again.files, again.fingerprint)
    assert {"a.jpeg": f"missing: {folder}/a.jpeg"} == found[0].bad
    assert "1 added (first 'c.png'), 1 gone (first 'a.jpeg'), 1 changed (first 'b/2.png')" == str(
        again.changes
    )


def test_a_copy_of_the_folder_is_the_same_pool(
    folder: Path, opened: Callable[..., Pool], caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs copy their images to a disk of the machine before they go on, with new times."""
    opened(folder)
    for unit in IDS:
        os.utime(folder / unit, (1, 1))

    assert opened(folder).changes is None
    assert "all 5 files have other times" in caplog.text


def test_what_is_left_out_is_told_by_reason(folder: Path, opened: Callable[..., Pool]) -> None:
    """Eleven photographs would be lost behind one .DS_Store."""
    plant(folder, "x.avif", "y.jpg_large", "bare", "z.ico")
    (folder / "x.avif").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0")
    (folder / "w.tga").write_bytes(bytes(18))
    (folder / "more").symlink_to("b")
    pool = opened(folder)

    assert {*IDS, "y.jpg_large", "bare", "z.ico"} == set(ids(pool))
    assert (
        "left out 7 entries: 2 images in a format that is not read (first 'w.tga'); 1 link to a"
        " folder, which follow_links: true follows (first 'more'); 3 hidden (first"
        " '.ipynb_checkpoints'); 1 other file (first 'notes.txt')"
    ) == pool.left_out
    rows = csv_file.parse((folder.parent / "listing/left_out.csv").read_bytes()).to_pylist()
    assert {"path": "x.avif", "reason": "images in a format that is not read"} in rows
    assert 7 == len(rows)


def test_a_folder_of_links_says_how_they_are_followed(
    folder: Path, tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """That there are no images would be all that is said of a thousand."""
    plant(folder, "only/.real/1.png")
    (folder / "only/links").symlink_to(".real")
    with pytest.raises(DataError, match="holds no images .*1 link to .* follow_links: true"):
        opened(folder / "only", listing=Folder(tmp_path / "other"))
    assert 1 == opened(folder / "only/.real", listing=Folder(tmp_path / "other")).rows


def test_the_listing_is_of_one_folder(
    folder: Path, tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """Scores of two pools must not be mixed; nor may a damaged listing be believed."""
    opened(folder)
    plant(tmp_path / "other", "1.png")
    with pytest.raises(UsageError, match=f"lists {folder} with .*, not {tmp_path}/other"):
        opened(tmp_path / "other")
    with pytest.raises(UsageError, match="not .* with True; use another folder"):
        opened(folder, follow_links=True)
    assert 1 == opened(tmp_path / "other", listing=Folder(tmp_path / "second")).rows
    opened(folder, follow_links=True, listing=Folder(tmp_path / "third"))

    seal = tmp_path / "listing" / "listing.json"
    seal.write_text(seal.read_text().replace(": 5", ": 4"))
    with pytest.raises(StorageError, match="does not match its sha256"):
        opened(folder)


def test_the_fingerprint_of_images_is_their_names(
    folder: Path, tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """The same wherever the folder lies, another for another set or decoding."""

    def fingerprint(name: str, root: Path, **given: Any) -> str:
        return opened(root, listing=Folder(tmp_path / name), **given).fingerprint

    first = fingerprint("1", folder)
    moved = folder.rename(tmp_path / "moved")

    assert first == fingerprint("2", moved)
    assert first != fingerprint("3", moved, decoding=Decoding(size=4, resize=5))
    plant(moved, "c.png")
    assert first != fingerprint("4", moved)


def test_a_long_listing(
    folder: Path, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several files of several row groups."""
    from rayal.data.pool import source as pool_source

    monkeypatch.setattr(pool_folder, "GROUP_ROWS", 2)
    monkeypatch.setattr(pool_source, "GROUP_ROWS", 2)
    monkeypatch.setattr(pool_folder, "PART_ROWS", 4)
    pool = opened(folder)

    assert IDS == ids(pool)
    assert [[2, 2], [1]] == list(pool.files.values())
    assert [(2, 2), (1,)] == [
        tuple(pq.ParquetFile(f).metadata.row_group(n).num_rows for n in range(len(rows)))
        for f, rows in pool.files.items()
    ]


def test_a_listing_that_was_cut_short_is_made_again(
    folder: Path, tmp_path: Path, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may be killed among a billion names."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write_sealed", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(folder)

    assert not (tmp_path / "listing").exists()
    assert IDS == ids(opened(folder))


def test_links(folder: Path, tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """A pool from a stranger must not pull other files of the machine into it (E11)."""
    plant(tmp_path, "secret/2.png")
    (folder / "up").symlink_to("..")
    with pytest.raises(DataError, match="up is a link out of .*; copy the file there, or set"):
        opened(folder)
    (folder / "up").unlink()
    (folder / "copy.png").write_bytes((tmp_path / "secret/2.png").read_bytes())
    assert sorted([*IDS, "copy.png"]) == ids(opened(folder, listing=Folder(tmp_path / "copied")))
    (folder / "copy.png").unlink()
    (folder / "b" / "loop").symlink_to("..")
    (folder / "gone.png").symlink_to("nowhere.png")

    assert IDS == ids(opened(folder))

    (folder / "out").symlink_to(tmp_path / "secret")
    pool = opened(folder, follow_links=True, listing=Folder(tmp_path / "linked"))
    assert sorted([*IDS, "out/2.png"]) == ids(pool)


def test_links_to_parquet_files(parquet: Path, tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """The same rule."""
    write(tmp_path / "secret" / "s.parquet", ["s"])
    (parquet / "loop").symlink_to(".")
    assert list("abcde") == ids(opened(parquet)) == ids(opened(parquet, follow_links=True))

    for link, target in (("s.parquet", "secret/s.parquet"), ("secret", "secret")):
        (parquet / link).symlink_to(tmp_path / target)
        with pytest.raises(
            DataError, match=f"{link} is a link out of .*; .* --set follow_links=true"
        ):
            opened(parquet)
        assert [*"abcde", "s"] == ids(opened(parquet, follow_links=True))
        (parquet / link).unlink()

    (parquet / "gone.parquet").symlink_to("nowhere.parquet")
    assert list("abcde") == ids(opened(parquet))


@pytest.mark.parametrize("suffix", [".parquet", ".png"])
def test_folders_that_link_to_each_other(
    tmp_path: Path, opened: Callable[..., Pool], suffix: str
) -> None:
    """Following them would end in "too many levels", or never."""
    for name, other in ("ab", "ba"):
        file = tmp_path / "pool" / name / f"{name}{suffix}"
        write(file, None) if suffix == ".parquet" else plant(file.parent, file.name)
        (file.parent / "link").symlink_to(f"../{other}")
    pool = opened(tmp_path / "pool", id=None, follow_links=True)

    assert 4 == pool.rows


def test_a_folder_is_walked_once(
    folder: Path, parquet: Path, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for Parquet files among a million photographs takes as long as listing them."""
    seen, scandir = list[str](), os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: seen.append(str(path)) or scandir(path))
    opened(parquet)
    assert len(seen) == len(set(seen))

    seen.clear()
    opened(folder)
    inside = [path for path in seen if path.startswith(str(folder))]
    assert 1 == inside.count(f"{folder}/b")  # its top is looked at twice


def test_images_before_a_parquet_file(folder: Path, opened: Callable[..., Pool]) -> None:
    """One of the two would be left out, by the order of their names."""
    write(folder / "z.parquet", ["f"])
    with pytest.raises(
        UsageError, match=r"holds Parquet files \(z.parquet\) and images \(_new/3.png"
    ) as told:
        opened(folder)
    pattern = str(told.value).partition("a pattern such as ")[2].partition(",")[0]
    assert ["f"] == ids(opened(pattern))
    (folder / "z.parquet").rename(folder.parent / "z.parquet")
    assert IDS == ids(opened(folder))


def test_what_an_image_takes_before_it_is_decoded(
    tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """A shard of large photographs would not fit the memory, however small the model sees them."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    data = encoded(Image.fromarray(noise))
    write(tmp_path / "a.parquet", list("abcd"), [data] * 4, use_dictionary=False)
    raw = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 3, 4, 4), np.uint8))
    write(tmp_path / "raw.parquet", ["a", "b"], raw)

    assert len(data) < opened(tmp_path / "a.parquet").image_bytes < 1.1 * len(data)
    assert 0 == opened(tmp_path / "raw.parquet").image_bytes


def test_mixed_folders_are_refused(parquet: Path, opened: Callable[..., Pool]) -> None:
    """Either could be meant; beside files that name images by their path there are both."""
    plant(parquet, "images/1.png")
    write(parquet / "c.parquet", ["f"], ["images/1.png"])
    with pytest.raises(UsageError, match=r"holds Parquet files .* and images \(images/1.png\)"):
        opened(parquet)

    pool = opened(parquet / "c.parquet")
    (shard,) = pool.shards(9)
    assert ["f"] == pool.images.decode(pool.images.read(shard)).ids


def test_names_that_are_not_unicode_are_refused(
    folder: Path, parquet: Path, opened: Callable[..., Pool]
) -> None:
    """An id must be writable into every file and report (E09)."""
    (folder / os.fsdecode(b"\xff.png")).write_bytes(png(1))
    with pytest.raises(DataError, match=r"file '.udcff.png' is not Unicode; rename it"):
        opened(folder)
    (folder / os.fsdecode(b"\xff.png")).rename(folder / "ff.png")
    assert "ff.png" in ids(opened(folder, listing=Folder(folder.parent / "renamed")))

    (parquet / "a.parquet").rename(parquet / os.fsdecode(b"\xff.parquet"))
    with pytest.raises(DataError, match=r"file '.udcff.parquet' is not Unicode; rename it"):
        opened(parquet)
    (parquet / os.fsdecode(b"\xff.parquet")).rename(parquet / "ff.parquet")
    assert 5 == opened(parquet).rows


@pytest.mark.parametrize(
    "where, message",
    [
        ("cifar01", "there is no pool 'cifar01'; did you mean the dataset 'cifar1"),
        ("nowhere/at/all", "there is no pool 'nowhere/at/all'; give a .parquet file.*digits"),
        ("*.parquet", "names no .parquet file"),
        ("text.csv", "names no .parquet file"),
        ("nothing", "holds no images .* and no Parquet files"),
        ("parquet", "dataset 'parquet' cannot be opened by its name alone"),
        ("warp://x/y.parquet", "warp://x/y.parquet cannot be opened"),
        ("zip::file://x", "chained file systems are not supported"),
    ],
)
def test_what_is_no_pool_is_refused(
    tmp_path: Path,
    opened: Callable[..., Pool],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    message: str,
) -> None:
    """With the way out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.csv").write_text("id")
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    with pytest.raises((UsageError, DataError), match=message):
        opened(where)

    assert not (tmp_path / "listing").exists()


def test_every_kind_of_pool_that_the_message_names(
    parquet: Path, folder: Path, opened: Callable[..., Pool], digits: Digits
) -> None:
    """A file, a pattern, folders of both kinds, a dataset's name, its files or its store."""
    with pytest.raises(
        UsageError, match="; give a .parquet file, a pattern of such, a folder of t"
    ):
        opened(parquet / "nothing")
    for where in ("a.parquet", "*.parquet", "."):
        assert opened(parquet / where).rows
    assert opened(folder).rows
    assert opened("digits", spec=DIGITS).rows
    assert opened(digits.open().url, spec=DIGITS).rows


def test_folders_that_may_not_be_read(
    folder: Path, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving one out would be a smaller pool."""
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(StorageError, match="photos/b: no permission"):
        opened(folder)


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(limit_pool=600, limit_test=10)


def test_a_prepared_store(digits: Digits, opened: Callable[..., Pool]) -> None:
    """The folder that rayal made of a dataset: its pool, without labels or test images."""
    store = digits.open()
    pool = opened(store.url, spec=DIGITS)

    assert store.pool.ids() == ids(pool)
    assert all(shard.skip == 0 for shard in pool.shards(2))
    assert store.pool.shards(300) == pool.shards(300)
    assert pool.unique and "digits" in pool.origin
    with pytest.raises(UsageError, match=r"digits are \(1, 8, 8\) .*, the model sees \(3, 4, 4\)"):
        opened(store.url)


def test_a_store_of_another_size(tmp_path: Path, opened: Callable[..., Pool]) -> None:
    """The dataset prepared in that size, or its files themselves."""
    plant(tmp_path / "own", "train/x/1.png", "test/x/2.png")
    own = {"root": str(tmp_path / "own"), "store": str(tmp_path / "stores")}
    with pytest.raises(
        UsageError, match="; prepare the dataset in that size, or give its original"
    ):
        opened(ImageFolder(**own).open().url, spec=spec(8), decoding=Decoding(size=8))
    right = ImageFolder(**own, size=8).open().url
    assert 1 == opened(right, spec=spec(8), decoding=Decoding(size=8)).rows
    assert 2 == opened(tmp_path / "own", spec=spec(8), decoding=Decoding(size=8)).rows


def test_a_dataset(opened: Callable[..., Pool]) -> None:
    """By its name alone."""
    pool = opened("digits", spec=DIGITS)
    (first, *_) = pool.shards(256)

    assert (256, 1, 8, 8) == pool.images.decode(pool.images.read(first)).images.shape
    assert Digits().open().card.pool == pool.rows


def test_another_decoding_of_a_store_is_told(
    digits: Digits, tmp_path: Path, opened: Callable[..., Pool]
) -> None:
    """A store of encoded images says itself how; ignoring the model's way without a word would
    make scores that nobody can explain."""
    url = digits.open().url
    card = Folder(url).read_sealed("card.json")
    root = tmp_path / "store"
    root.mkdir()
    card["decoding"] = Decoding(channels=1, size=8, squash=True).model_dump()
    (root / "card.json").write_text(json.dumps({**card, "encoding": "bytes"}))

    pool = opened(root, spec=DIGITS, decoding=Decoding(channels=1, size=8))

    assert Decoding(channels=1, size=8, squash=True) == pool.decoding
    assert None is opened(url, spec=DIGITS, decoding=Decoding(channels=1, size=8)).decoding


def test_other_storages(
    parquet: Path, folder: Path, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster pools lie in buckets: the same names, the same fingerprint."""
    monkeypatch.setattr(uri, "STORAGES", ("memory",))
    fs, top = fsspec.filesystem("memory"), f"memory://{uuid4()}"
    for local in (parquet, folder):
        fs.put(str(local), f"{top.removeprefix('memory:/')}/{local.name}", recursive=True)
    for name in ("pool", "pool/", "pool/*.parquet", "pool/b.parquet"):
        near, far = opened(parquet.parent / name), opened(f"{top}/{name}")

        assert ids(near) == ids(far)
        assert near.fingerprint == far.fingerprint or name == "pool/*.parquet"

    pool = opened(f"{top}/photos", listing=Folder(f"{top}/listing"))
    (shard,) = pool.shards(9)
    assert IDS == pool.images.decode(pool.images.read(shard)).ids
    assert [f"{top}/listing/part-00000.parquet"] == list(pool.files)

    fs.pipe(f"{top}/photos/a.parquet", b"")
    with pytest.raises(UsageError, match="and images"):
        opened(f"{top}/photos", listing=Folder(f"{top}/third"))
    fs.rm(f"{top}/photos/a.parquet")
    monkeypatch.setattr(uri, "STORAGES", ())
    with pytest.raises(DataError, match="is refused"):
        opened(f"{top}/photos", listing=Folder(f"{top}/other"))
    with pytest.raises(UsageError, match="there is no pool"):
        opened(f"{top}/nowhere")
