"""Files are whole or absent, and every failure is a StorageError with a way out."""

import errno
import json
import os
import pickle
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayal.errors import LostError, StorageError, UsageError
from rayal.storage.failures import storage_errors, suggesting
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.local_files import temporary_name
from rayal.storage.stage_file import FileLocation

ODD_NAMES = ["a b", "é文", "a#b", "100%25", "line\nbreak", "~", "-rf", "*?[x]", "a:b"]


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder that does not exist yet, on this disk and on an object store."""
    if request.param == "local":
        yield Folder(tmp_path / "folder")
    else:
        folder = Folder(f"memory://{uuid.uuid4().hex}")
        yield folder
        folder.delete()


@pytest.fixture
def disk(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "folder")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A disk that is full: no file of this process grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Not root, who may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def strace(fault: str, script: str, log: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a script whose system calls fail as `fault` says; skips where strace cannot run."""
    calls = fault.split(":")[0]
    tool = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={calls}"]
    if (
        shutil.which("strace") is None
        or subprocess.run([*tool, "true"], capture_output=True).returncode != 0
    ):
        pytest.skip("strace is not installed or may not trace here")
    command = [*tool, "-e", f"inject={fault}", sys.executable, "-B", "-c", script, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_file_comes_back(folder: Folder) -> None:
    """Nothing written would be found again."""
    record = folder.write("sub/a.bin", b"hello")

    assert FileRecord("sub/a.bin", 5, record.sha256) == record
    assert record.sha256.startswith("2cf24dba5fb0a30e")
    assert b"hello" == folder.read("sub/a.bin") == (folder / "sub").read("a.bin")
    assert b"hello" == FileLocation(folder.url, record).read()


def test_a_second_write_replaces_the_first(folder: Folder) -> None:
    """A stage that runs again would keep its old file."""
    folder.write("a", b"long old content")
    folder.write("a", b"new")

    assert b"new" == folder.read("a")
    assert ["a"] == folder.names()


def test_names_are_sorted_and_hide_temporary_files(folder: Folder) -> None:
    """The order of os.listdir, or a killed writer's leftovers, would change results."""
    assert [] == folder.names()
    for name in ("b", "a", "c/d"):
        folder.write(name, b"")
    if folder.local:
        (folder.local / ".tmp-1").write_bytes(b"half")

    assert ["a", "b", "c"] == folder.names()


def test_exists_remove_delete(folder: Folder) -> None:
    """A stage could not be redone, or absence would be an error."""
    folder.remove("a")
    folder.delete()
    folder.write("a", b"")
    folder.write("b/c", b"")

    assert [True, True, True, False] == [folder.exists(x) for x in ("a", "b", "b/c", "x")]

    folder.remove("a")
    (folder / "b").delete()

    assert [False, False] == [folder.exists(x) for x in ("a", "b")]


def test_many_are_removed(folder: Folder) -> None:
    """Files of past cycles would stay, or others go with them."""
    for name in ("a", "b/a", "b/c", "d"):
        folder.write(name, b"")
    folder.remove_all([])
    folder.remove_all(["a", "b/c"])

    assert [False, True, False, True] == [folder.exists(x) for x in ("a", "b/a", "b/c", "d")]


def test_json_and_default(folder: Folder) -> None:
    """Card, configuration and results would change on their way through a file."""
    value = {"é": [1, 2.5, None], "\ud800": "a file name that is not UTF-8"}
    folder.write_json("a.json", value)

    assert value == folder.read_json("a.json") == folder.read_json("a.json", default=None)
    assert folder.read_json("absent.json", default=None) is None
    with pytest.raises(StorageError, match="absent.json: there is no such file"):
        folder.read_json("absent.json")


def test_broken_json_is_named(folder: Folder) -> None:
    """A torn file would end in a traceback from the json module."""
    folder.write("a.json", b'{"a": ')
    with pytest.raises(StorageError, match=r"a\.json is damaged .not JSON"):
        folder.read_json("a.json", default=None)


def test_a_sealed_value_is_what_json_keeps_of_it(folder: Folder) -> None:
    """A result with tuples, integer keys or nan would look damaged when it is read."""
    folder.write_sealed("a.json", {"t": (1, 2), "k": {10: "x", 9: "y"}, "e": 1e-300})
    folder.write_sealed("nan.json", {"n": float("nan")})

    expected = {"t": [1, 2], "k": {"10": "x", "9": "y"}, "e": 1e-300}
    assert expected == folder.read_sealed("a.json")
    assert folder.read_sealed("nan.json")["n"] != folder.read_sealed("nan.json")["n"]
    assert folder.read_sealed("absent.json", default=None) is None


def test_no_bit_of_a_sealed_file_can_flip_unseen(disk: Folder) -> None:
    """A damaged result or label would silently change the science (fault B05)."""
    value = {"seed": 3, "lr": 0.1, "ids": ["a", "b"], "x": {"deep": None}}
    disk.write_sealed("a.json", value)
    whole = disk.read("a.json")
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (disk.local / "a.json").write_bytes(flipped)
        try:
            assert value == disk.read_sealed("a.json")  # the flip did not change the meaning
        except StorageError as error:
            assert "a.json is damaged" in str(error)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"null", b"{}", b'{"sha256": "0"}'])
def test_a_foreign_json_file_is_not_sealed(folder: Folder, content: bytes) -> None:
    """A file that something else wrote would be taken for ours."""
    folder.write("a.json", content)
    with pytest.raises(StorageError, match="is damaged"):
        folder.read_sealed("a.json")


@pytest.mark.parametrize("damaged", [b"", b"con", b"conten", b"contens", b"content "])
def test_read_checks_the_record(folder: Folder, damaged: bytes) -> None:
    """A truncated or altered file would be used (fault B04)."""
    record = folder.write("a", b"content")
    folder.write("a", damaged)
    with pytest.raises(StorageError, match="/a is damaged .*restore"):
        folder.read("a", record)


def test_odd_names_are_ordinary(folder: Folder) -> None:
    """A path with a space, a # or a % would be read as a URL (fault B11)."""
    for name in ODD_NAMES:
        inside = folder / name
        inside.write("x", name.encode())

        assert name.encode() == Folder(inside.url).read("x")
    assert sorted(ODD_NAMES) == folder.names()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "/a", "a//b", "a/", "a\\b", "a\0", "a::b"]
)
def test_names_that_lead_out_are_refused(folder: Folder, name: str) -> None:
    """A name from data could write anywhere (fault K06)."""
    with pytest.raises(UsageError, match="does not name something inside"):
        folder / name
    with pytest.raises(UsageError):
        folder.write(name, b"")


@given(st.text(alphabet="ab./\\~%2e:\0#", max_size=12))
def test_no_name_leads_out(name: str) -> None:
    """As above, for any name."""
    root = Folder("/some/where")
    try:
        inside = root / name
    except UsageError:
        return

    assert inside.url.startswith("/some/where/")
    assert os.path.normpath(inside.url) == inside.url


@pytest.mark.parametrize("url", ["", "a\0b", "nonsense://x", "simplecache::memory://x"])
def test_places_that_cannot_be_opened(url: str) -> None:
    """A mistyped URL would become a local folder, or a traceback."""
    with pytest.raises(UsageError):
        Folder(url)


def test_folder_travels_by_url(folder: Folder) -> None:
    """A worker in another directory would write somewhere else."""
    folder.write("a", b"x")
    other = pickle.loads(pickle.dumps(folder))

    assert folder.url == other.url == Folder(folder.url).url
    assert b"x" == other.read("a")


def test_local_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out runs/x` would mean different places for the driver and its workers."""
    monkeypatch.chdir(tmp_path)
    for spelling in ("runs/x", "./runs/../runs/x/", f"file://{tmp_path}/runs/x"):
        assert tmp_path / "runs/x" == Folder(spelling).local
    assert str(tmp_path / "runs/x") == Folder("runs/x").url


def test_mode_follows_the_umask(disk: Folder) -> None:
    """Colleagues of a group could not read the results (fault B13)."""
    before = os.umask(0o027)
    try:
        disk.write("a", b"")
    finally:
        os.umask(before)

    assert 0o640 == stat.S_IMODE(os.stat(disk.local / "a").st_mode)


def test_temporary_file_is_in_the_target_folder(
    disk: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TMPDIR on another disk a rename is a copy, which can be cut in half (fault B12)."""
    monkeypatch.setenv("TMPDIR", "/nowhere")
    moves = []
    monkeypatch.setattr(os, "replace", lambda *paths: moves.append(paths))
    disk.write("a", b"")

    ((source, target),) = moves
    assert disk.local == Path(source).parent == Path(target).parent


def test_full_disk_leaves_the_old_file_whole(disk: Folder) -> None:
    """A full disk would destroy what was there (fault B01)."""
    disk.write("a", b"old")
    with file_size_limit(1000), pytest.raises(StorageError) as caught:
        disk.write("a", bytes(5000))

    assert f"{disk.url}/a: no space for 5000 bytes; free some" in str(caught.value)
    assert b"old" == disk.read("a")
    assert ["a"] == os.listdir(disk.local)


def test_places_where_one_may_not_write() -> None:
    """A read-only folder would end in a traceback, or only hours later (fault B11)."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o555)
        with ordinary_user(), pytest.raises(StorageError, match="no permission; choose another"):
            Folder(place).write("a", b"")
        with ordinary_user(), pytest.raises(StorageError, match="no permission"):
            Folder(f"{place}/new").make()


def test_unreadable_is_not_absent() -> None:
    """A stage whose folder cannot be looked into would be bought and trained a second time."""
    with tempfile.TemporaryDirectory() as place:
        Folder(place).write("done.json", b"")
        os.chmod(place, 0o000)
        with ordinary_user(), pytest.raises(StorageError, match="no permission"):
            Folder(place).exists("done.json")


def test_a_file_where_the_folder_should_be(disk: Folder) -> None:
    """`--out results.csv` would end in a traceback (fault B11)."""
    disk.write("a", b"")
    for attempt in (lambda: (disk / "a").write("b", b""), (disk / "a").make):
        with pytest.raises(StorageError, match="a file is where a folder should be"):
            attempt()
    with pytest.raises(StorageError, match="path is too long"):
        disk.write("x" * 300, b"")


def test_sweep_removes_leftovers_only(disk: Folder) -> None:
    """Every kill would leave rubbish for ever, or a sweep would remove results (fault A15)."""
    disk.write("cycle-000/train/weights", b"w")
    one, two, three = sorted(temporary_name() for _ in range(3))
    for leftover in (one, f"cycle-000/{two}-abc_1234/part", f"cycle-000/train/{three}"):
        path = disk.local / leftover
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")

    assert [one, f"{two}-abc_1234", three] == sorted(Path(x).name for x in disk.sweep())
    assert [] == disk.sweep() == Folder(f"memory://{uuid.uuid4().hex}").sweep()
    assert b"w" == disk.read("cycle-000/train/weights")


@pytest.mark.parametrize("name", [".tmp-cache", ".tmp-mlflow.db", ".tmp-photos-abcd1234"])
def test_what_others_call_temporary_stays(disk: Folder, name: str) -> None:
    """`--out .` would delete the user's own folder, or what another process is preparing."""
    for place in (disk.local / name, disk.local / "below" / name):
        place.mkdir(parents=True)
        (place / "theirs").write_bytes(b"t")

    assert [] == disk.sweep() == disk.sweep_new()
    assert (disk.local / "below" / name / "theirs").exists()


def test_a_reader_never_sees_half_a_file(disk: Folder) -> None:
    """`rayal status` during a run would read torn files (fault J05)."""
    contents = [bytes([i]) * 100_000 * (i + 1) for i in range(3)]
    disk.write("a", contents[0])
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            for content in contents:
                disk.write("a", content)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = {disk.read("a") for _ in range(300)}
    stop.set()
    writer.join()

    assert seen <= set(contents)


def test_a_listing_is_whole_while_files_are_replaced(disk: Folder) -> None:
    """A temporary file that is gone a moment later would empty the listing: no cycle would be seen,
    no checkpoint be found (J05; so with fsspec 2024.6)."""
    for name in ("a", "b/c"):
        disk.write(name, b"")
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            disk.write("a", b"x")

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = {(*disk.names(), "|", *disk.folders()) for _ in range(2000)}
    stop.set()
    writer.join()

    assert {("a", "b", "|", "b")} == seen


def test_links_to_folders_are_not_walked(disk: Folder) -> None:
    """One that leads back up would make `rayal status runs` look for ever."""
    disk.write("a/b", b"")
    (disk.local / "a/up").symlink_to("..")

    assert [["a"], []] == [disk.folders(), (disk / "a").folders()]


def test_suggesting_adds_a_way_out() -> None:
    """The message would not say what only the caller knows."""
    with pytest.raises(StorageError, match="^a is damaged, or delete it$"):
        with suggesting("delete it"):
            raise LostError("a is damaged")


@pytest.mark.parametrize(
    "error", [PermissionError(), ConnectionError("refused"), OSError(5, "I/O")]
)
@pytest.mark.parametrize("url", ["/runs/stage", "s3://runs/stage"])
def test_what_cannot_be_read_now_is_not_to_be_deleted(error: OSError, url: str) -> None:
    """A finished training would be thrown away for a network that was down."""
    with (
        pytest.raises(StorageError) as told,
        suggesting(f"delete the folder {url} to do that stage again"),
        storage_errors(f"{url}/done.json"),
    ):
        raise error

    assert "delete" not in str(told.value) and not isinstance(told.value, LostError)


WRITE_NEW = """
import sys
from rayal.storage.folder import Folder
try:
    Folder(sys.argv[1]).write("a", b"new")
    print("written")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("call", ["rename", "fsync", "openat"])
def test_killed_at_any_system_call(disk: Folder, tmp_path: Path, call: str) -> None:
    """A kill in the middle of a write would lose the old file and not have the new one."""
    disk.write("a", b"old")
    log = tmp_path / "log"
    counted = strace(f"?{call}:delay_enter=0", WRITE_NEW, log, disk.url)
    total = len(log.read_text().splitlines())
    first = 1 if call != "openat" else total - 3  # before that Python opens its own files

    assert "written\n" == counted.stdout
    assert total >= 1
    for n in range(first, total + 1):
        disk.write("a", b"old")
        killed = strace(f"?{call}:signal=KILL:when={n}", WRITE_NEW, log, disk.url)

        assert -signal.SIGKILL == killed.returncode
        assert disk.read("a") in (b"old", b"new")
        assert ["a"] == disk.names()
        disk.sweep()
        assert ["a"] == os.listdir(disk.local)


def test_content_is_on_the_disk_before_its_name(disk: Folder, tmp_path: Path) -> None:
    """After a power cut a finished stage would be an empty file."""
    disk.make()
    log = tmp_path / "log"
    strace("?fsync,?rename,?renameat:delay_enter=0", WRITE_NEW, log, disk.url)
    calls = [line.split()[1].split("(")[0] for line in log.read_text().splitlines()]

    assert ["fsync", "rename", "fsync"] == [call.removesuffix("at") for call in calls]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fsync:error=EIO:when=1", "Input/output error; check the storage"),
        ("write:error=ENOSPC:when=1", "no space for 3 bytes"),
        ("?rename,?renameat:error=EROFS:when=1", "no permission"),
    ],
)
def test_system_calls_that_fail(disk: Folder, tmp_path: Path, fault: str, message: str) -> None:
    """A failed fsync would be taken for success after a second try (fault B03)."""
    disk.write("a", b"old")
    log = tmp_path / "log"
    result = strace(fault, WRITE_NEW, log, disk.url)

    assert result.stdout.startswith(f"StorageError {disk.url}/a: ")
    assert message in result.stdout
    assert b"old" == disk.read("a")
    assert ["a"] == os.listdir(disk.local)
    if fault.startswith("fsync"):
        assert 1 == len(log.read_text().splitlines())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_shared_disk_that_cannot_sync_folders(
    disk: Folder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """rayal would not run on a network disk that syncs files only; a failure is still a failure."""
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    if number == errno.EIO:
        with pytest.raises(StorageError, match="Input/output error"):
            disk.write("a/b", b"x")
    else:
        disk.write("a/b", b"x")

        assert b"x" == disk.read("a/b")


def test_json_is_for_people_too(disk: Folder) -> None:
    """Run folders could not be read with an editor."""
    disk.write_json("a.json", {"a": 1})

    assert '{\n "a": 1\n}\n' == disk.read("a.json").decode()
    assert {"a": 1} == json.loads(disk.read("a.json"))
