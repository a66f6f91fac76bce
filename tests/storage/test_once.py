"""A folder is made once and is whole or absent."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import pytest

from rayal.errors import StorageError
from rayal.storage import once as module
from rayal.storage.file_lock import file_lock
from rayal.storage.folder import Folder
from rayal.storage.once import build_once


def write(out: Path) -> None:
    (out / "inner").mkdir()
    (out / "inner" / "a").write_text("content")
    (out / "done").write_text("")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock-"))


def test_makes_the_folder(tmp_path: Path) -> None:
    """Nothing else stays behind, and files can be read by whom the umask allows."""
    build_once(Folder(tmp_path / "x"), "done", write, tmp_path)

    assert ["x"] == names(tmp_path)
    assert "content" == (tmp_path / "x" / "inner" / "a").read_text()
    assert (tmp_path / "x" / "inner").stat().st_mode == (tmp_path / "x").stat().st_mode


def test_two_at_once_build_once(tmp_path: Path) -> None:
    """A sweep's trials open the same dataset in the same second; preparing takes minutes."""
    built, barrier = [], Barrier(4)

    def build(number: int) -> None:
        barrier.wait()
        build_once(
            Folder(tmp_path / "x"), "done", lambda out: (built.append(out), write(out)), tmp_path
        )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(build, range(4)))

    assert 1 == len(built)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """What a failed attempt wrote must not pass for a dataset, nor fill the disk."""

    def fail(out: Path) -> None:
        write(out)
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="x cannot be made.*No space.*free space"):
        build_once(Folder(tmp_path / "x"), "done", fail, tmp_path)

    assert [] == names(tmp_path)


def test_a_kill_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """SIGKILL in the middle: the folder is absent, the lock free, the rest swept by the next."""
    program = """
        import sys, time
        from pathlib import Path
        from rayal.storage.once import build_once
        from rayal.storage.folder import Folder
        def write(out):
            (out / "done").write_text("")
            print("writing", flush=True)
            time.sleep(60)
        root = Path(sys.argv[1])
        build_once(Folder(root / "x"), "done", write, root)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"writing\n" == process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    (leftover,) = names(tmp_path)

    assert leftover.startswith(".tmp-x-")

    build_once(Folder(tmp_path / "x"), "done", write, tmp_path)

    assert ["x"] == names(tmp_path)


def test_a_faster_machine_is_no_error(tmp_path: Path) -> None:
    """Locks do not reach other machines everywhere; then the first rename wins."""

    def overtaken(out: Path) -> None:
        write(out)
        (tmp_path / "x").mkdir()
        write(tmp_path / "x")

    build_once(Folder(tmp_path / "x"), "done", overtaken, tmp_path)

    assert ["x"] == names(tmp_path)


def test_elsewhere_the_marker_is_uploaded_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket there is no rename: a reader must not find the marker before the files."""
    folder, uploaded = Folder(f"memory://{uuid4()}/x"), []
    put = type(folder._fs).put_file

    def recorded(fs: object, local: str, remote: str, **options: object) -> None:
        uploaded.append(remote.rsplit("/x/")[-1])
        put(fs, local, remote, **options)

    monkeypatch.setattr(type(folder._fs), "put_file", recorded)
    build_once(folder, "done", write, tmp_path)

    assert ["inner/a", "done"] == uploaded
    assert ["done", "inner"] == folder.names()
    assert [] == names(tmp_path)


def test_a_stopped_maker_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other process of the project would wait for the store for ever, without a line."""
    monkeypatch.setattr(module, "SILENT", 0.1)
    holder = file_lock(tmp_path / ".lock-x")
    holder.acquire()
    with pytest.raises(StorageError, match=f"lock-x has been held .* by pid {os.getpid()}"):
        build_once(Folder(tmp_path / "x"), "done", write, tmp_path)
    holder.release()
    build_once(Folder(tmp_path / "x"), "done", write, tmp_path)


def test_files_that_come_are_a_sign(tmp_path: Path) -> None:
    """Who prepares a large dataset would be given up."""
    seen = [module._signs(tmp_path, ".tmp-x-")]
    place = tmp_path / ".tmp-x-1/whole"
    place.mkdir(parents=True)
    for act in (lambda: write(place), lambda: (place / "done").unlink()):
        act()
        seen.append(module._signs(tmp_path, ".tmp-x-"))

    assert 3 == len({str(each) for each in seen})


def test_a_folder_that_goes_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits would end with an error at the moment in which the other one is ready."""

    def going(self: Path, pattern: str) -> Iterator[Path]:
        yield self
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "glob", going)

    assert [str(tmp_path)] == [path for path, _ in module._signs(tmp_path, ".tmp-x-")]
