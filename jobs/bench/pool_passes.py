"""Passes over generated pools, and over pools that nobody has scored, with a model in a file."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rayal.cycle import shard_file
from rayal.cycle.engine import Engine
from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.runs.events import Event, Observer
from rayal.runs.passes import Pass
from rayal.storage.folder import Folder, Json
from rayal.workflows.run import start_engine
from rayal.workflows.score import start_scoring
from rayal.workflows.score.settings import PoolScoring
from rayal.workflows.select.finished_pass import FinishedPass

MODEL = "model.safetensors"
SHARD = 512  # rows of a shard where nothing else is said
PICTURES = 256
JPEG = (".jpg", ".jpeg")
SCORED = 100_000  # rows of a shard of scores that were not scored
TINY = ModelCard(
    model=SmallCnn(width=1),
    classes=("cat", "dog"),
    image=ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,)),
    decoding=Decoding(channels=1, size=8),
)


def write_model(card: ModelCard, folder: Path) -> None:
    (folder / MODEL).write_bytes(TrainedModel.of(card, card.untrained(seed=1)).data())


def write_photos(folder: Path, count: int, source: Path | None) -> None:
    """JPEG files, the same few hundred again and again: those in `source`, or drawn ones."""
    if source is None:
        pictures = [_drawn(number) for number in range(PICTURES)]
    else:
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in JPEG)
        pictures = [path.read_bytes() for path in found[:PICTURES]]
    if not pictures:
        raise SystemExit(f"{source} holds no JPEG files; name another folder with --photos")
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:08d}.jpg").write_bytes(pictures[number % len(pictures)])


def _drawn(number: int) -> bytes:
    """A few shapes on a smooth ground: without noise, which would take longer than photographs."""
    rng = np.random.default_rng(number)
    ground = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    picture = ground.resize((500, 375), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for left, top, width, height in rng.integers(0, 250, (40, 4)).tolist():
        box = left, top, left + width, top + height
        draw.ellipse(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=90)
    return data.getvalue()


def write_raw(folder: Path, rows: int, spec: ImageSpec, of_file: int, of_group: int) -> None:
    """Parquet files of random pixels, of so many rows each, and so many in a row group."""
    folder.mkdir()
    rng = np.random.default_rng(rows)
    for start in range(0, rows, of_file):
        count = min(of_file, rows - start)
        images = rng.integers(0, 256, (count, *spec.shape), np.uint8)
        columns = {
            "id": pa.array([f"unit-{row:010d}" for row in range(start, start + count)]),
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        }
        path = folder / f"part-{start // of_file:05d}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=of_group)


def tiny_pool(folder: Path, rows: int, shard: int = SHARD) -> None:
    """Where `tiny` looks for it."""
    write_raw(folder / f"pool-{rows}", rows, TINY.image, SCORED, shard)


def tiny(folder: Path, rows: int, engine: str, shard: int = SHARD) -> PoolScoring:
    return scoring(folder, rows, min(shard, 256), {"engine": engine, "shard_rows": shard})


def scoring(folder: Path, rows: int, batch: int, compute: Json) -> PoolScoring:
    """Of the pool of so many rows in this folder, by the model in it."""
    return PoolScoring.model_validate(
        {
            "checkpoint": str(folder / MODEL),
            "pool": str(folder / f"pool-{rows}"),
            "strategies": ["entropy"],
            "batch": batch,
            "compute": {"device": "cpu", **compute},
        }
    )


def score(settings: PoolScoring, out: str, engine: Engine, observer: Observer | None = None) -> str:
    """What `rayal score` does once the cluster is there; the folder that it wrote."""
    with start_scoring(settings, out) as opened:
        opened.run(lambda: nullcontext(engine), observer or Unwatched())
    return out


def new_folder(scratch: str | Path) -> str:
    return tempfile.mkdtemp(dir=scratch)


def column(out: str, name: str) -> NDArray[np.floating]:
    """Of a finished pass."""
    done = FinishedPass(out)
    tables = shard_file.shards(done.folder, done.result, [name])
    return np.concatenate([table[name].to_numpy() for table in tables])


class Unwatched:
    """Nobody is told."""

    def on(self, event: Event) -> None:
        pass


def write_scores(
    folder: Folder,
    units: int,
    name: str,
    drawn: Callable[[np.random.Generator, int], dict[str, NDArray[Any]]],
) -> None:
    """A finished pass of one strategy, that nobody has made."""
    rng, files = np.random.default_rng(0), []
    for start in range(0, units, SCORED):
        ids = [f"unit-{unit:010d}" for unit in range(start, min(start + SCORED, units))]
        data = shard_file.encode(ids, drawn(rng, len(ids)), {})
        files.append(folder.write(f"shard-{start // SCORED:05d}.parquet", data))
    folder.write_sealed(
        "done.json", {"result": Pass(units=units, columns=(name,), shards=tuple(files)).to_json()}
    )


def pass_work(settings: PoolScoring, warm: PoolScoring, scratch: str) -> Callable[[], float]:
    """For `growth`, after a pass that loads what passes load; the memory of a worker of Ray."""
    place = ExitStack()
    engine: Any = place.enter_context(start_engine(settings.compute.for_engine()))
    score(warm, new_folder(scratch), engine)

    def work() -> float:
        workers = Workers()
        with place:
            score(settings, new_folder(scratch), engine, workers)
        return workers.megabytes

    return work


class Workers:
    """The most memory (MB, libraries included) that a worker of this process's Ray has had so far,
    looked at ten times in a pass."""

    def __init__(self) -> None:
        self.megabytes, self._tenths = 0.0, -1

    def on(self, event: Event) -> None:
        if event.total and 10 * (event.done or 0) // event.total > self._tenths:
            self._tenths = 10 * (event.done or 0) // event.total
            self.megabytes = max([self.megabytes, *_worker_peaks()])


def _worker_peaks() -> Iterator[float]:
    """Workers are children of raylet, and that is a child of this process."""
    there = {process["Pid"]: process for process in _processes()}
    for process in there.values():
        parent = there.get(process["PPid"], {})
        if parent.get("PPid") == str(os.getpid()) and "VmHWM" in process:
            yield int(process["VmHWM"].split()[0]) * 1024 / 1e6


def _processes() -> Iterator[dict[str, str]]:
    """What Linux says of each."""
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has ended
            yield dict(line.split(":\t", 1) for line in path.read_text().splitlines())
