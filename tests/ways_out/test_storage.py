"""Files and folders: what a message tells to do is done, and then it goes."""

import gzip
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import rayal
from rayal.errors import DataError, LockedError, StorageError, UsageError
from rayal.storage.file_lock import alone, file_lock
from rayal.storage.folder import Folder, recorded
from rayal.storage.journal import Journal, read_done
from rayal.storage.lock import Lock
from rayal.storage.once import build_once
from rayal.storage.parquet import footers, open_parquet
from rayal.storage.stage_file import FileLocation
from rayal.storage.yaml_file import read_yaml
from rayal.storage.yaml_node import Node, Origin
from rayal.storage.yaml_text import override, parse
from tests.storage.test_folder import file_size_limit, ordinary_user

NOTHING = Node({}, Origin("defaults", None, Path()))


@pytest.mark.parametrize(
    ("wrong", "message", "right"),
    [
        ("", "give a path or a URL", "{}/a"),
        ("memory://a::memory://b", "name one of them", "memory://a"),
        ("a\0b", "give a path or a URL", "memory://b"),
    ],
)
def test_what_is_no_folder(tmp_path: Path, wrong: str, message: str, right: str) -> None:
    """A path, a URL, or one of the chained file systems."""
    with pytest.raises(UsageError, match=f"; {message}$"):
        Folder(wrong)

    folder = Folder(right.format(tmp_path))
    folder.write("x", b"1")
    assert b"1" == folder.read("x")


@pytest.mark.parametrize("name", ["../a", "/a", "a\\b"])
def test_a_name_inside(tmp_path: Path, name: str) -> None:
    """Both of the forms that the message gives."""
    folder = Folder(tmp_path)
    with pytest.raises(UsageError, match="use 'a' or 'a/b'$"):
        folder.write(name, b"")
    for right in ("a", "b/c"):
        folder.write(right, b"1")
        assert b"1" == folder.read(right)


def test_restored_from_a_copy(tmp_path: Path) -> None:
    """A sealed file, and one that is recorded elsewhere."""
    folder = Folder(tmp_path)
    record = folder.write("a", b"good")
    folder.write_sealed("b", {"x": 1})
    copies = {name: folder.read(name) for name in ("a", "b")}
    reads: dict[str, Callable[[], Any]] = {
        "a": lambda: folder.read("a", record),
        "b": lambda: folder.read_sealed("b"),
    }
    for name, read in reads.items():
        folder.write(name, copies[name][:-2])
        with pytest.raises(StorageError, match=f"{name} is damaged .*; restore it from a copy$"):
            read()
        folder.write(name, copies[name])
        assert read()


def test_a_stage_is_deleted(tmp_path: Path) -> None:
    """The folder that the message names, and the same work again."""

    def done(folder: Folder) -> dict[str, Any]:
        with Journal(folder, {}) as journal:
            return journal.done_once(folder / "stage", lambda out: {"x": out.write("w", b"1").name})

    run = Folder(tmp_path / "run")
    done(run)
    (run / "stage").write("done.json", b"{")
    for read in (lambda: done(run), lambda: read_done(run / "stage")):
        with pytest.raises(StorageError, match=r"or delete the folder .* again$") as told:
            read()

        assert f"delete the folder {run.url}/stage to do" in str(told.value)
    (run / "stage").delete()
    assert {"x": "w"} == done(run)

    place = FileLocation(f"{run.url}/stage", recorded("w", b"1"))
    (run / "stage").write("w", b"2")
    with pytest.raises(StorageError, match=f"or delete the folder {run.url}/stage to do that"):
        place.read()
    (run / "stage").delete()
    done(run)
    assert b"1" == place.read()


def test_a_path_that_is_checked(tmp_path: Path) -> None:
    """Here and on an object store."""
    for folder in (Folder(tmp_path), Folder("memory://ways")):
        folder.write("a", b"1")
        with pytest.raises(StorageError, match="b: there is no such file; check the path$"):
            folder.read("b")
        assert b"1" == folder.read("a")


def test_a_folder_where_one_may_write() -> None:
    """Another one, and the same one after its mode was changed."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o555)
        other = Path(place, "other")
        other.mkdir()
        os.chmod(other, 0o777)
        with ordinary_user(), pytest.raises(StorageError, match="choose another folder, or change"):
            Folder(place).write("a", b"")
        with ordinary_user():
            Folder(other).write("a", b"")
        os.chmod(place, 0o777)
        with ordinary_user():
            Folder(place).write("a", b"")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("file/a", "a file is where a folder should be, or the reverse; choose another folder"),
        ("x" * 300, "choose a shorter one"),
    ],
)
def test_another_place(tmp_path: Path, wrong: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=f"{message}$"):
        Folder(tmp_path).write(wrong, b"")
    Folder(tmp_path).write("folder/a", b"")


def test_space_is_freed(tmp_path: Path) -> None:
    """The same command has more room then."""
    folder = Folder(tmp_path)
    with file_size_limit(1000), pytest.raises(StorageError, match="5000 bytes; free some, then"):
        folder.write("a", bytes(5000))
    folder.write("a", bytes(5000))
    assert 5000 == len(folder.read("a"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError("Access Denied"), r"no permission \(Access Denied\); choose another"),
        (FileNotFoundError("The specified bucket does not exist"), "create it, or check the URL$"),
        (ConnectionError("refused"), "refused; check the network and, in the environment, address"),
    ],
)
def test_an_object_store_that_is_put_right(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """The bucket made, the network up, the credentials good: the same call."""

    def fails(*_: object, **__: object) -> None:
        raise error

    folder = Folder("memory://bucket")
    with monkeypatch.context() as broken:
        broken.setattr(MemoryFileSystem, "pipe_file", fails)
        with pytest.raises(StorageError, match=message):
            folder.write("a", b"1")
    folder.write("a", b"1")
    assert b"1" == folder.read("a")


def test_a_storage_that_works_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        with pytest.raises(StorageError, match="error; check the storage, then run the same"):
            Folder(tmp_path).write("a", b"1")
    Folder(tmp_path).write("a", b"1")


def test_a_lock_that_is_waited_for(tmp_path: Path) -> None:
    """Its holder ends, or is stopped: the same command goes in."""
    other = file_lock(tmp_path / "lock")
    other.acquire()
    with (
        pytest.raises(StorageError, match="; wait for it, or stop it, and run the same command"),
        alone(tmp_path / "lock", 0.02),
    ):
        pass
    other.release()
    with alone(tmp_path / "lock", 0.02):
        pass


def test_a_run_that_another_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, and the next one gets in; nobody is told to stop the process that asks."""
    monkeypatch.setattr("rayal.storage.lock.SETTLE", 0.01)
    monkeypatch.setattr(Lock, "held", set())
    first, second = Lock(Folder(tmp_path)), Lock(Folder(tmp_path))
    first.acquire()
    with pytest.raises(LockedError, match="; that is this process itself: close the learner"):
        second.acquire()
    Lock.held.clear()  # as another process sees it
    with pytest.raises(LockedError, match="; wait until it ends, or stop it$"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_another_experiment(tmp_path: Path) -> None:
    """Another folder, or the values that the message gives on the left."""
    with Journal(Folder(tmp_path / "a"), {"scheme": {"lr": 0.1}}):
        pass
    with (
        pytest.raises(LockedError, match=r"lr: 0.1 -> 0.2; use another --out .*, or the values"),
        Journal(Folder(tmp_path / "a"), {"scheme": {"lr": 0.2}}),
    ):
        pass
    with (
        Journal(Folder(tmp_path / "b"), {"scheme": {"lr": 0.2}}),
        Journal(Folder(tmp_path / "a"), {"scheme": {"lr": 0.1}}),
    ):
        pass


def test_a_folder_of_a_later_rayal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upgrade, of which the layout is what counts."""
    with monkeypatch.context() as later:
        later.setattr("rayal.storage.journal.FORMAT", 2)
        with Journal(Folder(tmp_path), {}):
            pass
        with Journal(Folder(tmp_path), {}):
            pass
    with (
        pytest.raises(UsageError, match=f"this is {rayal.__version__}; use that version, or"),
        Journal(Folder(tmp_path), {}),
    ):
        pass
    monkeypatch.setattr("rayal.storage.journal.FORMAT", 2)
    with Journal(Folder(tmp_path), {}):
        pass


def test_a_folder_that_is_made_once(tmp_path: Path) -> None:
    """Space is freed, or another place is chosen."""
    full = True

    def write(out: Path) -> None:
        if full:
            raise OSError(28, "No space left on device")
        (out / "done").write_bytes(b"")

    with pytest.raises(StorageError, match="free space or choose another place$"):
        build_once(Folder(tmp_path / "x"), "done", write, tmp_path)
    full = False
    for place in (tmp_path, tmp_path / "elsewhere"):
        place.mkdir(exist_ok=True)
        build_once(Folder(place / "x"), "done", write, place)
        assert Folder(place / "x").exists("done")


def table(**columns: Any) -> bytes:
    """A Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (b"", "download or write it again"),
        (b"<html>", "the download failed: download it again"),
        (b"version https://git-lfs.github.com/spec/v1", "fetch that with `git lfs pull`"),
        (gzip.compress(table(a=[1])), "is packed with gzip; unpack it"),
        (b"BZh", "is packed with bzip2; unpack it"),
        (b"\xfd7zXZ", "is packed with xz; unpack it"),
        (b"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it"),
        (table(a=[1])[:-9], "cannot be read: .*; restore it from a copy"),
    ],
)
def test_the_file_itself(tmp_path: Path, wrong: bytes, message: str) -> None:
    """Fetched, unpacked, restored: in its place."""
    file = tmp_path / "a.parquet"
    file.write_bytes(wrong)
    with pytest.raises(DataError, match=f"{message}$"), open_parquet(str(file)):
        pass

    unpacked = gzip.decompress(wrong) if wrong[:2] == b"\x1f\x8b" else table(a=[1])
    file.write_bytes(unpacked)
    with open_parquet(str(file)) as parquet:
        assert 1 == parquet.metadata.num_rows


class _Own(pa.ExtensionType):
    """A column that only its writer can read."""

    def __init__(self) -> None:
        super().__init__(pa.list_(pa.uint8()), "their.own")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""


def test_columns_written_again(tmp_path: Path) -> None:
    """Of two columns of a name one, of two types one, of a foreign type bytes or a tensor."""
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    own = pa.ExtensionArray.from_storage(_Own(), pa.array([[1]], pa.list_(pa.uint8())))
    first, second = tmp_path / "0.parquet", tmp_path / "1.parquet"
    pixels = pa.array([[1]], pa.list_(pa.uint8(), 1))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.uint8(), [1]), pixels)
    cases = [
        ([twice], "rename all but one", [twice.rename_columns(["a", "b"])]),
        (
            [pa.table({"a": [1]}), pa.table({"a": ["1"]})],
            "in 0.parquet int64; write it again with one type",
            [pa.table({"a": ["1"]}), pa.table({"a": ["2"]})],
        ),
        ([pa.table({"a": own})], "write it as binary, or as", [pa.table({"a": [b"1"]})]),
        ([pa.table({"a": own})], "fixed-shape tensor", [pa.table({"a": tensors})]),
    ]
    for wrong, message, right in cases:
        files = [first, second][: len(wrong)]
        for file, content in zip(files, wrong, strict=True):
            pq.write_table(content, file)
        with pytest.raises(DataError, match=message):
            footers([str(file) for file in files], ["a"])
        for file, content in zip(files, right, strict=True):
            pq.write_table(content, file)
        assert [1] * len(files) == [
            sum(footer.groups) for footer in footers([*map(str, files)], ["a"]).values()
        ]


@pytest.mark.parametrize(
    ("wrong", "message", "right", "value"),
    [
        ("a: !!str 1", "write plain values only", "a: '1'", "1"),
        ("a: &x 1", "write the value out", "a: 1", 1),
        ("a: 1\nb: *x", "write the value out", "a: 1\nb: 1", 1),
    ],
)
def test_plain_yaml(wrong: str, message: str, right: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"; {message}$"):
        parse(wrong, "f", Path())
    assert value == parse(right, "f", Path()).plain()["a"]


def test_an_override_has_a_value() -> None:
    """null, an empty string, or as in the example."""
    with pytest.raises(UsageError, match="write null for none, '' for an empty string"):
        override(NOTHING, "a=")
    assert {"a": None} == override(NOTHING, "a=null").plain()
    assert {"a": ""} == override(NOTHING, "a=''").plain()
    with pytest.raises(UsageError, match="expected key=value, for example scheme.epochs=20"):
        override(NOTHING, "a")
    assert {"scheme": {"epochs": 20}} == override(NOTHING, "scheme.epochs=20").plain()


def test_a_file_of_settings(tmp_path: Path) -> None:
    """The base that a file extends is made, or named as it is."""
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    with pytest.raises(UsageError, match="b.yaml: there is no such file; check the path"):
        read_yaml(tmp_path / "a.yaml", NOTHING)
    (tmp_path / "b.yaml").write_text("x: 1\n")
    assert {"x": 1} == read_yaml(tmp_path / "a.yaml", NOTHING).plain()
