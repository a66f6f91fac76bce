"""Picks of a pool handed to people, and their answers taken back, without a run."""

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

import rayal
from rayal.data.card import ImageSpec
from rayal.data.label_table import read_table
from rayal.errors import DataError, RayalError, UsageError
from rayal.labeling.exchange.csv import FILE, Csv
from rayal.labeling.outgoing import HOW
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.build import build
from rayal.models.trained_model import WEIGHTS
from rayal.storage.folder import Folder
from rayal.workflows.select.to_label import LABELS, LEFT

SIDE, UNITS = 8, 12
CLASSES = ["cat", "dog"]
FIELDS: dict[str, Any] = {
    "decoding": {"size": SIDE},
    "mean": (0.0,) * 3,
    "std": (1.0,) * 3,
    "engine": "local",
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def pictures() -> dict[str, bytes]:
    """Name -> JPEG of 20 x 30 pixels."""
    rng, found = np.random.default_rng(0), {}
    for number in range(UNITS):
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(data, "JPEG")
        found[f"a/{number:02d}.jpg"] = data.getvalue()
    return found


class MasksAlone(Csv):
    """A tool for masks."""

    labels = frozenset({"masks"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pool of images."""
    for name, data in pictures().items():
        (tmp_path / "pool" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool" / name).write_bytes(data)
    return tmp_path / "pool"


def scored(pool: Path, name: str = "scores", **fields: Any) -> rayal.Scores:
    out = pool.parent / name
    return rayal.score(network(), str(pool), "entropy", out=out, **{**FIELDS, **fields})


def answers(request: Path, said: dict[str, str], who: str = "") -> Path:
    """The table of a request, filled in."""
    with open(request / FILE, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"label": said.get(row["rayal_id"], ""), "annotator": who}
    path = request.parent / f"answers{len(list(request.parent.glob('answers*')))}.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def labels(request: Path) -> list[tuple[str, str]]:
    return rows_of(request / LABELS, "label")


def left(request: Path) -> list[tuple[str, str]]:
    """The units without a label, and why."""
    return rows_of(request / LEFT, "why")


def rows_of(path: Path, column: str) -> list[tuple[str, str]]:
    with open(path, newline="") as file:
        return [(row["id"], row[column]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", ["folder", "addresses", "bytes", "pixels"])
def test_from_scores_to_labels(kind: str, folder: Path) -> None:
    """Whoever trains elsewhere would write glue for every tool: pictures in rank order, what the
    model thinks, and the labels that people gave."""
    pool, stored = folder, pictures()
    if kind != "folder":
        pool = folder.parent / "table.parquet"
        images: Any = list(stored.values())
        if kind == "addresses":
            images = [f"pool/{name}" for name in stored]  # below the folder of the file
        if kind == "pixels":
            images = pa.array([bytes([n] * 3 * SIDE**2) for n in range(UNITS)], pa.binary(192))
        pq.write_table(pa.table({"id": list(stored), "image": images}), pool)
    scores, out = scored(pool), str(folder.parent / "next")
    picks = rayal.select(scores, budget=4, out=out, request="csv", classes=CLASSES)
    request = Path(f"{out}.request")

    told = json.loads((request / "request.json").read_text())
    assert picks.ids == [unit["id"] for unit in told["units"]] and CLASSES == told["classes"]
    assert picks.scores == [unit["score"] for unit in told["units"]]
    assert "labels.csv" in (request / HOW).read_text()
    with open(request / FILE, newline="") as file:
        rows = list(csv.DictReader(file))
    predicted = [CLASSES[int(number)] for number in picks.predicted or []]
    assert predicted == [r["suggested"] for r in rows]
    for unit, row in zip(picks.ids, rows, strict=True):
        shown = (request / row["image"]).read_bytes()
        assert kind == "pixels" or stored[unit] == shown

    first, second, third, last = picks.ids
    for verb in (rayal.pull_labels, rayal.push_labels):
        with pytest.raises(UsageError, match="no run goes on from; give its answers to `rayal lab"):
            verb(request, "http://x")  # type: ignore[operator]
    added = rayal.add_labels(request, answers(request, {first: "dog", second: "SKIP"}))
    assert (2, 0, 2, 4) == (added.new, added.known, added.waiting, added.of)
    assert ["2 of 4 units done"] == [line[:17] for line in added.lines[1:]]
    state = rayal.label_status(request)
    (asked,) = state.requests
    assert (None, 4, 1, 1, 2, True) == (
        *(asked.cycle, asked.asked, asked.labeled, asked.skipped, asked.missing, asked.open),
    )
    assert f"answer {request}/request, then: rayal labels add {request} FILE" == state.next
    again = rayal.add_labels(request, answers(request, {first: "dog"}, "ann"), check=True)
    assert 1 == again.new
    more = answers(request, {third: "cat", second: "SKIP"})
    assert 1 == rayal.add_labels(str(request), more).new
    assert [(first, "dog"), (third, "cat")] == labels(request)
    assert [(second, "cannot be labeled"), (last, "waiting")] == left(request)
    given = read_table(str(request / LABELS))
    assert [] == given.problems(CLASSES) and {first: 1, third: 0} == given.indices(CLASSES)
    rayal.add_labels(request, answers(request, {last: "cat"}))
    done = rayal.label_status(request)
    assert not done.requests[0].open and f"labels are in {request}/labels.csv" in done.next


def test_two_annotators_who_differ(folder: Path) -> None:
    """One of them would be believed without a word."""
    out = folder.parent / "next"
    picks = rayal.select(scored(folder), budget=2, out=out, request="csv", classes=CLASSES)
    request = Path(f"{out}.request")
    first, second = (
        rayal.add_labels(request, answers(request, {picks.ids[0]: label}, who))
        for who, label in [("ann", "cat"), ("bob", "dog")]
    )

    assert (0, 1) == (first.disputed, second.disputed)
    assert "1 unit is disputed: no label until one more annotator has answered" in second.lines
    assert (picks.ids[0], "disputed") == left(request)[0] and [] == labels(request)
    (asked,) = rayal.label_status(request).requests
    assert 1 == asked.disputed and ["ann", "bob"] == [each.name for each in asked.annotators]
    rayal.add_labels(request, answers(request, {picks.ids[0]: "dog"}, "eve"))
    assert [(picks.ids[0], "dog")] == labels(request) and [picks.ids[1]] == [
        unit for unit, _ in left(request)
    ]


def test_what_is_wrong_takes_nothing(folder: Path) -> None:
    """Half of a file would be in the labels, and the other half be lost."""
    out = folder.parent / "next"
    picks = rayal.select(scored(folder), budget=2, out=out, request="csv", classes=CLASSES)
    request = Path(f"{out}.request")
    with pytest.raises(UsageError, match="'horse' is no class"):
        rayal.add_labels(
            request, answers(request, dict(zip(picks.ids, ["cat", "horse"], strict=True)))
        )

    assert not (request / LABELS).exists()
    assert 2 == rayal.add_labels(request, answers(request, dict.fromkeys(picks.ids, "cat"))).new


def test_a_request_stays_until_it_is_deleted(folder: Path) -> None:
    """Somebody would label images that are not there any more, and the answers be refused."""
    scores, out = scored(folder), str(folder.parent / "next")
    with pytest.raises(UsageError, match="request is written beside out; give out"):
        rayal.select(scores, budget=2, request="csv", classes=CLASSES)
    picks = rayal.select(scores, budget=2, out=out)
    place = picks.write_request(out, {"name": "csv", "skip": "?"}, classes=CLASSES)
    before = {path: path.stat().st_mtime_ns for path in Path(place).rglob("*")}
    assert place == picks.write_request(out, {"name": "csv", "skip": "?"}, classes=CLASSES)
    assert before == {path: path.stat().st_mtime_ns for path in Path(place).rglob("*")}

    table = Path(f"{out}.csv").read_bytes()
    for budget, classes in [(3, CLASSES), (2, CLASSES[::-1])]:
        with pytest.raises(UsageError, match="somebody may be labeling them; use another --out"):
            rayal.select(scores, budget=budget, out=out, request="csv", classes=classes)
    assert table == Path(f"{out}.csv").read_bytes()
    other = f"{out}-other"
    rayal.select(scores, budget=3, out=other, request="csv", classes=CLASSES)
    assert Path(f"{other}.request/{FILE}").exists()


def test_a_request_that_was_killed_is_written_again(folder: Path) -> None:
    """Half a folder would be taken for all of it."""
    scores, out = scored(folder), str(folder.parent / "next")
    rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES)
    request = Path(f"{out}.request")
    whole = (request / "request.json").read_bytes()
    (request / "request.json").unlink()
    with pytest.raises(UsageError, match="not written to its end; give the command that selected"):
        rayal.add_labels(request, request / FILE)
    rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES)

    assert whole == (request / "request.json").read_bytes()
    Folder(request).write_sealed("request.json", {})
    with pytest.raises(RayalError, match="damaged; delete .*next.request and give the command tha"):
        rayal.add_labels(request, request / FILE)
    shutil.rmtree(request)
    rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES)
    assert 0 == rayal.add_labels(request, request / FILE).new


def test_the_card_of_the_model_is_damaged(folder: Path) -> None:
    """Its images would be read as something else, or the message be about JSON."""
    scores, out = scored(folder), folder.parent / "next"
    weights = folder.parent / "scores" / "models" / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:8] + b"x" * len(whole))
    with pytest.raises(RayalError, match="is damaged; restore it from a copy, or score again"):
        rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES)

    weights.write_bytes(whole)
    assert 2 == len(rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES))


def test_classes_have_names(folder: Path) -> None:
    """People would be asked for numbers, or a label stand for another class."""
    scores, out = scored(folder), str(folder.parent / "next")
    named = scored(folder, "named", classes=("cat", "dog"))

    with pytest.raises(UsageError, match="2 classes are called; give their names with --classes"):
        rayal.select(scores, budget=2, out=out, request="csv")
    usual = scored(folder, "usual", classes=("class-0", "class-1"))
    with pytest.raises(UsageError, match="2 classes are called; give their names with --classes"):
        rayal.select(usual, budget=2, out=out, request="csv")
    for wrong, reason in [
        (["cat"], "1 class given, the model has 2; give as many"),
        (["cat", "cat"], "'cat' is there twice"),
        (["cat", " "], "one of the names is empty"),
    ]:
        with pytest.raises(UsageError, match=reason):
            rayal.select(scores, budget=2, out=out, request="csv", classes=wrong)
    assert not list(folder.parent.glob("next*"))
    picks = rayal.select(named, budget=2, out=out, request="csv", classes=["Katze", "Hund"])
    with open(f"{out}.request/{FILE}", newline="") as file:
        suggested = [row["suggested"] for row in csv.DictReader(file)]
    german = {"cat": "Katze", "dog": "Hund"}
    assert [german[name] for name in picks.predicted or []] == suggested  # type: ignore[index]


def test_a_pool_that_is_not_there_as_it_was(folder: Path) -> None:
    """Others than the selected images would be labeled; what was not selected may come and go."""
    scores, out = scored(folder), str(folder.parent / "next")
    picks = rayal.select(scores, budget=2)
    rest = [name for name in pictures() if name not in picks.ids]
    (folder / rest[0]).unlink()
    (folder / "new.jpg").write_bytes(pictures()[rest[1]])
    rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES)

    changed = folder / picks.ids[1]
    before = changed.stat()
    changed.write_bytes(b"no image any more")
    other = f"{out}-other"
    with pytest.raises(DataError, match=f"1 selected image is gone or changed .*{picks.ids[1]}"):
        rayal.select(scores, budget=2, out=other, request="csv", classes=CLASSES)
    changed.write_bytes(pictures()[picks.ids[1]])
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    moved = folder.rename(folder.parent / "elsewhere")
    with pytest.raises(UsageError, match="there is no pool"):
        rayal.select(scores, budget=2, out=other, request="csv", classes=CLASSES)
    moved.rename(folder)
    assert (
        picks.ids == rayal.select(scores, budget=2, out=other, request="csv", classes=CLASSES).ids
    )


def test_a_table_that_has_changed(folder: Path) -> None:
    """Ids would stand for other images than those that were scored."""
    pool, images = folder.parent / "table.parquet", list(pictures().values())
    pq.write_table(pa.table({"id": list(pictures()), "image": images}), pool)
    scores, whole = scored(pool), pool.read_bytes()
    out = folder.parent / "x"

    def asked(scores: rayal.Scores, out: Path) -> rayal.Picks:
        return rayal.select(scores, budget=2, out=out, request="csv", classes=CLASSES)

    pq.write_table(pa.table({"id": list(pictures())[:-1], "image": images[1:]}), pool)
    with pytest.raises(DataError, match="is not what it was when .* was scored; restore the files"):
        asked(scores, out)
    pool.write_bytes(whole)
    assert 2 == len(asked(scores, out))
    others = [name.replace("a", "b") for name in pictures()]
    pq.write_table(pa.table({"id": others, "image": images}), pool)
    with pytest.raises(DataError, match="2 selected units are not in 1 Parquet .*; score again"):
        asked(scores, folder.parent / "y")
    assert 2 == len(asked(scored(pool, "again"), folder.parent / "y"))


def test_who_cannot_be_shown(folder: Path) -> None:
    """The message would be about files that nobody knows of."""
    memory = rayal.score(network(), torch.rand(4, 3, SIDE, SIDE), "entropy")
    out = folder.parent / "next"
    with pytest.raises(UsageError, match="is of images in memory, which people cannot be shown"):
        rayal.select(memory, budget=2, out=out, request="csv", classes=CLASSES)
    assert 2 == len(rayal.select(memory, budget=2, out=out))
    image = ImageSpec(channels=3, height=SIDE, width=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)
    dense = build(SmallSegmenter(width=4), 2, image, seed=0)
    masks = rayal.score(dense, str(folder), "entropy", out=folder.parent / "dense", **FIELDS)
    with pytest.raises(UsageError, match="a model that predicts masks"):
        rayal.select(masks, budget=2, out=out, request="csv", classes=CLASSES)
    assert 2 == len(rayal.select(masks, budget=2))
    with pytest.raises(UsageError, match="carries no classes; use csv"):
        rayal.select(masks, budget=2, out=out, request=MasksAlone(), classes=CLASSES)
    with pytest.raises(UsageError, match="formats"):
        rayal.select(memory, budget=2, out=out, request="cvs", classes=CLASSES)


def test_the_pass_of_a_run(tiny: Any, tmp_path: Path) -> None:
    """The images of a dataset would have to be found by hand; its classes are known."""
    x = tiny(strategy="margin", budget={"initial": 20, "per_cycle": 20, "total": 40})
    run = rayal.run(x, tmp_path / "run")
    out = tmp_path / "next"
    picks = rayal.select(run, "margin", 3, cycle=0, out=out, request="csv")

    told = json.loads(Path(f"{out}.request/request.json").read_text())
    assert picks.ids == [unit["id"] for unit in told["units"]]
    assert list(x.dataset.open().card.classes) == told["classes"]
