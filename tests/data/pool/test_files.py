"""Pools in Parquet files of anybody: the right rows in any order, and bad images by name."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayal.data import uri
from rayal.data.images import Decoding
from rayal.data.pool import Shard, cut
from rayal.data.pool import files as pool_files
from rayal.data.pool.files import ParquetImages
from rayal.errors import DataError
from rayal.storage.parquet import footers
from tests.data.test_images import COLOUR, GOOD, KINDS, dots, encoded, photo, png_header

SHAPE = (3, 4, 4)
PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}
"""Options of files in which the bytes of an image are there once, as they are."""


def write(file: Path | str, ids: Sequence[Any] | None, images: Any, **options: Any) -> None:
    columns = {"image": images} if ids is None else {"image": images, "id": ids}
    pq.write_table(pa.table(columns), file, **options)


def images_of(root: Path | str, **fields: Any) -> ParquetImages:
    decoding = Decoding(size=4)
    given = {"id": "id", "image": "image", "raw": False, "decoding": decoding, "shape": SHAPE}
    return ParquetImages(root=str(root), **{**given, **fields})


def shards_of(file: Path | str, rows: int) -> list[Shard]:
    return cut({str(file): footers([str(file)], [])[str(file)].groups}, rows)


def decoded(images: ParquetImages, file: Path | str) -> tuple[list[str], list[int], dict[str, str]]:
    """Ids, red values and bad images of a whole file."""
    tables = [images.read(shard) for shard in shards_of(file, 3)]
    found = [images.decode(table) for table in tables]
    ids = [unit for each in found for unit in each.ids]
    red = [value for each in found for value in each.images[:, 0, 0, 0].tolist()]
    return ids, red, {unit: why for each in found for unit, why in each.bad.items()}


def png(value: int) -> bytes:
    return encoded(Image.new("RGB", (4, 4), (value, 0, 0)))


@pytest.mark.parametrize("group", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_reads_any_row_groups(tmp_path: Path, group: int, kind: pa.DataType) -> None:
    """Nobody writes files for rayal: a group of one row and one of all must give the same."""
    file = tmp_path / "a.parquet"
    images = pa.array([png(value) for value in range(10)], kind)
    write(file, list("abcdefghij"), images, row_group_size=group)

    assert (list("abcdefghij"), list(range(10)), {}) == decoded(images_of(tmp_path), file)


ROWS = 40


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of one row group each, larger than any shard."""
    root = tmp_path_factory.mktemp("huge")
    for name in "ab":
        ids = [f"{name}{row}" for row in range(ROWS)]
        write(root / f"{name}.parquet", ids, [f"{row}".encode() for row in range(ROWS)])
    return root


@settings(deadline=None)
@given(
    st.integers(1, ROWS),
    st.integers(1, 9),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, ROWS), st.booleans()), max_size=12),
)
def test_parts_of_a_row_group_in_any_order(
    huge: Path, rows: int, batch: int, order: list[tuple[str, int, bool]]
) -> None:
    """Workers are given whatever shard is next; one that goes on from there must not slip a row."""
    images = images_of(huge)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_files, "BATCH", batch)
        patch.setattr(pool_files, "ID_BATCH", batch + 1)
        for name, number, only_ids in order:
            shards = shards_of(huge / f"{name}.parquet", rows)
            shard = shards[number % len(shards)]
            expected = [f"{name}{shard.skip + row}" for row in range(shard.rows)]
            if only_ids:
                assert expected == images.ids_of(shard).to_pylist()
                continue
            table = images.read(shard)
            assert expected == table["id"].to_pylist()
            assert [unit[1:].encode() for unit in expected] == table["image"].to_pylist()


def test_consecutive_parts_are_read_once(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start each time, a group of a million rows would be read a thousand times; by Ray,
    too, whose tasks unpickle what they read from."""
    begun: list[int] = []
    part = pool_files._Part
    monkeypatch.setattr(pool_files, "_Part", lambda *given: begun.append(given[1]) or part(*given))
    images, shards = images_of(huge), shards_of(huge / "a.parquet", 7)
    for shard in [*shards[:2], *shards[3:]]:  # another worker has the one between
        pickle.loads(pickle.dumps(images)).read(shard)

    assert [0] == begun
    images_of(huge).read(shards[-1])  # opened anew: the file may be another by now
    assert [0, 0] == begun

    images.read(shards[0])
    begun.clear()

    images.read(shards[2])
    images.read(shards[1])
    assert [0] == begun


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    """Some programs write a file as one group: a worker must not hold gigabytes of it."""
    data, rows = np.random.default_rng(0).bytes(50_000), 2000
    ids, pages = [f"{row}" for row in range(rows)], {"write_batch_size": 16, **PLAIN}
    write(tmp_path / "a.parquet", ids, [data] * rows, **pages)
    usual, images = pa.default_memory_pool(), images_of(tmp_path)
    memory = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(memory)
    try:
        for shard in shards_of(tmp_path / "a.parquet", 50):
            assert shard.rows == images.read(shard).num_rows
    finally:
        pool_files._open.clear()  # what is open has memory of this pool
        pa.set_memory_pool(usual)

    assert 1 == pq.ParquetFile(tmp_path / "a.parquet").num_row_groups
    assert 10**6 < memory.max_memory() < 15 * 10**6  # of the 100 MB in the group


def test_keep_leaves_out_the_rest(huge: Path) -> None:
    """Images that are no candidates must not cost a decoding."""
    images = images_of(huge)
    tables = [images.read(s, {"a3", "a5", "a39"}) for s in shards_of(huge / "a.parquet", 15)]

    assert [["a3", "a5"], [], ["a39"]] == [table["id"].to_pylist() for table in tables]


def test_pickles_without_the_open_file(huge: Path) -> None:
    """The job travels to every worker; an open file cannot, and rows must not."""
    images = images_of(huge)
    images.read(shards_of(huge / "a.parquet", 15)[0])
    sent = pickle.dumps(images)
    again = pickle.loads(sent)

    assert len(sent) < 500 and images == again
    assert "b0" == again.ids_of(shards_of(huge / "b.parquet", 15)[0])[0].as_py()


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.large_string()])
def test_ids_become_strings(tmp_path: Path, kind: pa.DataType) -> None:
    """Whole numbers are the usual key of a table."""
    ids = pa.array([7, 12]).cast(kind)
    write(tmp_path / "a.parquet", ids, [png(1), png(2)])

    assert (["7", "12"], [1, 2], {}) == decoded(images_of(tmp_path), tmp_path / "a.parquet")


@pytest.mark.parametrize("group", [2, 100])
def test_rows_without_ids_are_named_by_file(tmp_path: Path, group: int) -> None:
    """Names that stay when files are added, and wherever the pool is copied to."""
    file = tmp_path / "x" / "a.parquet"
    file.parent.mkdir()
    write(file, None, [png(value) for value in range(7)], row_group_size=group)
    images = images_of(tmp_path, id=None)
    ids, red, bad = decoded(images, file)

    assert [f"x/a.parquet:{row}" for row in range(7)] == ids
    assert (list(range(7)), {}) == (red, bad)
    assert ids == [u for s in shards_of(file, 3) for u in images.ids_of(s).to_pylist()]


def test_strange_ids_are_only_names(tmp_path: Path) -> None:
    """Never used as a path, never changed (E09)."""
    strange = ["ü", "a/../b", "/etc/passwd", "x\ny", "\x1b[2J", "\0", "x" * 10_000, " ", "..", "A"]
    write(tmp_path / "a.parquet", strange, [png(1)] * 10)

    assert strange == decoded(images_of(tmp_path), tmp_path / "a.parquet")[0]


@pytest.mark.parametrize("ids, fault", [(["a", "b", None], "null"), (["a", "b", ""], "empty")])
@pytest.mark.parametrize("rows", [1, 9])
def test_ids_that_name_nothing_are_refused(
    tmp_path: Path, ids: list[Any], fault: str, rows: int
) -> None:
    """With the file and the row, whichever shard it is in."""
    write(tmp_path / "a.parquet", ids, [png(1)] * 3)
    images = images_of(tmp_path)
    with pytest.raises(DataError, match=f"a.parquet, row 2: the id is {fault}; give it one"):
        [images.read(shard) for shard in shards_of(tmp_path / "a.parquet", rows)]
    write(tmp_path / "a.parquet", ["a", "b", "c"], [png(1)] * 3)
    assert ["a", "b", "c"] == decoded(images_of(tmp_path), tmp_path / "a.parquet")[0]


CMYK = encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG")
TURNED = Image.Exif()
TURNED[0x0112] = 6


def test_every_kind_of_image_ends_as_documented(tmp_path: Path) -> None:
    """The E rows in one file: the good ones with their pixels, the bad ones with a reason."""
    good = {f"{kind} {number}": data for number, (kind, (data, _)) in enumerate(KINDS.items())}
    good |= {**GOOD, "CMYK JPEG": CMYK, "turned": encoded(photo(9, 5), "JPEG", exif=TURNED)}
    good |= {"1x1": encoded(photo(1, 1)), "1x10000": encoded(photo(1, 10_000))}
    bad = {f"{kind}, truncated": data[: len(data) * 2 // 3] for kind, data in GOOD.items()}
    bad |= {"zero bytes": b"", "text": b"hello", "32 bits": encoded(dots("I", 1000), "TIFF")}
    bad |= {f"bomb {side}": png_header(side, side) for side in (10_000, 14_000, 60_000)}
    ids, images = [*good, *bad, "null"], [*good.values(), *bad.values(), None]
    decoding = Decoding(size=4, max_pixels=10**6)
    write(tmp_path / "a.parquet", ids, pa.array(images, pa.binary()), row_group_size=5)
    found = decoded(images_of(tmp_path, decoding=decoding), tmp_path / "a.parquet")

    assert {*bad, "null"} == found[2].keys()
    assert [*good] == found[0]
    assert all(found[2].values()) and "no data (null)" == found[2]["null"]
    assert "empty file" == found[2]["zero bytes"]


def test_images_of_another_size_are_bad(tmp_path: Path) -> None:
    """Without a resize one odd image must not end a pass over millions (E13)."""
    write(tmp_path / "a.parquet", ["a", "b"], [png(1), encoded(photo(5, 4))])
    found = decoded(images_of(tmp_path, decoding=COLOUR), tmp_path / "a.parquet")

    reason = (
        "is (3, 5, 4) instead of (3, 4, 4) (C, H, W); set size: 4 of the dataset (of `rayal score`:"
        " of decoding)"
    )
    assert (["a"], {"b": reason}) == (found[0], found[2])


def test_addresses(tmp_path: Path) -> None:
    """Below the root, absolute, or of a storage; what is gone or forbidden is bad (B14, K08)."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("root/1.png", "root/ü#%20?.png", "2.png"):
        (tmp_path / name).write_bytes(png(3))
    (root / "folder.png").mkdir()
    good = ["1.png", "./x/../1.png", "ü#%20?.png", f"{tmp_path}/2.png", f"file://{tmp_path}/2.png"]
    reasons = {
        "3.png": f"missing: {root}/3.png",
        "../2.png": f"'../2.png' leads out of {root}; make it absolute",
        "x/../../2.png": f"'x/../../2.png' leads out of {root}; make it absolute",
        "http://127.0.0.1/1.png": "image address 'http://127.0.0.1/1.png' is refused",
        "s3::http://127.0.0.1/1.png": "image address 's3::http://127.0.0.1/1.png' is refused",
        "folder.png": "no regular file",
        "": "no regular file",
        "a\0b.png": "unreadable",
    }
    paths = [*good, *reasons, None]
    write(root / "a.parquet", [*map(repr, paths)], paths)
    ids, red, bad = decoded(images_of(root), root / "a.parquet")

    assert ([*map(repr, good)], [3] * 5) == (ids, red)
    assert {*map(repr, [*reasons, None])} == bad.keys()
    for path, reason in reasons.items():
        assert bad[repr(path)].startswith(reason)


def test_an_address_that_is_not_unicode_is_bad(tmp_path: Path) -> None:
    """A whole pass would end, again and again, for one name in Latin-1 (E09)."""
    (tmp_path / "1.png").write_bytes(png(3))
    latin = pa.array([b"1.png", "é.png".encode("latin-1")])
    paths = pa.StringArray.from_buffers(2, *latin.buffers()[1:])
    write(tmp_path / "a.parquet", ["a", "b"], paths)

    found = decoded(images_of(tmp_path), tmp_path / "a.parquet")
    assert (["a"], [3], {"b": "the address is not Unicode"}) == found


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("rows", [2, 9])
def test_raw_pixels(tmp_path: Path, tensors: bool, rows: int) -> None:
    """Taken as they are, from whole groups or parts."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, *SHAPE), dtype=np.uint8)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    if not tensors:
        column = pa.array([image.tobytes() for image in pixels], pa.binary(48))
    write(tmp_path / "a.parquet", list("abcdefghi"), column)
    images = images_of(tmp_path, raw=True)
    parts = [images.decode(images.read(s)) for s in shards_of(tmp_path / "a.parquet", rows)]

    assert list("abcdefghi") == [unit for part in parts for unit in part.ids]
    np.testing.assert_array_equal(
        pixels, np.concatenate([part.images for part in parts]), strict=True
    )


def test_reads_from_any_storage(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pools lie in buckets, and their images beside them."""
    monkeypatch.setattr(uri, "STORAGES", ("memory",))
    root, fs = f"memory://{uuid4()}", fsspec.filesystem("memory")
    fs.put(str(huge), root.removeprefix("memory:/"), recursive=True)
    for rows in (7, ROWS):
        shards = shards_of(f"{root}/b.parquet", rows)
        images, local = images_of(root), images_of(huge)

        assert [local.read(s._replace(file=f"{huge}/b.parquet")) for s in shards] == [
            images.read(shard) for shard in shards
        ]
    with fs.open(f"{root}/c.parquet", "wb") as file:
        write(file, ["1", "2"], ["x/1.png", f"{root}/x/1.png"])
    fs.pipe(f"{root}/x/1.png", png(5))

    assert (["1", "2"], [5, 5], {}) == decoded(images_of(root), f"{root}/c.parquet")


@pytest.mark.parametrize("rows", [2, 4, 8])
def test_a_flipped_byte_is_named(tmp_path: Path, rows: int) -> None:
    """With checksums one wrong bit is an error that names the row groups (B06)."""
    file = tmp_path / "a.parquet"
    images = [png(value) for value in range(8)]
    write(file, list("abcdefgh"), images, row_group_size=4, write_page_checksum=True, **PLAIN)
    data = bytearray(file.read_bytes())
    data[data.rindex(b"IDAT") + 8] ^= 1
    file.write_bytes(data)
    shards, found = shards_of(file, rows), images_of(tmp_path)

    for shard in shards:
        if shard.first_group + shard.groups == 1:
            assert shard.rows == found.read(shard).num_rows
    place = "0 to 1" if rows == 8 else "1 to 1"
    with pytest.raises(DataError, match=f"a.parquet, row groups {place}, cannot be read: .*CRC"):
        found.read(shards[-1])


def test_a_flipped_byte_without_checksums_costs_one_image(tmp_path: Path) -> None:
    """Such a file cannot tell; PNG can, so that the image is bad and the pass goes on."""
    file = tmp_path / "a.parquet"
    images = [png(value) for value in range(3)]
    write(file, list("abc"), images, **PLAIN)
    data = bytearray(file.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    file.write_bytes(data)
    ids, _, bad = decoded(images_of(tmp_path), file)

    assert (["b", "c"], {"a"}) == (ids, bad.keys())


@pytest.mark.parametrize("size", [0, 20, 1000])
def test_files_that_changed_are_named(tmp_path: Path, size: int) -> None:
    """Cut, emptied, gone or written anew while the pass runs."""
    file = tmp_path / "a.parquet"
    write(file, list("abcdefgh"), [png(1)] * 8, row_group_size=4, use_dictionary=False)
    shards = shards_of(file, 4)
    whole = file.read_bytes()
    file.write_bytes(whole[:size])
    with pytest.raises(DataError, match="a.parquet(, row groups 1 to 1, cannot be read| is empty)"):
        images_of(tmp_path).read(shards[1])
    file.unlink()
    with pytest.raises(DataError, match="a.parquet, row groups 0 to 0, cannot be read"):
        images_of(tmp_path).read(shards[0])
    for left in (3, 6):
        write(file, list("abcdefgh")[:left], [png(1)] * left, row_group_size=4)
        with pytest.raises(DataError, match="a.parquet has changed since the pool was opened"):
            images_of(tmp_path).read(shards[1])
        with pytest.raises(DataError, match="has changed|cannot be read"):
            images_of(tmp_path, id=None).ids_of(shards[1])
        assert left == len(decoded(images_of(tmp_path), file)[0])  # opened anew
