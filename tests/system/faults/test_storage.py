"""Disks that are full, read-only or lose bits, and folders with odd names (B)."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rayal.errors import StorageError
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run
from tests.support.whole_runs import ONE_THREAD, files_of, go, outcome


def fill(disk: Path) -> None:
    """Leaves no byte free, until `ballast` is removed."""
    ballast = os.open(disk / "ballast", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while True:
            os.write(ballast, bytes(4096))
    os.close(ballast)


def test_no_space_for_any_file(
    guessing: Experiment, whole: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some writer of a run would not survive a full disk, or lose what was there (B01).

    The disk is full at the first write of every file, one file at a time.
    """
    out, write, failed = small_disk / "run", Folder.write, list[str]()

    def write_on_a_full_disk(folder: Folder, name: str, data: bytes) -> Any:
        path = f"{folder.url}/{name}".removeprefix(f"{out}/")
        if threading.current_thread() is threading.main_thread() and path not in failed:
            failed.append(path)
            fill(small_disk)
        return write(folder, name, data)

    monkeypatch.setattr(Folder, "write", write_on_a_full_disk)
    for _ in range(200):
        before = len(failed)
        try:
            go(guessing, out)
            break
        except StorageError as error:
            assert 4 == error.exit_code
            place, _, rest = str(error).partition(": no space for ")
            assert place in {f"{out}/{each}" for each in failed[before:]}
            assert re.match(r"\d+ bytes; free some", rest)
        finally:
            (small_disk / "ballast").unlink(missing_ok=True)
    never_failed = files_of(whole).keys() - set(failed)

    assert {"lock"} == never_failed  # which is empty
    assert 6 < sum("checkpoint-" in path for path in failed)
    assert outcome(whole) == outcome(out)
    assert not list(out.rglob(".tmp-*"))


def test_no_space_to_prepare(small_disk: Path, tiny: Callable[..., Experiment]) -> None:
    """Half a dataset would pass for a whole one, or its rests keep the disk full (B01)."""
    dataset = {"name": "digits", "limit_pool": 600, "limit_test": 100, "store": str(small_disk)}
    fill(small_disk)
    os.truncate(small_disk / "ballast", 3 * 2**20 - 2**14)  # room for a part of it
    with pytest.raises(StorageError, match="cannot be made: .*No space left.*; free space") as full:
        tiny(dataset=dataset).dataset.open()
    left = [path.name for path in small_disk.iterdir() if not path.name.startswith(".lock-")]

    assert (4, ["ballast"]) == (full.value.exit_code, left)

    (small_disk / "ballast").unlink()

    assert 600 == len(tiny(dataset=dataset).dataset.open().pool)


def test_no_space_to_stream(
    small_disk: Path,
    tmp_path: Path,
    tiny: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full /tmp would end in a traceback, or count against the run folder's disk (B01)."""
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    x = tiny(compute={**ONE_THREAD, "resident_bytes": 0})
    fill(small_disk)
    with pytest.raises(StorageError, match=f"{small_disk}: no room for 20 .*set TMPDIR"):
        go(x, tmp_path / "run")
    (small_disk / "ballast").unlink()
    go(x, tmp_path / "run")
    resident = tiny(compute=ONE_THREAD)
    go(resident, tmp_path / "resident")

    assert outcome(tmp_path / "resident") == outcome(tmp_path / "run")


FINISHED = [  # what later stages, or another start, rely upon
    "run.json",
    "identity.json",
    "cycle-000/initial/done.json",
    "cycle-000/initial/labels.parquet",
    "cycle-000/train/done.json",
    "cycle-000/train/weights.safetensors",
    "cycle-000/evaluate/done.json",
    "cycle-000/score/done.json",
    "cycle-000/score/shard-00001.parquet",
]


def flip(data: bytes) -> bytes:
    """One bit of it."""
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    return bytes(flipped)


DAMAGES: list[Callable[[bytes], bytes]] = [
    flip,
    lambda data: data[: len(data) // 2],
    lambda data: data[:-2],
    lambda data: b"",
]


@pytest.mark.parametrize("name", FINISHED)
def test_damage_to_finished_work_is_named(
    guessing: Experiment, before_select: Path, whole: Path, tmp_path: Path, name: str
) -> None:
    """Damaged weights would be scored with, and damaged scores be chosen by (B04, B05)."""
    out = tmp_path / "run"
    shutil.copytree(before_select, out)
    if name.endswith("weights.safetensors"):  # nothing in this cycle would read them again
        (out / "cycle-000/score/done.json").unlink()
        (out / "cycle-000/score/shard-00000.parquet").unlink()
    good = (out / name).read_bytes()
    for damage in DAMAGES:
        (out / name).write_bytes(damage(good))
        with pytest.raises(StorageError) as damaged:
            go(guessing, out)

        assert 4 == damaged.value.exit_code
        assert f"{out}/{name} is damaged" in str(damaged.value)

    (out / name).write_bytes(good)
    go(guessing, out)

    assert outcome(whole) == outcome(out)


def test_no_checkpoint_is_left(whole: Path) -> None:
    """The disk would fill with what nobody needs once a training is done (B16)."""
    assert not list(whole.rglob("checkpoint-*"))


def test_a_run_in_a_folder_with_an_odd_name(
    guessing: Experiment, whole: Path, tmp_path: Path
) -> None:
    """Paths are spelled by people (B11)."""
    out = tmp_path / "é #1 100%25 [x]\n~ $HOME"
    store = guessing.dataset.model_copy(update={"store": str(out / "stores")})
    go(guessing.model_copy(update={"dataset": store}), out / "run")

    assert outcome(whole) == outcome(out / "run")


def test_places_that_cannot_hold_a_run(guessing: Experiment, small_disk: Path) -> None:
    """It would fail with a traceback, or only after Ray has started (B11)."""

    def never() -> Any:
        raise AssertionError("an engine was opened")

    (small_disk / "file").write_bytes(b"")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for place, reason in (
        (small_disk / "run", "no permission; choose another folder"),
        (small_disk / "file", "a file is where a folder should be"),
        (Path("/dev/null/run"), "a file is where a folder should be"),
        (small_disk / ("x" * 300), "the path is too long"),
    ):
        with (
            pytest.raises(StorageError, match=reason) as refused,
            start_run(guessing, str(place)) as opened,
        ):
            opened.run(never)
        assert 4 == refused.value.exit_code
