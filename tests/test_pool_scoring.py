"""`rayal score` as a whole: what it writes, what it refuses, and that it goes on where it was."""

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.stats import entropy
from torch import nn

from rayal import cli, pool_scoring, session
from rayal.card import ImageSpec
from rayal.errors import DataError, LockedError, UsageError
from rayal.images import Decoding
from rayal.model import build, save_weights
from rayal.model_card import ModelCard
from rayal.models.small_cnn import SmallCnn
from rayal.pool_scoring.settings import PoolScoring
from rayal.selecting import Request, select
from rayal.storage import Folder
from rayal.strategies.core_set import CoreSet
from rayal.strategies.entropy import Entropy

SIDE, CLASSES, UNITS = 8, ("cat", "dog", "owl"), 40
IMAGE = ImageSpec(channels=3, height=SIDE, width=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
MODEL = SmallCnn(width=4, dropout=0.5)
CARD = ModelCard(
    model=MODEL, classes=CLASSES, image=IMAGE, decoding=Decoding(size=SIDE), precision="fp32"
)
KILLED = Path(__file__).with_name("killed_score.py")


class Watch:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def images(self, done: int, total: int) -> None:
        self.told.append((done, total))


def network(seed: int = 1) -> nn.Module:
    return build(MODEL, len(CLASSES), IMAGE, seed=seed)


def picture(number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return Image.fromarray(noise)


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
    path.write_bytes(save_weights(network(), CARD.metadata()))
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
    with pool_scoring.opened(x, str(out)) as opened:
        return opened.run(lambda: session.engine(x.compute.for_engine()), Watch())


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
    assert (UNITS, 0, list(CLASSES)) == (result["units"], result["bad"], list(result["classes"]))
    assert b"id,reason\n" == (tmp_path / "out" / "bad.csv").read_bytes()


def test_a_finished_pass_starts_nothing(weights: Path, pool: Path, tmp_path: Path) -> None:
    """The same command again would score everything anew."""
    x = settings(weights, pool)
    first = score(x, tmp_path / "out")

    with pool_scoring.opened(x, str(tmp_path / "out")) as opened:
        assert opened.complete
        assert first == opened.run(lambda: pytest.fail("an engine was opened"), Watch())


@pytest.mark.parametrize("point", ["models/*", "scores/shard-00000.parquet", "scores/*-00003.*"])
def test_a_killed_pass_goes_on(weights: Path, pool: Path, tmp_path: Path, point: str) -> None:
    """Rows would be scored twice, lost, or by another batch size (A01)."""
    x = settings(weights, pool, batch="auto")
    fields = json.dumps(x.model_dump(mode="json"))
    command = [sys.executable, str(KILLED), str(tmp_path / "killed"), fields, point]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "killed/scores").glob("s*t")}

    score(x, tmp_path / "killed")
    batch = json.loads((tmp_path / "killed/batch/done.json").read_text())["result"]["batch"]
    score(settings(weights, pool, batch=batch), tmp_path / "whole")

    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")
    for name, written in done.items():
        assert written == (tmp_path / "killed/scores" / name).stat().st_mtime_ns


def test_another_question_needs_another_folder(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Two models' scores in one folder would be compared with each other."""
    score(settings(weights, pool), tmp_path / "out")

    with pytest.raises(LockedError, match="strategies"):
        score(settings(weights, pool, strategies=["margin"]), tmp_path / "out")
    weights.write_bytes(save_weights(network(seed=2), CARD.metadata()))
    with pytest.raises(LockedError, match="weights"):
        score(settings(weights, pool), tmp_path / "out")


def test_a_pool_that_changed_is_refused(weights: Path, pool: Path, tmp_path: Path) -> None:
    """Shards of two states of the pool would be mixed (E10)."""
    x = settings(weights, pool)
    with pool_scoring.opened(x, str(tmp_path / "out")):
        pass
    write_pool(pool, [png(number) for number in range(UNITS + 1)])

    with pytest.raises(LockedError, match="40 units then, 41 now"):
        score(x, tmp_path / "out")


def test_bad_images_are_counted_with_their_reasons(weights: Path, tmp_path: Path) -> None:
    """One damaged image would end a pass over millions, or vanish (E01, E16)."""
    images = [png(number) for number in range(20)]
    images[3], images[11] = images[3][:40], None
    pool = write_pool(tmp_path / "pool.parquet", images)

    result = score(settings(weights, pool), tmp_path / "out")

    bad = list(csv.reader((tmp_path / "out/bad.csv").read_text().splitlines()))
    assert (20, 2) == (result["units"], result["bad"])
    assert ["id", "unit-03", "unit-11"] == [row[0] for row in bad]
    assert "no data (null)" == bad[2][1]
    assert None is rows(tmp_path / "out")["score.entropy"][3]
    with pytest.raises(DataError, match="2 images cannot be decoded, more than max_bad 1"):
        score(settings(weights, pool, max_bad=1), tmp_path / "strict")


def test_duplicate_ids_are_refused_before_any_work(weights: Path, tmp_path: Path) -> None:
    """Which of the two would be labeled?"""
    table = pa.table({"id": ["a", "b", "a"], "image": pa.array([png(0)] * 3, pa.binary())})
    pq.write_table(table, tmp_path / "pool.parquet")

    with pytest.raises(DataError, match="used more than once"):
        score(settings(weights, tmp_path / "pool.parquet"), tmp_path / "out")
    assert not (tmp_path / "out" / "scores").exists()


def test_previous_and_members(weights: Path, pool: Path, tmp_path: Path) -> None:
    """COD against the same model is 0; against another it is not (methods, Sec. 1)."""
    other = tmp_path / "other.safetensors"
    other.write_bytes(save_weights(network(seed=2), CARD.metadata()))
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
    ("fields", "message"),
    [
        ({"strategies": ["cod"]}, "give its weights with --previous"),
        ({"strategies": ["variation_ratio"]}, "give its other members with --member"),
        ({"strategies": ["epmcm"]}, "class_statistics that was trained beside the model"),
        ({"model": "resnet18"}, "says itself that it is .*; leave --model out"),
        ({"decoding": {"size": 8, "channels": 1}}, "one value for each of 1 channels"),
        ({"classes": ["a", "b"]}, "2 classes given, the model has"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    weights: Path, pool: Path, tmp_path: Path, fields: dict, message: str
) -> None:
    """The cluster would start, and fail minutes later."""
    with pytest.raises((UsageError, ValueError), match=message):
        score(settings(weights, pool, **fields), tmp_path / "out")


def test_anybodys_state_dict(pool: Path, tmp_path: Path) -> None:
    """A stranger's own checkpoint would need a rayal run first."""
    torch.save({"state_dict": network().state_dict()}, tmp_path / "mine.pth")
    fields = {"decoding": {"size": SIDE}, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    told = {**fields, "model": MODEL.model_dump(mode="json")}

    with pytest.raises(UsageError, match="give its architecture with --model"):
        score(settings(tmp_path / "mine.pth", pool, **fields), tmp_path / "out")
    result = score(settings(tmp_path / "mine.pth", pool, **told), tmp_path / "out")

    assert ["class-0", "class-1", "class-2"] == list(result["classes"])
    np.testing.assert_allclose(
        rows(tmp_path / "out")["score.entropy"], by_hand(range(UNITS))[0], rtol=1e-5
    )


def test_the_chosen_batch_is_kept(weights: Path, pool: Path, tmp_path: Path) -> None:
    """A pass that goes on with another batch would differ in the last bits."""
    x = settings(weights, pool, batch="auto")
    result = score(x, tmp_path / "out")
    measured = json.loads((tmp_path / "out/batch/done.json").read_text())["result"]

    assert measured["batch"] in [row["batch"] for row in measured["tried"]]
    assert UNITS == result["units"]


def test_select_reads_what_score_wrote(weights: Path, pool: Path, tmp_path: Path) -> None:
    """The two commands would not fit together."""
    score(settings(weights, pool), tmp_path / "out")
    found = select(str(tmp_path / "out"), Request(Entropy(), 5))
    entropies, _ = by_hand(range(UNITS))

    best = [f"unit-{number:02d}" for number in np.argsort(-entropies)[:5]]
    assert best == found.ids
    assert 5 == len(set(select(str(tmp_path / "out"), Request(CoreSet(), 5)).ids))


def test_the_commands(weights: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """A folder of one's own images, from the shell."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    for number in range(12):
        folder = "deep/" if number % 2 else ""
        picture(number).resize((20 + number, 14)).save(tmp_path / f"photos/{folder}{number}.jpg")

    def rayal(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rayal", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert 0 == ended.value.code, printed.err
        return printed.out

    monkeypatch.chdir(tmp_path)
    common = ("--checkpoint", str(weights), "--pool", "photos", "--strategies", "entropy, margin")
    local = ("--set", "compute.engine=local", "--set", "batch=4", "--out", "out")
    scored = rayal("score", *common, *local)
    selected = rayal("select", "out", "--strategy", "margin", "--budget", "3", "--per-class", "2")

    assert "12 in 1 shards" in scored and "entropy, margin" in scored
    assert "3 units" in selected or "2 units" in selected
    chosen = list(csv.DictReader((tmp_path / "selection.csv").read_text().splitlines()))
    assert {row["id"] for row in chosen} <= {
        path.relative_to(tmp_path / "photos").as_posix()
        for path in (tmp_path / "photos").rglob("*.jpg")
    }
    assert Folder(tmp_path / "out").exists("score.yaml")
