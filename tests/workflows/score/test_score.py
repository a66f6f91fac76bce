"""`rayal score` as a whole: what it writes, what it refuses, and that it goes on where it was."""

import csv
import io
import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy.stats import entropy
from torch import nn
from torchvision import models

from rayal import cli
from rayal.cli.scoring import listed
from rayal.cycle import batch_size, scorer, shard_file
from rayal.cycle.score import ScoreJob, ShardTask, pending
from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.pool import census
from rayal.data.tasks.segmentation import Segmentation
from rayal.engine import local
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, LockedError, StorageError, UsageError
from rayal.labeling.budget import Budget
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.card import ModelCard
from rayal.models.companions.base import file_name
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import save_weights
from rayal.parts import build
from rayal.report.status import status_rows, status_table
from rayal.runs.events import Event
from rayal.runs.passes import FastestBatch, PoolScored
from rayal.storage.folder import Folder, Json
from rayal.storage.local_files import TEMPORARY
from rayal.strategies.core_set import CoreSet
from rayal.strategies.entropy import Entropy
from rayal.workflows import score as pool_scoring
from rayal.workflows.run import start_engine
from rayal.workflows.score.models import read_models
from rayal.workflows.score.settings import PoolCompute, PoolScoring
from rayal.workflows.select import select
from rayal.workflows.select.request import Request
from tests.support import killed_score
from tests.support.doubles import Silent
from tests.support.killed_run import Runs
from tests.support.whole_runs import go, sixty, stopped_at

SIDE, CLASSES, UNITS = 8, ("cat", "dog", "owl"), 40
IMAGE = ImageSpec(channels=3, height=SIDE, width=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
MODEL = SmallCnn(width=4, dropout=0.5)
CARD = ModelCard(
    model=MODEL, classes=CLASSES, image=IMAGE, decoding=Decoding(size=SIDE), precision="fp32"
)
OTHER_EMAOD = {"name": "emaod", "teacher": {"alpha": 0.5}}


class Watch(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def further(self, done: int, total: int) -> None:
        self.told.append((done, total))


def network(seed: int = 1) -> nn.Module:
    return CARD.untrained(seed)


def picture(number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return Image.fromarray(noise)


@cache
def png(number: int) -> bytes:
    data = io.BytesIO()
    picture(number).save(data, "PNG")
    return data.getvalue()


def write_pool(path: Path, images: list[bytes | None], group: int = 16) -> Path:
    ids = [f"unit-{number:02d}" for number in range(len(images))]
    table = pa.table({"id": ids, "image": pa.array(images, pa.binary())})
    pq.write_table(table, path, row_group_size=group)
    return path


def write_weights(path: Path) -> Path:
    path.write_bytes(TrainedModel.of(CARD, network()).data())
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "mine.safetensors")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_pool(tmp_path / "pool.parquet", [png(number) for number in range(UNITS)])


def settings(weights: Path, pool: Path, **fields: object) -> PoolScoring:
    compute = {"engine": "local", "device": "cpu", "shard_rows": 8}
    return PoolScoring.model_validate(
        {
            "checkpoint": str(weights),
            "pool": str(pool),
            "strategies": ["entropy", "core_set"],
            "batch": 8,
            "compute": compute,
            **fields,
        }
    )


def score(x: PoolScoring, out: Path) -> dict:
    with pool_scoring.start_scoring(x, str(out)) as opened:
        return opened.run(lambda: start_engine(x.compute.for_engine()), Watch())


def killed(x: PoolScoring, out: Path, point: str) -> dict[str, int]:
    """Scores in a process that is killed; the shards that it has written, and when."""
    out.parent.mkdir(exist_ok=True)
    ended = Runs(out.with_suffix(".log"), killed_score.main)(x, out, point)
    assert -signal.SIGKILL == ended.returncode, ended.stderr
    return written(out)


def written(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "scores").glob("shard-*.parquet")}


class Started(LocalEngine):
    """Must not be asked for anything."""

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[Json]:
        yield pytest.fail("the engine has started")


def rows(out: Path) -> dict[str, list]:
    files = sorted((out / "scores").glob("shard-*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).sort_by("id").to_pydict()


def by_hand(numbers: range, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Entropies and predicted classes without any of rayal's reading, decoding or batching."""
    pixels = np.stack([np.asarray(picture(number)) for number in numbers]) / 255
    images = torch.tensor((pixels - 0.5) / 0.25, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = network(seed).eval()(images).logits.double().numpy()
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return entropy(probs, axis=1), logits.argmax(axis=1)


def test_scores_are_those_of_a_plain_loop(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Another normalisation, a lost row or a class off by one would go unseen."""
    result = score(settings(weights, pool), tmp_path / "out")
    found, (entropies, classes) = rows(tmp_path / "out"), by_hand(range(UNITS))

    assert [f"unit-{number:02d}" for number in range(UNITS)] == found["id"]
    np.testing.assert_allclose(found["score.entropy"], entropies, rtol=1e-5)
    assert classes.tolist() == found["predicted"]
    assert (UNITS, 0, list(CLASSES)) == (result.units, result.bad, list(result.classes))
    assert b"id,reason\r\n" == (tmp_path / "out" / "bad.csv").read_bytes()


def test_who_watches_hears_the_end(weights: Path, pool: Path, tmp_path: Path) -> None:
    """A notebook would wait for a pass that is over."""
    heard: list[Event] = []
    watch = SimpleNamespace(on=heard.append)
    x = settings(weights, pool)
    with pool_scoring.start_scoring(x, str(tmp_path / "out")) as opened:
        opened.run(lambda: start_engine(x.compute.for_engine()), watch)

    assert ["begun", "further", "ended"] == list(dict.fromkeys(event.what for event in heard))
    assert isinstance(heard[-1].result, PoolScored) and UNITS == heard[-1].result.units


def test_a_finished_pass_starts_nothing(weights: Path, pool: Path, tmp_path: Path) -> None:
    """The same command again would score everything anew."""
    x = settings(weights, pool)
    first = score(x, tmp_path / "out")

    with pool_scoring.start_scoring(x, str(tmp_path / "out")) as opened:
        assert opened.complete
        assert first == opened.run(lambda: pytest.fail("an engine was opened"), Watch())


@pytest.mark.parametrize(
    "point",
    [
        "scores/shard-00000.parquet",
        pytest.param("models/*", marks=pytest.mark.slow),
        pytest.param("scores/*-00003.*", marks=pytest.mark.slow),
    ],
)
def test_a_killed_pass_goes_on(weights: Path, pool: Path, tmp_path: Path, point: str) -> None:
    """Rows would be scored twice, lost, or by another batch size (A01)."""
    x = settings(weights, pool, batch="auto")
    done = killed(x, tmp_path / "killed", point)

    score(x, tmp_path / "killed")
    measured = json.loads((tmp_path / "killed/batch/done.json").read_text())["result"]["batch"]
    shard = pq.read_metadata(tmp_path / "killed/scores/shard-00000.parquet").num_rows
    score(settings(weights, pool, batch=min(measured, shard)), tmp_path / "whole")

    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")
    assert done.items() <= written(tmp_path / "killed").items()


def test_a_killed_pass_keeps_shards_with_bad_images(weights: Path, tmp_path: Path) -> None:
    """Of a pool with a bad image in most shards nothing would ever be finished."""
    images: list[bytes | None] = [png(number) for number in range(UNITS)]
    images[3], images[11] = png(3)[:40], None
    x = settings(weights, write_pool(tmp_path / "pool.parquet", images))
    done = killed(x, tmp_path / "out", "scores/*-00003.*")
    strict = x.model_copy(update={"max_bad": 1})
    with pool_scoring.start_scoring(strict, str(tmp_path / "out")) as opened:
        with pytest.raises(DataError, match="2 images .* first is 'unit-03': .*; raise max_bad"):
            opened.run(lambda: nullcontext(Started(x.compute.for_engine())), Watch())

    result = score(x, tmp_path / "out")
    assert 4 == len(done) and done.items() <= written(tmp_path / "out").items()
    assert (UNITS, 2) == (result.units, result.bad)
    bad = list(csv.reader((tmp_path / "out/bad.csv").read_text().splitlines()))
    assert ["id", "unit-03", "unit-11"] == [row[0] for row in bad]


def test_status_tells_how_far_a_pass_is(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Who scores for hours in one terminal would ask in another, and be told there is no run."""
    x = settings(weights, pool)
    done = killed(x, tmp_path / "a/out", "scores/*-00003.*")
    said = {"run": str(tmp_path / "a/out"), "images": 8 * len(done), "of": UNITS}
    (row,) = status_rows([str(tmp_path)])
    assert said.items() <= row.items() and row["state"] == "crashed"
    (tmp_path / "a/out/scores/shard-00000.parquet").write_bytes(b"damaged")
    assert [8 * len(done) - 8] == [row["images"] for row in status_rows([str(tmp_path)])]

    score(x, tmp_path / "a/out")
    nothing = dict.fromkeys("silent_seconds cycle stage labels metric value fine_tuned".split())
    ended = said | nothing | {"state": "complete", "images": UNITS, "message": ""}
    rows = status_rows([str(tmp_path / "a/out")])
    assert [ended] == rows and 0 < len(done) < 5
    file = io.StringIO()
    Console(file=file, width=200).print(status_table(rows))
    assert f"complete {UNITS} of {UNITS} images" in " ".join(file.getvalue().split())


def test_status_of_a_pass_that_has_just_begun(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing a large pool takes minutes, in which nothing is there to count."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool_scoring, "open_pool", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(settings(weights, pool), tmp_path)

    (row,) = status_rows([str(tmp_path)])
    assert ("interrupted", 0, 0) == (row["state"], row["images"], row["of"])
    with pytest.raises(UsageError, match="no run folder is there or below"):
        status_rows([str(tmp_path / "scores")])


def test_images_that_were_missing_are_looked_for_again(weights: Path, tmp_path: Path) -> None:
    """A disk that did not answer for a moment would cost its images for good (B14)."""
    for number in range(UNITS):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    paths = [f"{tmp_path}/{number}.png" for number in range(UNITS)]
    paths[20] = "/dev/null"  # for ever bad
    ids = [f"unit-{number:02d}" for number in range(UNITS)]
    table = pa.table({"id": ids, "image": paths})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=8)
    x = settings(weights, tmp_path / "pool.parquet")
    (tmp_path / "3.png").rename(tmp_path / "gone")
    done = killed(x, tmp_path / "out", "scores/*-00003.*")
    (tmp_path / "gone").rename(tmp_path / "3.png")

    assert 1 == score(x, tmp_path / "out").bad
    assert {"shard-00000.parquet"} == {
        name for name, at in done.items() if written(tmp_path / "out")[name] != at
    }


@pytest.mark.ray
@pytest.mark.slow
def test_a_pass_on_ray_is_killed_and_goes_on(weights: Path, pool: Path, tmp_path: Path) -> None:
    """The shards of actors that outlive the driver would be lost, or those that do not be halves;
    it goes on in one process, which takes the same."""
    x = settings(weights, pool, batch=2)  # many shards: actors go on while the driver dies
    local = x.compute.model_copy(update={"shard_rows": 2})
    on_ray = local.model_copy(update={"engine": "ray", "scorers": 2})
    done = killed(x.model_copy(update={"compute": on_ray}), tmp_path / "killed", "4")

    x = x.model_copy(update={"compute": local})
    score(x, tmp_path / "killed")
    score(x, tmp_path / "whole")
    assert 2 <= len(done) < UNITS // 2 and done.items() <= written(tmp_path / "killed").items()
    for file in (tmp_path / "whole/scores").glob("shard-*.parquet"):
        assert file.read_bytes() == (tmp_path / "killed/scores" / file.name).read_bytes()


def test_another_question_needs_another_folder(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Two models' scores in one folder would be compared with each other."""
    score(settings(weights, pool), tmp_path / "out")

    with pytest.raises(LockedError, match="strategies"):
        score(settings(weights, pool, strategies=["margin"]), tmp_path / "out")
    weights.write_bytes(TrainedModel.of(CARD, network(seed=2)).data())
    with pytest.raises(LockedError, match="weights"):
        score(settings(weights, pool), tmp_path / "out")


def test_a_pool_that_changed_is_refused(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Shards of two states of the pool would be mixed (E10)."""
    x = settings(weights, pool)
    with pool_scoring.start_scoring(x, str(tmp_path / "out")):
        pass
    write_pool(pool, [png(number) for number in range(UNITS + 1)])

    with pytest.raises(
        LockedError, match="40 units then, 41 now; restore .*, or use another --out"
    ):
        score(x, tmp_path / "out")
    assert UNITS + 1 == score(x, tmp_path / "another").units
    write_pool(pool, [png(number) for number in range(UNITS)])
    assert UNITS == score(x, tmp_path / "out").units


def test_a_pool_that_changes_meanwhile_is_refused(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores would stand beside ids of other images."""
    decode = scorer.Scorer.decode

    def other(self: Any, rows: pa.Table) -> Any:
        found = decode(self, rows)
        return found._replace(ids=["same"] * len(found.ids))

    with monkeypatch.context() as patch:
        patch.setattr(scorer.Scorer, "decode", other)
        with pytest.raises(StorageError, match="restore the file, and the same command goes on"):
            score(settings(weights, pool), tmp_path / "out")
    assert UNITS == score(settings(weights, pool), tmp_path / "out").units


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of twenty images, of which one is broken."""
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / f"photos/{number:02d}.png").write_bytes(png(number))
    (tmp_path / "photos/03.png").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_that_changed_is_refused(
    weights: Path, photos: Path, tmp_path: Path, finished: bool
) -> None:
    """Old numbers would be printed for new photographs, and those that came be overlooked."""
    x = settings(weights, photos)
    with pool_scoring.start_scoring(x, f"{tmp_path}/out") as opened:
        if finished:
            opened.run(lambda: start_engine(x.compute.for_engine()), Watch())
    original, another = (photos / "05.png").read_bytes(), png(99)
    for change, undo, said in (
        (lambda: (photos / "new.png").write_bytes(another), (photos / "new.png").unlink, "1 added"),
        (lambda: (photos / "04.png").rename(tmp_path / "4"), None, r"1 gone \(first '04.png'\)"),
        (lambda: (photos / "05.png").write_bytes(another), None, "1 changed"),
    ):
        change()
        with pytest.raises(LockedError, match=f"another state of .*{said}.*restore the files"):
            score(x, tmp_path / "out")
        if undo:
            undo()
        elif (tmp_path / "4").exists():
            (tmp_path / "4").rename(photos / "04.png")
    assert original != another


def test_bad_images_that_are_mended_are_offered(
    weights: Path, photos: Path, tmp_path: Path
) -> None:
    """All would have to be scored again for one that could not be decoded, or it stays bad."""
    x = settings(weights, photos)
    score(x, tmp_path / "out")
    before = written(tmp_path / "out")
    (photos / "03.png").write_bytes(png(3))
    with pool_scoring.start_scoring(x, f"{tmp_path}/out") as opened:
        result = opened.run(lambda: pytest.fail("an engine was opened"), Watch())
        told = list(pool_scoring.lines(result, opened))
    assert not any("rate" in line for line in told), "nothing has run"
    assert any("1 of them changed since; once they are mended, add --retry-bad" in t for t in told)

    with pool_scoring.start_scoring(x, f"{tmp_path}/out", retry_bad=True) as opened:
        result = opened.run(lambda: start_engine(x.compute.for_engine()), Watch())
        assert any("rate" in line for line in pool_scoring.lines(result, opened))
    after = written(tmp_path / "out")
    assert (20, 0) == (result.units, result.bad) and rows(tmp_path / "out")["status"] == ["ok"] * 20
    assert ["shard-00000.parquet"] == [name for name, at in after.items() if before[name] != at]
    assert b"id,reason\r\n" == (tmp_path / "out/bad.csv").read_bytes()
    assert 0 == score(x, tmp_path / "out").bad


def test_a_pass_that_stopped_goes_on_with_mended_images(
    weights: Path, photos: Path, tmp_path: Path
) -> None:
    """Mending what stopped it would be answered by a new start."""
    with pytest.raises(DataError, match="more than max_bad 0"):
        score(settings(weights, photos, max_bad=0), tmp_path / "out")
    (photos / "03.png").write_bytes(png(3))

    assert 0 == score(settings(weights, photos, max_bad=0), tmp_path / "out").bad
    assert ["ok"] * 20 == rows(tmp_path / "out")["status"]


def test_what_is_left_out_is_listed(
    weights: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A count without names cannot be checked."""
    (photos / "notes.txt").touch()
    score(settings(weights, photos), tmp_path / "out")

    assert "1 other file (first 'notes.txt'); all in" in caplog.text
    assert (
        b"path,reason\r\nnotes.txt,other files\r\n" == (tmp_path / "out/left_out.csv").read_bytes()
    )


def test_bad_images_are_counted_with_their_reasons(weights: Path, tmp_path: Path) -> None:
    """One damaged image would end a pass over millions, or vanish (E01, E16)."""
    images = [png(number) for number in range(20)]
    images[3], images[11] = images[3][:40], None
    pool = write_pool(tmp_path / "pool.parquet", images)

    result = score(settings(weights, pool), tmp_path / "out")

    bad = list(csv.reader((tmp_path / "out/bad.csv").read_text().splitlines()))
    assert (20, 2) == (result.units, result.bad)
    assert ["id", "unit-03", "unit-11"] == [row[0] for row in bad]
    assert "no data (null)" == bad[2][1]
    assert None is rows(tmp_path / "out")["score.entropy"][3]
    with pytest.raises(DataError, match="2 images cannot be decoded, more than max_bad 1"):
        score(settings(weights, pool, max_bad=1), tmp_path / "strict")


def test_a_pool_of_bad_images_is_no_success(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Photographs of the wrong size would be "done", with no score at all (E01)."""
    card = CARD.model_copy(update={"decoding": Decoding()})
    weights.write_bytes(TrainedModel.of(card, network()).data())
    large = io.BytesIO()
    Image.new("RGB", (9, 9)).save(large, "PNG")
    few = write_pool(tmp_path / "few.parquet", [large.getvalue()] * 3)
    many = write_pool(tmp_path / "many.parquet", [png(0), *[large.getvalue()] * 11])

    with pytest.raises(DataError, match="no image can be decoded.*'unit-00'.*set size: [0-9]+ of"):
        score(settings(weights, few), tmp_path / "few")
    with pytest.raises(DataError, match="11 images cannot be decoded, more than max_bad 10"):
        score(settings(weights, many), tmp_path / "many")
    assert not (tmp_path / "few/scores/done.json").exists()
    fields = {"decoding": {"size": SIDE}}
    assert 0 == score(settings(weights, few, **fields), tmp_path / "resized").bad


def test_bad_images_have_one_row_each_for_people(weights: Path, tmp_path: Path) -> None:
    """A spreadsheet would run an id (F06), or see two rows."""
    ids = ["=cmd", "a\rb", "c"]
    table = pa.table({"id": ids, "image": pa.array([None, None, png(1)], pa.binary())})
    pq.write_table(table, tmp_path / "pool.parquet")
    score(settings(weights, tmp_path / "pool.parquet"), tmp_path / "out")

    text = (tmp_path / "out/bad.csv").read_bytes().decode()
    found = [row[0] for row in csv.reader(io.StringIO(text, newline=""))]
    assert ["id", "'=cmd", "a\rb"] == found


def test_large_encoded_images_make_small_shards(weights: Path, tmp_path: Path) -> None:
    """A worker would hold gigabytes of photographs that the model sees as thumbnails."""
    images = list[bytes | None]()
    for noise in np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8):
        Image.fromarray(noise).save(data := io.BytesIO(), "PNG")  # 12 kB, decoded 192 bytes
        images.append(data.getvalue())
    pool = write_pool(tmp_path / "pool.parquet", images)
    compute = {"engine": "local", "device": "cpu", "shard_bytes": 60_000}
    score(settings(weights, pool, compute=compute, batch=2), tmp_path / "out")

    files = sorted((tmp_path / "out/scores").glob("shard-*.parquet"))
    assert {4} == {pq.read_metadata(file).num_rows for file in files}


def test_files_of_a_killed_check_are_swept(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bytes of every row would stay on a small system disk, after every kill."""
    seen, check = list[Path](), census._Buckets.sorted

    def look(buckets: Any) -> Any:
        seen.extend((tmp_path / "out/pool").glob(f"{TEMPORARY}*"))
        return check(buckets)

    monkeypatch.setattr(census._Buckets, "sorted", look)
    score(settings(weights, pool), tmp_path / "out")

    assert 1 == len(seen) and not seen[0].exists()


def test_a_shard_holds_whole_batches() -> None:
    """A batch that is filled up takes as long as a full one: a third more work in a pool whose
    shards are three batches and a bit."""
    compute = PoolCompute()
    small = PoolCompute(shard_rows=100)

    assert 768 == pool_scoring.pool_shard_rows(50_000, 192, compute, 256)
    assert 1024 == pool_scoring.pool_shard_rows(50_000, 192, compute, 1024)
    assert 96 == pool_scoring.pool_shard_rows(50_000, 192, small, 32)
    assert 100 == pool_scoring.pool_shard_rows(50_000, 192, small, 256)
    assert 256 == pool_scoring.pool_shard_rows(1, 192, compute)


def test_row_groups_that_ray_reads_again_are_told(
    weights: Path, pool: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of one row group would be read once by every worker, and nobody would know why."""
    x = settings(weights, pool)
    small = {"shard_bytes": 3000}  # more than 8 images have, and less than the 16 read again
    on_ray, whole = ({"engine": "ray", **more} for more in (small, {}))
    cases = (
        (small, 16, False),
        (on_ray, 16, True),
        (on_ray, 8, False),
        (whole, 16, False),  # a small file: nobody would notice
    )
    for number, (update, group, told) in enumerate(cases):
        compute = x.compute.model_copy(update=update)
        caplog.clear()
        write_pool(pool, [png(unit) for unit in range(UNITS)], group)
        with pool_scoring.start_scoring(
            x.model_copy(update={"compute": compute}), f"{tmp_path}/o-{number}"
        ) as o:
            o._tasks(8)
        assert told == ("with that row_group_size" in caplog.text)


def test_another_device_scores_anew(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Scores of a CPU and of a GPU differ in their last bits, and would be ranked together."""
    x = settings(weights, pool)
    done = killed(x, tmp_path / "out", "scores/*-00003.*")
    place = LocalEngine(x.compute.for_engine())
    place.device = "cpu:0"
    with pool_scoring.start_scoring(x, str(tmp_path / "out")) as opened:
        opened.run(lambda: nullcontext(place), Watch())

    after = written(tmp_path / "out")
    assert done and not any(after[name] == at for name, at in done.items())


def test_the_rate_is_that_of_scoring(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hour that a large pass takes to find what is done already would pass for slow scoring."""
    now, found = [0.0], pool_scoring.pending

    def slowly(*given: Any) -> Any:
        now[0] += 3600
        return found(*given)

    monkeypatch.setattr(pool_scoring, "pending", slowly)
    monkeypatch.setattr(pool_scoring, "monotonic", lambda: now[0])
    assert 0 == score(settings(weights, pool), tmp_path / "out").seconds


def test_what_is_there_is_read_once(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on with a million shards in a bucket would take twice the time."""
    x, read, seen = settings(weights, pool), Folder.read, list[str]()
    killed(x, tmp_path / "out", "scores/*-00003.*")

    def noted(self: Folder, name: str, *given: Any) -> bytes:
        seen.append(name)
        return read(self, name, *given)

    with pool_scoring.start_scoring(x, str(tmp_path / "out")) as opened:
        place = LocalEngine(x.compute.for_engine())
        job = opened._job(place, opened.scores)
        monkeypatch.setattr(Folder, "read", noted)
        rest, there = pending(job, opened._tasks(8))

    assert [4] == [task.shard.index for task in rest]
    assert [0, 1, 2, 3] == [result.shard for result in there]
    assert 4 == len(names := [name for name in seen if "shard" in name]) == len(set(names))


def test_duplicate_ids_are_refused_before_any_work(weights: Path, tmp_path: Path) -> None:
    """Which of the two would be labeled?"""
    table = pa.table({"id": ["a", "b", "a"], "image": pa.array([png(0)] * 3, pa.binary())})
    pq.write_table(table, tmp_path / "pool.parquet")

    with pytest.raises(DataError, match="used more than once"):
        score(settings(weights, tmp_path / "pool.parquet"), tmp_path / "out")
    assert not (tmp_path / "out" / "scores").exists()


@pytest.mark.parametrize(
    ("fields", "corrected"),
    [
        ({"id": "id"}, {"id": "shot_id", "image": "photo"}),  # no such column
        ({"id": "kind", "image": "photo"}, {"id": None, "image": "photo"}),  # not unique
        ({"id": "shot_id", "image": "kind"}, {"id": "shot_id", "image": "photo"}),  # no image
    ],
)
def test_a_refused_pool_claims_no_folder(
    weights: Path, tmp_path: Path, fields: Json, corrected: Json
) -> None:
    """The corrected command would be sent to another --out."""
    shots = {"photo": [png(0), png(1)], "kind": pa.array([1, 1]), "shot_id": ["a", "b"]}
    pq.write_table(pa.table(shots), tmp_path / "train.parquet")
    out = tmp_path / "scores"
    with pytest.raises(DataError, match="has no column|used more than once|holds int64"):
        score(settings(weights, tmp_path / "train.parquet", **fields), out)

    assert not out.exists()
    assert 2 == score(settings(weights, tmp_path / "train.parquet", **corrected), out).units


def test_an_empty_pool_claims_no_folder(weights: Path, photos: Path, tmp_path: Path) -> None:
    """Nor would another --pool be taken there; what else lies in the folder stays."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    for nothing in ("empty", "not-there", "*.jpeg"):
        with pytest.raises((DataError, UsageError)):
            score(settings(weights, tmp_path / nothing), tmp_path / "out")

    left = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    assert ["mine.txt"] == left
    assert score(settings(weights, photos), tmp_path / "out").units


def test_a_pass_that_has_begun_keeps_its_folder(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Its scores would be anybody's once its pool is out of reach for a moment."""
    x = settings(weights, pool)
    score(x, tmp_path / "out")
    pool.rename(tmp_path / "moved.parquet")
    with pytest.raises(UsageError, match="there is no pool"):
        score(x, tmp_path / "out")
    (tmp_path / "moved.parquet").rename(pool)

    with pytest.raises(LockedError, match="holds another experiment"):
        score(settings(weights, pool, seed=1), tmp_path / "out")
    assert UNITS == score(x, tmp_path / "out").units


def test_previous_and_members(weights: Path, pool: Path, tmp_path: Path) -> None:
    """COD against the same model is 0; against another it is not (methods, Sec. 1)."""
    other = tmp_path / "other.safetensors"
    other.write_bytes(TrainedModel.of(CARD, network(seed=2)).data())
    strategies = ["cod", "ensemble_entropy"]

    same = {"previous": str(weights), "members": [str(weights)]}
    score(settings(weights, pool, strategies=strategies, **same), tmp_path / "same")
    apart = {"previous": str(other), "members": [str(other)]}
    score(settings(weights, pool, strategies=strategies, **apart), tmp_path / "apart")

    same_rows, apart_rows = rows(tmp_path / "same"), rows(tmp_path / "apart")
    assert [0.0] * UNITS == same_rows["score.cod"]
    np.testing.assert_allclose(
        same_rows["score.ensemble_entropy"], by_hand(range(UNITS))[0], rtol=1e-5
    )
    assert min(apart_rows["score.cod"]) > 0
    assert same_rows["score.ensemble_entropy"] != apart_rows["score.ensemble_entropy"]


@pytest.mark.parametrize(
    ("fields", "message", "step"),
    [
        ({"strategies": ["cod"]}, "give its weights with --previous", {"previous": "mine"}),
        (
            {"strategies": ["variation_ratio"]},
            "give its other members with --member",
            {"members": ["mine"]},
        ),
        (
            {"strategies": ["random_polygon"]},
            "supports segmentation, but the task is .*; choose one of: .*random,",
            {"strategies": ["random"]},
        ),
        (
            {"strategies": ["emaod", OTHER_EMAOD]},
            "strategies ask two kinds of teacher.*give both the same",
            {"strategies": ["emaod", "emaod"]},
        ),
        (
            {"strategies": ["epmcm"]},
            "class_statistics that is made beside the model.*use the folder of a cycle",
            {},
        ),
        ({"model": "resnet18"}, "says itself that it is .*; leave --model out", {"model": None}),
        (
            {"decoding": {"size": 8, "channels": 1}},
            "decoding.channels is 1, but .* on 3; leave it out",
            {"decoding": {"size": 8}},
        ),
        (
            {"mean": (0.5,), "std": (0.5,)},
            "one value for each of 3 channels",
            {"mean": (0.5,) * 3, "std": (0.5,) * 3},
        ),
        ({"mean": (0.5,) * 3}, "set both or neither", {"mean": None}),
        (
            {"classes": ["a", "b"]},
            "2 classes given, the model has 3; give as many: 'cat', 'dog', 'owl'",
            {"classes": ["a", "b", "c"]},
        ),
    ],
)
def test_what_cannot_work_is_said_at_once(
    weights: Path,
    pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict,
    message: str,
    step: dict,
) -> None:
    """The cluster would start, and fail minutes later."""
    with pytest.raises((UsageError, ValueError), match=message):
        score(settings(weights, pool, **fields), tmp_path / "out")

    monkeypatch.chdir(tmp_path)
    weights.rename("mine")
    x = settings(tmp_path / "mine", pool, **{**fields, **step})
    for spec in [spec for each in x.strategies for spec in each.companions()]:
        beside = spec.build(network(), 3, network)  # as the training of a run leaves it
        (tmp_path / file_name(spec.name)).write_bytes(save_weights(beside))
    assert UNITS == score(x, tmp_path / "out").units


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"name": "epmcm", "update_while_scoring": True}, "'epmcm' cannot update_while_scoring on"),
        ("mc_dropout_entropy", "mc_dropout_entropy needs a model with dropout, this one has none"),
    ],
)
def test_what_a_dense_model_cannot_be_asked(
    pool: Path, tmp_path: Path, strategy: object, message: str
) -> None:
    """It would be found out when a whole pool is scored."""
    card = ModelCard(
        model=SmallSegmenter(dropout=0),
        classes=CLASSES,
        image=IMAGE,
        decoding=Decoding(size=SIDE),
        task=Segmentation(),
    )
    file = tmp_path / "dense.safetensors"
    file.write_bytes(TrainedModel.of(card, card.untrained(0)).data())

    with pytest.raises(UsageError, match=message):
        score(settings(file, pool, strategies=[strategy]), tmp_path / "out")
    dropped = card.model_copy(update={"model": SmallSegmenter(dropout=0.5)})
    file.write_bytes(TrainedModel.of(dropped, dropped.untrained(0)).data())
    if strategy == "mc_dropout_entropy":
        read_models(settings(file, pool, strategies=[strategy]))


def test_anybodys_state_dict(pool: Path, tmp_path: Path) -> None:
    """A stranger's own checkpoint would need a rayal run first."""
    torch.save({"state_dict": network().state_dict()}, tmp_path / "mine.pth")
    fields = {"decoding": {"size": SIDE}, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    told = {**fields, "model": MODEL.model_dump(mode="json")}

    with pytest.raises(UsageError, match="give its architecture with --model"):
        score(settings(tmp_path / "mine.pth", pool, **fields), tmp_path / "out")
    with pytest.raises(UsageError, match="give it with --set decoding.size=224"):
        score(settings(tmp_path / "mine.pth", pool, **told | {"decoding": None}), tmp_path / "out")
    result = score(settings(tmp_path / "mine.pth", pool, **told), tmp_path / "out")

    assert ["class-0", "class-1", "class-2"] == list(result.classes)
    np.testing.assert_allclose(
        rows(tmp_path / "out")["score.entropy"], by_hand(range(UNITS))[0], rtol=1e-5
    )


def test_the_chosen_batch_is_kept(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that goes on with another batch would differ in the last bits."""
    x = settings(weights, pool, batch="auto")
    with pool_scoring.start_scoring(x, str(tmp_path / "out")):
        pass
    measured = {"batch": 3, "tried": []}  # a size that is never tried
    Folder(tmp_path / "out/batch").write_sealed("done.json", {"result": measured})
    monkeypatch.setattr(local, "fastest_batch", lambda *_: pytest.fail("measured again"))
    score(x, tmp_path / "out")
    score(settings(weights, pool, batch=3), tmp_path / "given")

    assert [6, 6, 4] * 2 + [6, 2] == [len(shard) for shard in shards(tmp_path / "out")]
    jobs = {
        shard_file.job_of(shard) for name in ("out", "given") for shard in shards(tmp_path / name)
    }
    assert 1 == len(jobs)


def test_the_fastest_batch_is_no_larger_than_a_shard(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten images would take as long as a thousand, most of them copies of the last."""
    monkeypatch.setattr(local, "fastest_batch", lambda *_: FastestBatch(batch=1024))
    tiny = write_pool(tmp_path / "tiny.parquet", [png(number) for number in range(5)])
    for name, file, batch in (("out", pool, 8), ("tiny", tiny, 5)):
        x = settings(weights, file, batch="auto")
        score(x, tmp_path / name)
        score(settings(weights, file, batch=batch), tmp_path / f"{name}-given")
        both = [shards(tmp_path / each) for each in (name, f"{name}-given")]

        assert 1 == len({shard_file.job_of(shard) for each in both for shard in each})


def test_no_batch_is_measured_that_the_pass_cannot_fill(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute would go by over batches of 256 before twenty photographs are scored."""
    monkeypatch.setattr(batch_size, "_measured", lambda scorer, size, _: (float(size**2), 0))
    large = settings(weights, pool, compute={"engine": "local", "shard_rows": 20}, batch="auto")
    tiny = write_pool(tmp_path / "tiny.parquet", [png(number) for number in range(5)])
    small = settings(weights, tiny, batch="auto")
    score(large, tmp_path / "large")
    score(small, tmp_path / "small")
    found = [
        json.loads((tmp_path / name / "batch/done.json").read_text()) for name in ("large", "small")
    ]

    assert [[8, 16, 20], [5]] == [
        [each["batch"] for each in done["result"]["tried"]] for done in found
    ]


def test_no_batch_is_measured_longer_than_the_pass_takes_with_it(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool of forty images would be scored in a moment, after seconds of measuring."""
    computed: list[int] = []
    real = scorer.Scorer.computed

    def counted(self: scorer.Scorer, decoded: Any) -> Any:
        computed.append(len(decoded.ids))
        return real(self, decoded)

    monkeypatch.setattr(batch_size, "SECONDS", float("inf"))
    monkeypatch.setattr(scorer.Scorer, "computed", counted)
    compute = {"engine": "local", "shard_rows": 20}
    score(settings(weights, pool, compute=compute, batch="auto"), tmp_path / "out")

    once_more = 1  # the first batch of a size is not counted
    assert [8] * (5 + once_more) + [16] * (3 + once_more) == computed[:10]


def test_a_batch_that_was_asked_is_no_larger_than_the_pool(
    weights: Path, pool: Path, tmp_path: Path
) -> None:
    """Every batch is filled up: 200,000 images in memory to score forty."""
    with pool_scoring.start_scoring(settings(weights, pool, batch=10**6), f"{tmp_path}/o") as o:
        place = LocalEngine(o.settings.compute.for_engine())
        assert UNITS == o._job(place, o.scores).batch


def shards(out: Path) -> list[pa.Table]:
    return [pq.read_table(file) for file in sorted((out / "scores").glob("shard-*.parquet"))]


def test_select_reads_what_score_wrote(weights: Path, pool: Path, tmp_path: Path) -> None:
    """The two commands would not fit together."""
    score(settings(weights, pool), tmp_path / "out")
    found = select(str(tmp_path / "out"), Request(strategy=Entropy(), budget=5))
    entropies, _ = by_hand(range(UNITS))

    best = [f"unit-{number:02d}" for number in np.argsort(-entropies)[:5]]
    assert best == found.ids
    assert 5 == len(set(select(str(tmp_path / "out"), Request(strategy=CoreSet(), budget=5)).ids))


def test_the_commands(weights: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """A folder of one's own images, from the shell."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    for number in range(12):
        folder = "deep/" if number % 2 else ""
        picture(number).resize((20 + number, 14)).save(tmp_path / f"photos/{folder}{number}.jpg")

    def rayal(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["rayal", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert code == ended.value.code, printed.err
        return printed.err if code else printed.out

    monkeypatch.chdir(tmp_path)
    common = ("--checkpoint", str(weights), "--pool", "photos", "--strategies", "entropy, margin")
    local = ("--set", "compute.engine=local", "--set", "batch=4", "--out", "out")
    scored = rayal("score", *common, *local)
    again = rayal("score", *common, *local, "--retry-bad")
    selected = rayal("select", "out", "--strategy", "margin", "--budget", "3", "--per-class", "2")

    wrong = rayal("select", "out", "--strategy", "{name: margin, nope: 1}", "--budget", "3", code=2)
    assert "--strategy: strategy.nope: there is no such key" in wrong and 1 == wrong.count("\n")
    assert "rate" in scored and "rate" not in again, "nothing was bad"
    assert "12 in 1 shard" in scored and "entropy, margin" in scored
    assert "3 units" in selected or "2 units" in selected
    chosen = list(csv.DictReader((tmp_path / "selection.csv").read_text().splitlines()))
    assert {row["id"] for row in chosen} <= {
        path.relative_to(tmp_path / "photos").as_posix()
        for path in (tmp_path / "photos").rglob("*.jpg")
    }
    assert {row["predicted"] for row in chosen} <= set(CLASSES)
    assert Folder(tmp_path / "out").exists("score.yaml")


@pytest.mark.parametrize(
    "asked, expected",
    [
        (None, Decoding(size=SIDE, resize=12, squash=True)),
        ({"resize": 16}, Decoding(size=SIDE, resize=16, squash=True)),
        ({"size": None, "resize": None, "squash": False, "shape": (8, 8)}, Decoding(shape=(8, 8))),
    ],
)
def test_what_is_not_asked_is_decoded_as_in_training(
    asked: Json | None, expected: Decoding, weights: Path, pool: Path, tmp_path: Path
) -> None:
    """One option would replace the whole recipe, and the scores be those of other images."""
    card = CARD.model_copy(update={"decoding": Decoding(size=SIDE, resize=12, squash=True)})
    weights.write_bytes(TrainedModel.of(card, network()).data())
    x = settings(weights, pool, decoding=asked)

    assert expected == read_models(x).card.decoding
    assert (asked or {}) == (x.model_dump()["decoding"] or {})  # as asked, in score.yaml too


def test_a_pass_that_was_begun_by_an_older_rayal_goes_on(weights: Path, pool: Path) -> None:
    """It would be refused for the way in which its decoding is written."""
    full = {"channels": 3, "size": 32, "resize": None, "squash": False, "max_pixels": 89_478_485}

    assert full == settings(weights, pool, decoding={"size": 32}).decisive()["decoding"]
    assert None is settings(weights, pool).decisive()["decoding"]


def test_a_decoding_that_contradicts_the_trainings_is_refused(weights: Path, pool: Path) -> None:
    """It would end in a traceback, or in images of two sizes."""
    with pytest.raises(UsageError, match="'shape'.*over that of the training.*exclude one another"):
        read_models(settings(weights, pool, decoding={"shape": (8, 8)}))


def test_a_pass_prepared_otherwise_says_so(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Scores of images that no training saw would look like any others."""
    x = settings(weights, pool, decoding={"resize": 16}, mean=(0.4,) * 3, std=(0.25,) * 3)
    result = score(x, tmp_path / "out")

    with pool_scoring.start_scoring(x, str(tmp_path / "out")) as opened:
        told = [line for line in pool_scoring.lines(result, opened) if line[:8] == "prepared"]
        opened.models.trained.clear()
        silent = list(pool_scoring.lines(result, opened))
    assert [
        f"prepared decoding.resize 16, trained with None ({weights})",
        f"prepared mean (0.4, 0.4, 0.4), trained with (0.5, 0.5, 0.5) ({weights})",
    ] == told
    assert not any(line[:8] == "prepared" for line in silent)


def test_what_a_file_is_its_content_says(weights: Path, pool: Path) -> None:
    """`model_best.pth.tar` was looked into as a folder."""
    for name in ("model_best.pth.tar", "best", "x.y"):
        moved = weights.with_name(name)
        moved.write_bytes(weights.read_bytes())
        assert CLASSES == read_models(settings(moved, pool)).card.classes
    with pytest.raises(
        StorageError, match="absent.pth: there is no such file or folder; check the"
    ):
        read_models(settings(weights.with_name("absent.pth"), pool))


def test_models_of_two_kinds(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Their predictions would be compared class by class, of other classes."""
    other = CARD.model_copy(update={"classes": ("a", "b", "c")})
    data = TrainedModel.of(other, network()).data()
    (tmp_path / "other.safetensors").write_bytes(data)
    fields = {"strategies": ["cod"], "previous": f"{tmp_path}/other.safetensors"}
    with pytest.raises(UsageError, match="one pass compares models of one kind: give such"):
        read_models(settings(weights, pool, **fields))
    write_weights(tmp_path / "other.safetensors")
    assert read_models(settings(weights, pool, **fields)).previous is not None


def test_a_folder_of_weights(
    weights: Path, pool: Path, tmp_path: Path, tiny: Callable[..., Any]
) -> None:
    """Where a run or its weights are expected, whatever is not there yet is said."""
    (tmp_path / "run/train").mkdir(parents=True)
    with pytest.raises(UsageError, match="run holds no weights; give a file of them, or a rayal r"):
        read_models(settings(tmp_path / "run", pool))
    read_models(settings(weights, pool))
    (tmp_path / "run/train").rmdir()
    x = sixty(tiny, 256).model_copy(update={"budget": Budget(initial=15, per_cycle=15, total=15)})
    stopped_at(x, tmp_path / "run", 0, "train")
    with pytest.raises(
        UsageError, match="run is a run without a trained model yet; let it go on f"
    ):
        read_models(settings(tmp_path / "run", pool))
    go(x, tmp_path / "run")
    assert 10 == len(read_models(settings(tmp_path / "run", pool)).card.classes)


def test_a_batch_that_does_not_fit(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass would begin that dies of its first batch."""
    monkeypatch.setattr(batch_size, "_measured", lambda *_: (1.0, 1000))
    small = {"engine": "local", "device": "cpu", "shard_rows": 8, "batch_bytes": 10}
    with pytest.raises(UsageError, match="batch_bytes, 10; raise it, or set batch and another --o"):
        score(settings(weights, pool, batch="auto", compute=small), tmp_path / "out")
    score(settings(weights, pool, batch=8, compute=small), tmp_path / "another")
    raised = small | {"batch_bytes": 1000}
    score(settings(weights, pool, batch="auto", compute=raised), tmp_path / "out")


def test_a_damaged_shard_is_scored_again(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Whoever selects would run the same selection again and again."""
    x, out, request = (
        settings(weights, pool),
        tmp_path / "out",
        Request(strategy=Entropy(), budget=5),
    )
    score(x, out)
    before = select(str(out), request).ids
    shard = out / "scores/shard-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        StorageError, match=f"delete it and {out}/scores/done.json: the .*`rayal sc"
    ):
        select(str(out), request)
    shard.unlink()
    (out / "scores/done.json").unlink()
    score(x, out)

    assert before == select(str(out), request).ids


@pytest.mark.parametrize(
    "strategy", ["margin", {"name": "bald", "passes": 3}, {"name": "badge"}, "core_set"]
)
def test_what_a_pass_lacks_is_scored_again(
    weights: Path, pool: Path, tmp_path: Path, strategy: Any
) -> None:
    """The pass that is done as the message says would lack it again: of other options."""
    request = Request(strategy=build("strategies", strategy), budget=5)
    score(settings(weights, pool, strategies=["entropy"]), tmp_path / "out")
    with pytest.raises(UsageError, match="select by one of these, or score again with") as told:
        select(str(tmp_path / "out"), request)
    assert 5 == len(select(str(tmp_path / "out"), Request(strategy=Entropy(), budget=5)).ids)
    _, option, *_ = shlex.split(str(told.value).partition("score again with ")[2])
    given = listed(option)  # as the command reads it
    given = given if isinstance(given, list) else given.plain()
    score(settings(weights, pool, strategies=given), tmp_path / "another")

    assert 5 == len(select(str(tmp_path / "another"), request).ids)


def test_features_for_a_distance_are_scored_again(
    weights: Path, pool: Path, tmp_path: Path
) -> None:
    """As above, for what a limit needs."""
    request = Request(strategy=Entropy(), budget=2, min_distance=1e-6)
    score(settings(weights, pool, strategies=["entropy"]), tmp_path / "out")
    with pytest.raises(UsageError, match="a strategy that keeps features, such as core_set, besid"):
        select(str(tmp_path / "out"), request)
    score(settings(weights, pool, strategies=["entropy", "core_set"]), tmp_path / "another")

    assert 2 == len(select(str(tmp_path / "another"), request).ids)


class Looks(Entropy):
    """A user's strategy that names the model it compares with."""

    needs = frozenset({"log_probs", "previous_probs"})
    at: str = "yesterday"

    def reference(self, cycle: int) -> Any:
        return self.at


def test_a_strategy_that_breaks_its_contract(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own would end the pass in a traceback of the scorer's."""
    with monkeypatch.context() as patch:
        patch.setattr(Entropy, "score", lambda self, s: "best")
        with pytest.raises(DataError, match="gave str as scores: score returns a tensor"):
            score(settings(weights, pool, strategies=["entropy"]), tmp_path / "out")
    score(settings(weights, pool, strategies=["entropy"]), tmp_path / "out")
    with pytest.raises(
        UsageError, match="names 'yesterday' as its reference; choose one of: previo"
    ):
        score(settings(weights, pool, strategies=[Looks()]), tmp_path / "looks")
    for at in ("initial", "random"):
        score(settings(weights, pool, strategies=[Looks(at=at)]), tmp_path / at)
    teacher = settings(weights, pool, strategies=[Looks(at="previous")], previous=str(weights))
    score(teacher, tmp_path / "previous")


def test_weights_without_numbers_are_named_as_such(weights: Path, pool: Path) -> None:
    """A unit would be blamed, or an image that was made up to measure the batch."""
    broken = network()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    weights.write_bytes(TrainedModel.of(CARD, broken).data())

    with pytest.raises(
        UsageError, match=r"mine.safetensors: 108 of 108 numbers of blocks.0.1.weig"
    ):
        read_models(settings(weights, pool))


def sick(weights: Path, layer: type[nn.Module], value: float) -> None:
    """Writes a network whose last layer of a kind has this weight everywhere, and no bias."""
    broken = network()
    last = [module for module in broken.modules() if isinstance(module, layer)][-1]
    with torch.no_grad():
        last.weight.fill_(value)
        last.bias.fill_(0)
    weights.write_bytes(TrainedModel.of(CARD, broken).data())


def test_numbers_too_large_to_be_kept_are_no_diverged_model(
    weights: Path, pool: Path, tmp_path: Path
) -> None:
    """The user would train again, and meet the same limit of rayal's own files."""
    sick(weights, nn.BatchNorm2d, 1e7)
    with pytest.raises(
        DataError,
        match="features of 'unit-00' are up to .*float16, which ends at 65504; .*core_set",
    ):
        score(settings(weights, pool), tmp_path / "out")
    score(settings(weights, pool, strategies=["entropy"]), tmp_path / "other")


def test_made_up_images_are_not_blamed(
    weights: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is measured with noise, whose ids nobody has in their pool."""
    monkeypatch.setattr(batch_size, "SECONDS", 0.0)
    sick(weights, nn.Linear, 3e38)
    with pytest.raises(DataError, match="score.entropy of 'unit-00' is nan; a model that diverged"):
        score(settings(weights, pool, strategies=["entropy"], batch="auto"), tmp_path / "out")
    write_weights(weights)  # of another training
    score(settings(weights, pool, strategies=["entropy"], batch="auto"), tmp_path / "another")


def test_scores_that_say_nothing_are_told(
    weights: Path, pool: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A selection by chance would look like any other; also where a pass is continued."""
    x = settings(weights, pool, strategies=["entropy"])
    score(x, tmp_path / "good")
    assert "drawn by chance" not in caplog.text

    sick(weights, nn.Linear, 0.0)
    score(x, tmp_path / "out")
    assert "all 40 scores of entropy are 1.09861: a selection by them is drawn" in caplog.text
    caplog.clear()
    (tmp_path / "out/scores/done.json").unlink()
    score(x, tmp_path / "out")
    assert "all 40 scores of entropy are 1.09861" in caplog.text


def test_a_network_that_nobody_trained_is_told(
    weights: Path, pool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Random weights choose as surely as trained ones."""
    read_models(settings(weights, pool))
    assert f"{weights} was never trained" in caplog.text

    caplog.clear()
    trained = network()
    trained.train()(torch.randn(4, 3, SIDE, SIDE))
    weights.write_bytes(TrainedModel.of(CARD, trained).data())
    read_models(settings(weights, pool))
    assert "" == caplog.text


@pytest.mark.parametrize(
    "arch, config, expected",
    [
        ("efficientnet_b0", None, "bicubic"),
        ("shufflenet_v2_x0_5", None, "bilinear"),
        (
            "shufflenet_v2_x0_5",
            {"pretrained_cfg": {"interpolation": "bicubic", "mean": [0.5] * 3}},
            "bicubic",
        ),
        ("shufflenet_v2_x0_5", ["another program's"], "bilinear"),
    ],
)
def test_published_weights_are_resized_as_they_were_trained(
    arch: str, config: Any, expected: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would see images of another sharpness, and lose a percent without a word."""
    torch.save(models.get_model(arch, num_classes=3).state_dict(), tmp_path / "w.pth")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    fields = {"model": {"name": "torchvision", "arch": arch}, "decoding": {"size": 32}}
    x = settings(tmp_path / "w.pth", tmp_path, strategies=["entropy"], **fields)

    assert expected == read_models(x).card.decoding.interpolation
    assert ("bicubic" in caplog.text) == (expected == "bicubic")
    own = {**fields, "decoding": {"size": 32, "interpolation": "bilinear"}}
    x = settings(tmp_path / "w.pth", tmp_path, strategies=["entropy"], **own)
    assert "bilinear" == read_models(x).card.decoding.interpolation
