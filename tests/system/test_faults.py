"""Whole runs under faults: what is killed, full, damaged, hostile or unlucky ends with the same
picks, or with one line that names the thing. The letters are those of the fault catalogue."""

import csv
import io
import json
import math
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rayal.cycle import shard_file
from rayal.cycle.loop import first_units
from rayal.cycle.train import TrainJob
from rayal.data import prepare as preparing
from rayal.data.datasets.base import Dataset, Split, Store
from rayal.data.tasks.base import TaskName
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, LockedError, StorageError, UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.oracles.simulated import Simulated
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Model, Outputs
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.report.status import status_rows
from rayal.report.tables import summarise
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record, find_records
from rayal.signals.batch import SIGNAL_NAMES, Signals
from rayal.storage import lock
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from rayal.strategies.cod import COD
from rayal.workflows import run
from tests.support import scenes
from tests.support.doubles import GuessSpec, Silent, strategies_for
from tests.support.killed_run import Runs

KILLED_RUN = Path(__file__).parents[1] / "support" / "killed_run.py"
ONE_THREAD = {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1, "checkpoint_seconds": 0}


class Guessing(COD):
    """COD with a companion: a run with every kind of file."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (GuessSpec(),)


class Interrupted(Exception):
    """What stops a run in these tests."""


class At(Silent):
    """Does something when a stage begins; by default it stops the run there."""

    def __init__(self, cycle: int, stage: str, act: Callable[[], None] | None = None) -> None:
        self.at, self.act = (cycle, stage), act

    def stage(self, cycle: int, stage: str) -> None:
        if (cycle, stage) == self.at:
            if self.act is None:
                raise Interrupted
            self.act()


def go(x: Experiment, out: Path, *watchers: Silent, engine: type[LocalEngine] = LocalEngine) -> Any:
    """Runs to the end, in this process."""
    with run.opened(x, str(out)) as opened:
        return opened.run(lambda: nullcontext(engine(x.compute)), watchers)


def stopped_at(x: Experiment, out: Path, cycle: int, stage: str) -> Path:
    """The folder of a run that was stopped before a stage."""
    with pytest.raises(Interrupted):
        go(x, out, At(cycle, stage))
    return out


def process_in(
    env: dict[str, str], x: Experiment, out: Path, point: str = "none"
) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own that starts with these variables."""
    command = [sys.executable, str(KILLED_RUN), str(out), json.dumps(x.model_dump(mode="json"))]
    return subprocess.run(
        [*command, point], env=os.environ | env, capture_output=True, text=True, timeout=120
    )


def result(out: Path, cycle: int, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = Record(Folder(out)).result(cycle, stage) or {}
    return found


def chosen(out: Path) -> list[list[str]]:
    """The ids that every cycle chose."""
    record = Record(Folder(out))
    found = (record.result(cycle, "select") for cycle in range(100))
    return [done["ids"] for done in found if done is not None]


def outcome(out: Path) -> dict[str, Any]:
    """What a run is judged by: all picks, labels and weights, and the curve without its seconds."""
    patterns = ("*/select/chosen.csv", "*/*/labels.parquet", "*/train/*.safetensors")
    files = {
        str(path.relative_to(out)): path.read_bytes()
        for pattern in patterns
        for path in sorted(out.glob(f"cycle-{pattern}"))
    }
    curve = [
        (row["cycle"], row["labels"], row["cost"], row["accuracy"], row["nll"])
        for row in Record(Folder(out)).cycles()
    ]
    return {**files, "curve": curve}


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def guessing(tiny: Callable[..., Experiment]) -> Experiment:
    return tiny(strategy=Guessing(), compute=ONE_THREAD)


@pytest.fixture(scope="module")
def whole(guessing: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    go(guessing, out)
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("may not mount a disk here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leaves no byte free, until `ballast` is removed."""
    ballast = os.open(disk / "ballast", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while True:
            os.write(ballast, bytes(4096))
    os.close(ballast)


# ------------------------------------------------------------------ A: killed and changed


def test_a_killed_run_refuses_another_configuration(
    whole: Path, tiny: Callable[..., Experiment], process: Runs, tmp_path: Path
) -> None:
    """A run would go on with another learning rate than it began with (A13), or with what a
    killed writer left (A15)."""
    x, point = tiny(compute=ONE_THREAD), "cycle-000/score/shard-00001.parquet"
    killed = process(x, tmp_path, point)
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    leftover = tmp_path / "cycle-000/score/.tmp-half"
    leftover.write_bytes(b"half")
    before = {n: d for n, d in files_of(tmp_path).items() if n != "lock.json"}
    scheme = {"name": "supervised", "epochs": 4, "batch_size": 16, "lr": 0.01}
    changed = tiny(scheme=scheme, seed=1, compute=ONE_THREAD)
    with pytest.raises(LockedError) as refused:
        go(changed, tmp_path)
    del before["cycle-000/score/.tmp-half"]  # swept by whoever holds the lock

    assert 6 == refused.value.exit_code
    assert "(there -> here): seed: 0 -> 1, scheme.lr: 0.05 -> 0.01; use" in str(refused.value)
    assert before == {n: d for n, d in files_of(tmp_path).items() if n != "lock.json"}

    go(x, tmp_path)

    assert chosen(whole)[0] != [] != chosen(tmp_path)
    assert not list(tmp_path.rglob(".tmp-*"))


def test_orphans_are_listed(
    guessing: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files would vanish from a run folder without a word (A15)."""
    stopped_at(guessing, tmp_path, 0, "train")
    (tmp_path / "cycle-000/.tmp-1").write_bytes(b"half")
    with caplog.at_level("INFO", "rayal"):
        go(guessing, tmp_path)

    assert f"removed the unfinished file {tmp_path}/cycle-000/.tmp-1" in caplog.text


# ------------------------------------------------------------------ B: storage


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
        try:
            go(guessing, out)
            break
        except StorageError as error:
            assert 4 == error.exit_code
            place = re.escape(f"{out}/{failed[-1]}")
            assert re.match(rf"{place}: no space for \d+ bytes; free some", str(error))
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


@pytest.fixture(scope="module")
def before_select(guessing: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped between scoring and selecting."""
    return stopped_at(guessing, tmp_path_factory.mktemp("stopped"), 0, "select")


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
            run.opened(guessing, str(place)) as opened,
        ):
            opened.run(never)
        assert 4 == refused.value.exit_code


# ------------------------------------------------------------------ C: divided otherwise


def sixty(tiny: Callable[..., Experiment], rows: int, **fields: Any) -> Experiment:
    """An experiment on 60 images, scored in shards of `rows`."""
    dataset = {"name": "digits", "limit_pool": 60, "limit_test": 30, **fields.pop("dataset", {})}
    compute = {**ONE_THREAD, "shard_rows": rows, "score_batch": 16}
    budget = {"initial": 15, "per_cycle": 15, "total": 45}
    return tiny(dataset=dataset, compute=compute, budget=budget, **fields)


@pytest.mark.parametrize("strategy", ["cod", "random"])
def test_any_division_of_the_pool_chooses_the_same(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
) -> None:
    """Another number of shards, or another size of row groups, would select others (C01, G11)."""
    found, shards = [], []
    for group in (1, 7, 9, 20, 30, 256):
        monkeypatch.setattr(preparing, "GROUP_ROWS", group)
        out, dataset = tmp_path / str(group), {"store": str(tmp_path / f"stores-{group}")}
        go(sixty(tiny, group, dataset=dataset, strategy=strategy), out)
        folder, done = Folder(out / "cycle-000/score"), result(out, 0, "score")
        tables = [shard_file.read(folder, file["name"]) for file in done["shards"]]
        columns = pa.concat_tables(tables).sort_by("id").select(["id", f"score.{strategy}"])
        found.append((chosen(out), columns.to_pydict()))
        shards.append(len(tables))

    assert [45, 9, 7, 3, 2, 1] == shards
    assert 2 == len(found[0][0])
    for other in found[1:]:
        assert found[0] == other


class Shuffled(LocalEngine):
    """Shards come back in any order."""

    def score(self, job: Any, tasks: Any) -> Iterator[Any]:
        return super().score(job, random.Random(job.cycle).sample(tasks, len(tasks)))


def test_any_order_of_the_shards_chooses_the_same(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results would be joined by position (C02)."""
    monkeypatch.setattr(preparing, "GROUP_ROWS", 10)
    x = sixty(tiny, 10, dataset={"store": str(tmp_path)}, observers=["entropy", "random"])
    go(x, tmp_path / "sorted")
    go(x, tmp_path / "shuffled", engine=Shuffled)

    assert outcome(tmp_path / "sorted") == outcome(tmp_path / "shuffled")


class Packed(LocalEngine):
    """Notes how large jobs are on their way to workers."""

    def train(self, jobs: Any) -> Iterator[Any]:
        (job,) = jobs
        SIZES["train"] = len(pickle.dumps(job))
        SIZES["train 25,000 images"] = len(pickle.dumps(with_labels(job, 25_000)))
        return super().train(jobs)

    def evaluate(self, job: Any) -> Any:
        SIZES["evaluate"] = len(pickle.dumps((job, job.shards())))
        return super().evaluate(job)

    def score(self, job: Any, tasks: Any) -> Iterator[Any]:
        SIZES["score"] = len(pickle.dumps(job))
        SIZES["shard"] = max(len(pickle.dumps(task)) for task in tasks)
        return super().score(job, tasks)


SIZES: dict[str, int] = {}


def with_labels(job: TrainJob, count: int) -> TrainJob:
    ids = tuple(f"train-{n:05d}" for n in range(count))
    return replace(job, ids=ids, labels=tuple(range(count)))


def test_jobs_are_small(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Images or weights would travel with every task, through Ray's head node (C14)."""
    x = tiny(model={"name": "small_cnn", "width": 32}, observers=["entropy"], compute=ONE_THREAD)
    go(x, tmp_path, engine=Packed)
    weights = (tmp_path / "cycle-000/train/weights.safetensors").stat().st_size

    assert {"train", "train 25,000 images", "evaluate", "score", "shard"} == SIZES.keys()
    assert SIZES.pop("train 25,000 images") < 10**6
    assert max(SIZES.values()) < 10**4 < weights / 50


# ------------------------------------------------------------------ E: the pool


def encoded(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> bytes:
    seed = abs(hash((kind, mode, size))) % 1000
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, kind)
    return data.getvalue()


def digits_png() -> Iterator[bytes]:
    """The bundled digits as PNG files."""
    from sklearn.datasets import load_digits

    for image in load_digits().images:
        data = io.BytesIO()
        Image.fromarray((image * 15).astype(np.uint8)).convert("RGB").save(data, "PNG")
        yield data.getvalue()


BOMB = (  # a PNG of a few bytes that claims 60,000 x 60,000 pixels
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\xb5\x4a\xbe\x28"
)
BAD = {
    "null": None,
    "empty": b"",
    "text.jpg": b"hello",
    "cut": encoded(size=(30, 30))[:300],
    "bomb": BOMB,
}
GOOD = {  # E04, E13
    f"good/{mode}-{kind}-{size[0]}x{size[1]}": encoded(kind, mode, size)
    for mode, kind in (("L", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("CMYK", "TIFF"), ("1", "PNG"))
    for size in ((8, 8), (20, 9), (1, 40))
}
ODD_IDS = [  # E09
    *("../../etc/passwd", "/etc/passwd", "a\nb,c\r\n", "\x1b[2J", "ü☃", "=cmd()", " ", '"', "%2e"),
    *("x" * 10_000, "None", "nan", "1e5", "<script>"),
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dataset of images of every mode and size under odd names, with five that are no images."""
    root = tmp_path_factory.mktemp("hostile")
    digits = digits_png()
    pool = {**BAD, **GOOD, **{unit: next(digits) for unit in ODD_IDS}}
    pool |= {f"plain-{n}": next(digits) for n in range(60)}
    test = {f"test-{n}": next(digits) for n in range(20)}
    for name, images in (("pool", pool), ("test", test)):
        columns = {
            "id": pa.array(list(images), pa.string()),
            "image": pa.array(list(images.values()), pa.binary()),
            "label": [n % 3 for n in range(len(images))],
        }
        pq.write_table(pa.table(columns), root / f"{name}.parquet")
    names = {"pool": ["pool.parquet"], "test": ["test.parquet"]}
    return {"name": "parquet", "root": str(root), **names, "size": 8, "encoding": "bytes"}


@pytest.mark.parametrize("encoding", ["raw", "bytes"])
@pytest.mark.parametrize("strategy", ["cod", "random"])
def test_a_hostile_pool(
    tiny: Callable[..., Experiment],
    hostile: dict[str, Any],
    tmp_path: Path,
    encoding: str,
    strategy: str,
) -> None:
    """One bad image or odd id would end a run, be bought, or be lost (E01, E04, E07, E09, E16)."""
    x = tiny(
        dataset={**hostile, "encoding": encoding, "store": str(tmp_path / "stores")},
        strategy=strategy,
        observers=["entropy"],
        budget={"initial": 20, "per_cycle": 30, "total": 94},  # all of the pool, the bad included
        compute={**ONE_THREAD, "score_batch": 16},
    )
    pool = go(x, tmp_path / "run")
    everything = set(x.dataset.open().pool.ids())
    text = (tmp_path / "run/cycle-000/select/chosen.csv").read_text()

    assert 94 == len(everything)
    assert everything - BAD.keys() == pool.labels.keys()
    assert (3, 89.0, ()) == (pool.cycle, pool.spent, pool.refused)
    assert [20, 30, 30, 9] == [list(pool.bought.values()).count(cycle) for cycle in range(-1, 3)]
    assert chosen(tmp_path / "run")[0] == [row["id"] for row in csv.DictReader(io.StringIO(text))]
    for cycle in range(4):  # the last one has nothing but bad images
        assert BAD.keys() == result(tmp_path / "run", cycle, "score")["bad"].keys()
    assert Record(Folder(tmp_path / "run")).complete


def test_too_many_bad_images_stop_a_run(
    tiny: Callable[..., Experiment], hostile: dict[str, Any], tmp_path: Path
) -> None:
    """A broken download would be trained on as if it were a small dataset (E01)."""
    x = tiny(dataset=hostile, budget={"initial": 20, "per_cycle": 30, "total": 50}, max_bad=4)
    with pytest.raises(UsageError, match="max_bad: 4 is less than the 5 images"):
        go(x, tmp_path)

    assert not any(tmp_path.iterdir())


@pytest.fixture
def files(tiny: Callable[..., Experiment], tmp_path: Path) -> Experiment:
    """An experiment on 90 image files that stay where they are."""
    root = tmp_path / "images"
    for number, data in zip(range(110), digits_png(), strict=False):
        split, label = "train" if number < 90 else "test", number % 3
        file = root / split / f"class-{label}" / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tiny(
        dataset={"name": "image_folder", "root": str(root), "encoding": "uri"},
        budget={"initial": 20, "per_cycle": 20, "total": 80},
        compute=ONE_THREAD,
        max_bad=5,
    )


def unlabeled(x: Experiment, count: int) -> list[Path]:
    """Files of the pool that are not labeled at first."""
    store = x.dataset.open()
    first = set(first_units(x, store))
    rest = [unit for unit in store.pool.ids() if unit not in first]
    return [Path(str(x.dataset.root)) / unit for unit in rest[:count]]


def test_images_that_disappear(files: Experiment, tmp_path: Path) -> None:
    """A file that vanishes after it was listed would end the run, or be bought (B14)."""
    gone = unlabeled(files, 5)

    def vanish() -> None:
        for path in gone:
            path.unlink()

    pool = go(files, tmp_path / "run", At(0, "score", vanish))
    names = {str(path.relative_to(str(files.dataset.root))) for path in gone}

    assert 80 == len(pool.labels) and not names & pool.labels.keys()
    for cycle in range(3):
        bad = result(tmp_path / "run", cycle, "score")["bad"]
        assert {unit: f"missing: {files.dataset.root}/{unit}" for unit in sorted(names)} == bad


def test_too_many_images_that_disappear(files: Experiment, tmp_path: Path) -> None:
    """A disk that was unmounted would leave a run that learns from a handful of images (B14)."""
    gone = unlabeled(files, 6)
    hidden = [path.with_suffix(".gone") for path in gone]

    def vanish() -> None:
        for path, elsewhere in zip(gone, hidden, strict=True):
            path.rename(elsewhere)

    with pytest.raises(DataError, match="6 images cannot be decoded, more than max_bad 5") as many:
        go(files, tmp_path / "run", At(0, "score", vanish))
    assert 3 == many.value.exit_code
    assert "missing: " in str(many.value)
    assert not (tmp_path / "run/cycle-000/score/done.json").exists()

    for path, elsewhere in zip(gone, hidden, strict=True):
        elsewhere.rename(path)

    assert 80 == len(go(files, tmp_path / "run").labels)


def test_images_that_come_back(files: Experiment, tmp_path: Path) -> None:
    """A disk that did not answer for a moment would stop the run for ever: the next cycle finds no
    kept prediction of an image that can be read again (B14)."""
    gone = unlabeled(files, 5)
    hidden = [path.with_suffix(".gone") for path in gone]

    def move(old: list[Path], new: list[Path]) -> None:
        for path, elsewhere in zip(old, new, strict=True):
            path.rename(elsewhere)

    vanish = At(0, "score", partial(move, gone, hidden))
    pool = go(files, tmp_path / "run", vanish, At(1, "train", partial(move, hidden, gone)))
    go(files, tmp_path / "undisturbed")
    folder, scored = Folder(tmp_path / "run/cycle-001/score"), dict[str, float]()
    for file in result(tmp_path / "run", 1, "score")["shards"]:
        table = shard_file.read(folder, file["name"]).to_pydict()
        scored |= zip(table["id"], table["score.cod"], strict=True)

    assert (80, 3) == (len(pool.labels), pool.cycle)
    assert 5 == len(result(tmp_path / "run", 0, "score")["bad"])
    assert {} == result(tmp_path / "run", 1, "score")["bad"]
    for path in gone:
        assert 0 < scored[str(path.relative_to(str(files.dataset.root)))] < 1


def test_a_pool_that_changed_is_another_run(files: Experiment, tmp_path: Path) -> None:
    """A resumed run would choose from other images than it began with (E10)."""
    stopped_at(files, tmp_path / "run", 1, "train")
    added = Path(str(files.dataset.root)) / "train/class-0/new.png"
    shutil.copy(added.with_name("000.png"), added)
    with pytest.raises(LockedError, match=r"holds another experiment .*: data: ") as refused:
        go(files, tmp_path / "run")

    assert 6 == refused.value.exit_code

    added.unlink()

    assert 80 == len(go(files, tmp_path / "run").labels)


# ------------------------------------------------------------------ F: labels


@pytest.mark.parametrize("geometry", [{"shape": [12, 16]}, {"size": 16}, {"canvas": [40, 48]}, {}])
@pytest.mark.parametrize("unit", ["train-003", "test-001"])
def test_a_mask_of_another_size(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    unit: str,
    geometry: dict[str, Any],
) -> None:
    """Stretched to its image, or filled up, it would be learned without a word, where nothing else
    is verified (F03)."""
    root = scenes.write(tmp_path / "scenes", pool=6, test=2)
    given = {"encoding": "uri", "verify": False, "mean": [0.5] * 3, "std": [0.25] * 3}
    x = tiny(
        dataset={"name": "camvid", "root": str(root), **given, **geometry},
        task="segmentation",
        model={"name": "small_segmenter", "width": 4},
        strategy="entropy",
    )
    assert 6 == len(x.dataset.open().pool)
    file = root / f"{unit.split('-')[0]}annot/{unit}.png"
    Image.open(file).resize((16, 12), Image.Resampling.NEAREST).save(file)
    with pytest.raises(DataError, match=rf"'{unit}': .* is 12x16 \(HxW\), its image") as stopped:
        go(x, tmp_path / "run")

    assert 3 == stopped.value.exit_code


# ------------------------------------------------------------------ G: scores and selection


class Sick(Model):
    """In evaluation its outputs are `value` for images whose first pixel is bright."""

    value: float | None = None
    """null: not a number"""

    def network(self, num_classes: int, image: Any) -> nn.Module:
        network = SmallCnn(width=8, dropout=0.5).network(num_classes, image)
        forward_in_health, value = network.forward, math.nan if self.value is None else self.value

        def forward(images: Tensor) -> Outputs:
            outputs = forward_in_health(images)
            if not network.training:
                sickness = torch.where(images[:, 0, 0, 0, None] > 0.5, value, 0.0)
                logits, features = (healthy + sickness for healthy in outputs[:2])
                return outputs._replace(logits=logits, features=features)
            return outputs

        network.forward = forward  # type: ignore[method-assign]
        return network


class Infinitely(Sick):
    """Outputs that JSON cannot hold."""

    sign: int

    def network(self, num_classes: int, image: Any) -> nn.Module:
        return Sick.network(self.model_copy(update={"value": self.sign * math.inf}), 10, image)


@pytest.fixture(scope="module")
def sick_pool(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, Any]]:
    """Datasets of 100 digits of which the last `count` have a bright first pixel."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * 15).astype(np.uint8)[:, None]
    pixels[:, 0, 0, 0] = 0

    def build(count: int) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("sick")
        for name, rows in (("pool", range(100)), ("test", range(100, 150))):
            images = pixels[list(rows)].copy()
            images[len(images) - count :, 0, 0, 0] = 255 if name == "pool" else 0
            columns = {
                "id": [f"{name}-{row:03d}" for row in rows],
                "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
                "label": digits.target[list(rows)],
            }
            pq.write_table(pa.table(columns), root / f"{name}.parquet")
        names = {"pool": ["pool.parquet"], "test": ["test.parquet"]}
        return {"name": "parquet", "root": str(root), **names}

    return build


SICKNESSES = [Sick(), Infinitely(sign=1), Infinitely(sign=-1)]


@pytest.mark.parametrize("model", SICKNESSES, ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize("strategy", strategies_for("classification"))
def test_no_strategy_chooses_by_what_is_no_number(
    tiny: Callable[..., Experiment],
    sick_pool: Callable[[int], dict[str, Any]],
    tmp_path: Path,
    strategy: str,
    model: Model,
) -> None:
    """A diverged model would choose, since NaN sorts first, the images that it fails on (G01)."""
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    compute = {**ONE_THREAD, "score_batch": 32}
    x = tiny(
        dataset=sick_pool(1),
        model=model,
        strategy=strategy,
        budget=budget,
        compute=compute,
        ensemble=2,
    )
    assert "pool-099" not in first_units(x, x.dataset.open())
    if strategy == "random":  # which asks no model
        assert 40 == len(go(x, tmp_path).labels)
        return
    with pytest.raises(DataError, match="'pool-099'.* lower (scheme.lr|learning rate)") as stopped:
        go(x, tmp_path)

    assert 3 == stopped.value.exit_code
    assert {} == result(tmp_path, 0, "score") == result(tmp_path, 0, "select")
    assert not list(tmp_path.glob("cycle-000/score/*.parquet"))


class SickInAPlace(Model):
    """In evaluation its logits at one place are `value` for images whose first pixel is bright."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    value: Literal["nan", "inf", "-inf"]

    def network(self, num_classes: int, image: Any) -> nn.Module:
        network = SmallSegmenter(width=4).network(num_classes, image)
        forward_in_health = network.forward

        def forward(images: Tensor) -> Outputs:
            outputs = forward_in_health(images)
            if network.training:
                return outputs
            logits = outputs.logits.clone()
            logits[images[:, 0, 0, 0] > 0.5, :, 1, 2] = float(self.value)
            return outputs._replace(logits=logits)

        network.forward = forward  # type: ignore[method-assign]
        return network


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of an experiment on scenes of which the last has a bright first pixel."""
    root = scenes.write(tmp_path_factory.mktemp("scenes"), pool=12, test=2)
    for file in [*root.glob("train/*.png"), *root.glob("test/*.png")]:
        pixels = np.array(Image.open(file))
        pixels[0, 0] = 255 if file.stem == "train-011" else 0
        Image.fromarray(pixels).save(file)
    return {
        "dataset": {"name": "camvid", "root": str(root)},
        "task": "segmentation",
        "model": {"name": "small_segmenter", "width": 4},
        "scheme": {"name": "supervised", "steps": 4, "batch_size": 4, "lr": 0.01},
        "budget": {"initial": 4, "per_cycle": 4, "total": 8},
        "compute": ONE_THREAD,
    }


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("pixels", ["mean", "max", "above"])
@pytest.mark.parametrize("strategy", ["entropy", "margin", "least_confidence"])
def test_no_image_is_chosen_whatever_its_other_pixels(
    tiny: Callable[..., Experiment],
    street: dict[str, Any],
    tmp_path: Path,
    strategy: str,
    pixels: str,
    value: Any,
) -> None:
    """Of a map a few places may be no numbers: counted as certain they would go unseen (G01)."""
    threshold = {"threshold": 0.1} if pixels == "above" else {}
    chooses = {"name": strategy, "pixels": pixels, **threshold}
    x = tiny(**street | {"model": SickInAPlace(value=value), "strategy": chooses})
    assert "train-011" not in first_units(x, x.dataset.open())
    with pytest.raises(DataError, match="'train-011'.* lower (scheme.lr|learning rate)"):
        go(x, tmp_path)

    assert {} == result(tmp_path, 0, "score") == result(tmp_path, 0, "select")


@pytest.mark.parametrize("count", [30, 100])
def test_many_outputs_that_are_no_numbers(
    tiny: Callable[..., Experiment],
    sick_pool: Callable[[int], dict[str, Any]],
    tmp_path: Path,
    count: int,
) -> None:
    """The same, where some or all of the pool is affected."""
    x = tiny(dataset=sick_pool(count), model=Sick(), strategy="entropy", compute=ONE_THREAD)
    with pytest.raises(DataError, match="'pool-0.* is .*nan"):
        go(x, tmp_path)

    assert {} == result(tmp_path, 0, "score")


def test_a_test_set_without_numbers(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """An accuracy would be computed from outputs that are none (G01)."""

    class Lost(Sick):
        def network(self, num_classes: int, image: Any) -> nn.Module:
            network = super().network(num_classes, image)
            forward = network.forward
            network.forward = lambda images: forward(torch.ones_like(images))  # type: ignore
            return network

    with pytest.raises(DataError, match="outputs are not finite"):
        go(tiny(model=Lost(), compute=ONE_THREAD), tmp_path)

    assert {} == result(tmp_path, 0, "evaluate")


class Constant(Strategy):
    """No unit is better than another."""

    def score(self, s: Signals) -> Tensor:
        return torch.zeros(len(s.ids))


def test_equal_scores_are_a_seeded_choice(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first images of the pool, or of a shard, would be favoured (G02)."""
    found = []
    for group in (9, 20, 256):
        monkeypatch.setattr(preparing, "GROUP_ROWS", group)
        out, dataset = tmp_path / str(group), {"store": str(tmp_path / f"stores-{group}")}
        go(sixty(tiny, group, dataset=dataset, strategy=Constant()), out)
        found.append(chosen(out))
    go(sixty(tiny, 256, strategy=Constant(), seed=1), tmp_path / "other")

    assert found[0] == found[1] == found[2]
    assert found[0] != [sorted(ids) for ids in found[0]]
    assert set(found[0][0]) != set(chosen(tmp_path / "other")[0])


@pytest.mark.parametrize("strategy", ["cod", "entropy", "margin", "least_confidence"])
def test_the_batch_size_moves_near_ties_only(
    tiny: Callable[..., Experiment], tmp_path: Path, strategy: str
) -> None:
    """Scores differ by 1e-7 with the batch; more would make the batch size a hyperparameter of
    the selection (G03). A run continues only with the one that it began with."""
    found = {}
    for batch in (1, 8, 32):
        compute = {**ONE_THREAD, "score_batch": batch}
        out = tmp_path / str(batch)
        stopped_at(tiny(strategy=strategy, compute=compute), out, 1, "train")
        folder, done = Folder(out / "cycle-000/score"), result(out, 0, "score")
        tables = [shard_file.read(folder, file["name"]) for file in done["shards"]]
        column = pa.concat_tables(tables).sort_by("id")[f"score.{strategy}"].to_numpy()
        found[batch] = column, set(chosen(out)[0])
    column, picks = found[32]
    threshold = np.sort(column)[-20]

    for other, picked in (found[1], found[8]):
        np.testing.assert_allclose(column, other, rtol=0, atol=2e-6)
        assert len(picks ^ picked) <= 2 * (np.abs(column - threshold) < 4e-6).sum() - 2


def test_another_batch_size_is_another_run(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A resumed run would choose near ties otherwise than the one that was killed (G03)."""
    stopped_at(tiny(compute={**ONE_THREAD, "score_batch": 32}), tmp_path, 0, "score")
    with pytest.raises(LockedError, match=r"compute.score_batch: 32 -> 8"):
        go(tiny(compute={**ONE_THREAD, "score_batch": 8}), tmp_path)


def test_scoring_twice_is_the_same(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Dropout, batch norm or augmentation would be on while scoring (G12, L09)."""
    augment = {"flip": True, "crop": 2, "cutout": 3}
    x = tiny(
        model={"name": "small_cnn", "width": 8, "dropout": 0.5},
        scheme={"name": "supervised", "epochs": 4, "batch_size": 16, "augment": augment},
        observers=["entropy"],
        compute=ONE_THREAD,
    )
    out = stopped_at(x, tmp_path, 0, "select")
    shards = sorted(out.glob("cycle-000/score/shard-*.parquet"))
    first = [shard.read_bytes() for shard in shards]
    for path in (*shards, out / "cycle-000/score/done.json"):
        path.unlink()
    stopped_at(x, tmp_path, 0, "select")

    assert first == [shard.read_bytes() for shard in shards]


# ------------------------------------------------------------------ J: two at once


def test_a_second_process_is_refused(guessing: Experiment, process: Runs, tmp_path: Path) -> None:
    """Two drivers would write one run (J01)."""
    x = guessing.model_copy(update={"strategy": COD()})
    with run.opened(x, str(tmp_path)):
        second = process(x, tmp_path)

    assert 0 != second.returncode
    assert f"LockedError: {tmp_path} is locked by pid {os.getpid()} on " in second.stderr


TOGETHER = """
import json, logging, os, sys, traceback
from contextlib import nullcontext
from rayal.workflows import run as session
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
import sklearn.datasets, sklearn.model_selection, torch._dynamo  # so that all arrive at one moment

def run(out):
    with session.opened(x, out) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)))

logging.basicConfig(level="INFO", format="%(message)s")
fields, *outs = sys.argv[1:]
x, gate = Experiment.model_validate(json.loads(fields)), os.pipe()
for out in outs:
    if os.fork() == 0:
        os.close(gate[1])
        os.read(gate[0], 1)
        try:
            run(out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
os.close(gate[1])  # for all at once
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in outs])
"""


def test_two_runs_share_one_cache(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A sweep's trials would prepare a dataset side by side, or read half of one (J04)."""
    x, cache = tiny(compute=ONE_THREAD), tmp_path / "cache"
    outs = [str(tmp_path / name / "run") for name in ("a", "b")]
    both = subprocess.run(
        [sys.executable, "-c", TOGETHER, json.dumps(x.model_dump(mode="json")), *outs],
        env=os.environ | {"RAYAL_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    stores = [path for path in (cache / "stores").iterdir() if not path.name.startswith(".lock")]

    assert "[0, 0]\n" == both.stdout, both.stderr
    assert 1 == both.stderr.count("preparing digits")
    assert [x.dataset.open().url.rsplit("/")[-1]] == [store.name for store in stores]
    assert outcome(tmp_path / "a/run") == outcome(tmp_path / "b/run")


def test_readers_during_a_run(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rayal status` and `report` would fail, or show half a cycle, while a run writes (J05)."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    x, ended, seen = tiny(observers=["entropy"], compute=ONE_THREAD), threading.Event(), []

    def write() -> None:
        try:
            go(x, tmp_path / "runs/one")
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        with suppress(UsageError):  # there is no run yet
            (row,) = status_rows([str(tmp_path)])
            (table,) = summarise(find_records([str(tmp_path)])).groups
            shown = len(table.arms[0].runs[0].points)
            seen.append((row["labels"], 20 * shown))
    writer.join()
    labels = [label for label, _ in seen]

    assert {"complete"} == {row["state"] for row in status_rows([str(tmp_path)])}
    assert sorted(seen) == seen and set(labels) <= {0, 20, 40, 60}
    assert len(seen) > 10
    assert all(before <= after for before, after in seen)


# ------------------------------------------------------------------ L: the experiment itself


def reachable(root: object) -> list[Any]:
    """All objects that can be reached from one: attributes, items, closures, bound objects."""
    waiting, found, known = [root], [], set()
    while waiting:
        item = waiting.pop()
        if id(item) in known or isinstance(item, type | ModuleType):
            continue
        known.add(id(item))
        found.append(item)
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            waiting += item
        elif isinstance(item, FunctionType):
            cells = [cell.cell_contents for cell in item.__closure__ or ()]
            waiting += [*cells, item.__defaults__, item.__kwdefaults__]
        elif isinstance(item, MethodType):
            waiting += [item.__self__, item.__func__]
        elif isinstance(item, partial):
            waiting += [item.func, item.args, item.keywords]
        waiting.append(getattr(item, "__dict__", None))
        waiting += [getattr(item, name, None) for name in getattr(item, "__slots__", ())]
    return found


class Spy(Strategy):
    """Keeps everything that it can reach while scoring."""

    needs = SIGNAL_NAMES

    def reference(self, cycle: int) -> Any:
        return "previous" if cycle else "random"

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (EmaTeacherSpec(),)

    def score(self, s: Signals) -> Tensor:
        of_classes = SIGNAL_NAMES - {"grid_entropy"}  # a map, which a classifier does not have
        values = [getattr(s, name) for name in of_classes - {"mc_log_probs", "companion"}]
        values += [s.mc_log_probs(2), s.companion("teacher")]
        CAUGHT.append((list(s.ids), reachable([s, values])))
        return s.noise


CAUGHT: list[tuple[list[str], list[Any]]] = []


def test_scoring_sees_no_label(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A strategy could choose by the labels that it is to ask for (L01)."""
    CAUGHT.clear()
    model = {"name": "small_cnn", "width": 8, "dropout": 0.5}
    x = tiny(strategy=Spy(), compute=ONE_THREAD, ensemble=2, model=model)
    go(x, tmp_path)
    store = x.dataset.open()
    truth = store.labels("pool")

    assert 6 == len(CAUGHT)
    for ids, found in CAUGHT:
        assert len(found) > 100
        forbidden = (Store, Split, Dataset, Oracle, Experiment, Ledger, Record, Folder, Label)
        assert not [item for item in found if isinstance(item, forbidden)]
        texts = [item for item in found if isinstance(item, str) and item not in ids]
        assert not [text for text in texts if store.url in text or str(tmp_path) in text]
        labels = [truth[unit] for unit in ids]
        arrays = [item for item in found if isinstance(item, Tensor | np.ndarray)]
        assert not [
            array
            for array in arrays
            if array.shape == (len(ids),)
            and np.array_equal(
                np.asarray(array.cpu() if isinstance(array, Tensor) else array), labels
            )
        ]


def test_scoring_needs_no_label(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """The pass would read the labels, whether it uses them or not (L01)."""
    x = tiny(
        dataset={"name": "digits", "limit_pool": 600, "limit_test": 100, "store": str(tmp_path)},
        observers=["entropy", "margin"],
        compute=ONE_THREAD,
    )
    go(x, tmp_path / "whole")
    out, folder = stopped_at(x, tmp_path / "run", 0, "score"), Path(x.dataset.open().url)
    for name in ("labels.parquet", "test_labels.parquet"):
        (folder / name).rename(folder / f"{name}.hidden")
        (folder / name).write_bytes(b"nobody may read this")
    with pytest.raises(DataError, match=r"/labels.parquet is damaged or missing"):
        go(x, out)

    assert (0, "label") == Record(Folder(out)).stage_now()
    assert chosen(out) == chosen(tmp_path / "whole")[:1]


def test_the_test_set_decides_nothing(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A model or a selection that follows the test metric reports its own choice (L02)."""
    ends = []
    for name in ("true", "wrong"):
        dataset = {"name": "digits", "limit_pool": 600, "limit_test": 100}
        x = tiny(dataset={**dataset, "store": str(tmp_path / f"{name}-store")}, compute=ONE_THREAD)
        labels = Path(x.dataset.open().url) / "test_labels.parquet"
        if name == "wrong":
            table = pq.read_table(labels)
            wrong = pa.array([(label + 1) % 10 for label in table["label"].to_pylist()])
            pq.write_table(table.set_column(1, "label", wrong), labels)
        go(x, tmp_path / name)
        ends.append(outcome(tmp_path / name))
    curves = [end.pop("curve") for end in ends]

    assert ends[0] == ends[1]
    assert curves[0][-1][3] > 0.3 > curves[1][-1][3]


class Refuses(Oracle):
    """Cannot label every fifth unit that it is asked for; each question costs 1."""

    def answer(self, store: Store, ids: Any, out: Folder) -> dict[str, Label]:
        ASKED.append(list(ids))
        answers = Simulated().answer(store, ids, out)
        return {
            u: a._replace(value=None) if n % 5 == 0 else a
            for n, (u, a) in enumerate(answers.items())
        }


ASKED: list[list[str]] = []


def test_refused_units_are_paid_for_and_not_asked_again(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A budget that forgets refusals buys more than was agreed, or asks for ever (L10, F09)."""
    ASKED.clear()
    x = tiny(oracle=Refuses(), compute=ONE_THREAD)
    pool = go(x, tmp_path)
    asked = [unit for ids in ASKED for unit in ids]
    rows = Record(Folder(tmp_path)).cycles()

    assert (60.0, 48, 12) == (pool.spent, len(pool.labels), len(pool.refused))
    assert 60 == len(asked) == len(set(asked))
    assert [(16, 20.0), (32, 40.0), (48, 60.0)] == [(row["labels"], row["cost"]) for row in rows]
    assert Record(Folder(tmp_path)).complete


# ------------------------------------------------------------------ N: time and environment


def test_the_environment_decides_nothing(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A run would choose otherwise in another time zone or locale, with another hash seed or other
    threads; here it is killed in one environment and goes on in another (N01, N02, N03, N04)."""
    x, point = tiny(compute=ONE_THREAD), "cycle-001/score/shard-00000.parquet"
    go(x, tmp_path / "here")
    west = {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONUTF8": "0"}
    west |= {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2"}
    east = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"}
    east |= {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1"}
    killed = process_in(west, x, tmp_path / "there", point)
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    resumed = process_in(east, x, tmp_path / "there")
    assert 0 == resumed.returncode, resumed.stderr
    texts = [path.read_text() for path in (tmp_path / "there").rglob("*.json")]
    moments = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', "".join(texts))

    assert outcome(tmp_path / "here") == outcome(tmp_path / "there")
    assert len(moments) > 20
    assert not [moment for moment in moments if not moment.endswith("+00:00")]


def test_a_clock_set_back_between_attempts(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts would be ordered by a clock that jumps, and durations be negative (N01)."""

    class HourAgo(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> Any:
            return datetime.now(zone) - timedelta(hours=1)

    x = tiny(compute=ONE_THREAD)
    go(x, tmp_path / "whole")
    stopped_at(x, tmp_path / "run", 1, "score")
    monkeypatch.setattr(lock, "datetime", HourAgo)
    go(x, tmp_path / "run")
    record = Record(Folder(tmp_path / "run"))
    seconds = [v for row in record.cycles() for k, v in row.items() if k.endswith("_seconds") and v]
    done = [
        json.loads((tmp_path / f"run/cycle-{c}/done.json").read_text())
        for c in ("000/train", "001/train", "001/score", "002/train")
    ]

    assert outcome(tmp_path / "whole") == outcome(tmp_path / "run")
    assert [1, 1, 2, 2] == [one["attempt"] for one in done]
    assert done[2]["finished"] < done[1]["finished"]
    assert min(seconds) >= 0


# ------------------------------------------------------------------ what a run leaves


def test_a_recorded_experiment_runs_again(
    whole: Path, guessing: Experiment, tmp_path: Path, tiny: Callable[..., Experiment]
) -> None:
    """A published run folder could not be reproduced (I07)."""
    x = tiny(compute=ONE_THREAD)
    go(x, tmp_path / "one")
    again = config.load(tmp_path / "one/experiment.yaml")
    go(again, tmp_path / "two")

    assert x == again
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")


def test_no_secret_in_a_run(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Run folders are shared, and logs are pasted into issues (C08, K11)."""
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    with caplog.at_level("DEBUG"):
        go(tiny(compute=ONE_THREAD), tmp_path)

    assert not [name for name, data in files_of(tmp_path).items() if b"hunter2" in data]
    assert "hunter2" not in caplog.text


def test_a_report_of_a_run_that_stopped(before_select: Path) -> None:
    """Reports are wanted most where something went wrong (M04)."""
    text = summarise(find_records([str(before_select)])).to_markdown()

    assert "1 of 1 runs not complete" in text
    assert "| 1, 1 partial |" in text
