"""`rayal labels export`: what is written is what was bought, and others read it."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import rayal
from rayal import cli
from rayal.data.datasets.camvid import Camvid
from rayal.data.datasets.mask_folder import MaskFolder
from rayal.data.images import Decoding
from rayal.data.label_table import read_table
from rayal.data.masks import decode
from rayal.errors import LabelsPending, UsageError
from rayal.labeling.request import Request
from rayal.labeling.votes import Vote
from rayal.parts import build, find
from rayal.runs.ledger import read_labels
from rayal.storage.folder import Folder
from tests.support import scenes
from tests.support.whole_runs import go, stopped_at

SMALL = {"name": "digits", "limit_pool": 60, "limit_test": 20}
SCHEMA = {
    "type": "object",
    "required": ["images", "annotations", "categories"],
    "properties": {
        "images": {
            "items": {
                "required": ["id", "file_name", "height", "width"],
                "properties": {
                    "id": {"type": "integer"},
                    "file_name": {"type": "string"},
                    "height": {"type": "integer", "minimum": 1},
                    "width": {"type": "integer", "minimum": 1},
                },
            }
        },
        "categories": {
            "items": {
                "required": ["id", "name"],
                "properties": {"id": {"type": "integer", "minimum": 1}},
            }
        },
        "annotations": {
            "items": {
                "required": ["id", "image_id", "category_id", "bbox", "area", "iscrowd"],
                "properties": {
                    "bbox": {"type": "array", "minItems": 4, "maxItems": 4},
                    "area": {"type": "number", "minimum": 1},
                    "iscrowd": {"enum": [0, 1]},
                    "segmentation": {
                        "anyOf": [{"type": "array"}, {"required": ["size", "counts"]}]
                    },
                },
            }
        },
    },
}
"""What a file of COCO instances has."""


@pytest.fixture(scope="module")
def bought(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has bought 20 digits, and stopped before its first training."""
    return stopped_at(tiny(dataset=SMALL), tmp_path_factory.mktemp("runs") / "x", 0, "train")


def truth_of(run: Path) -> dict[str, int]:
    """Unit -> class, of the first purchase, in its order."""
    return {
        unit: int(str(label)) for unit, label, _ in read_labels(Folder(run / "cycle-000/initial"))
    }


def table(file: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""))]


def test_csv(bought: Path, tmp_path: Path) -> None:
    """Labels would be lost, or of other images."""
    done = rayal.export_labels(bought, "csv", tmp_path / "out")
    rows, truth = table(tmp_path / "out/labels.csv"), truth_of(bought)
    said = json.loads((tmp_path / "out/export.json").read_text())

    assert truth == {row["rayal_id"]: int(row["label"]) for row in rows}
    assert all((tmp_path / "out" / row["image"]).is_file() for row in rows)
    assert {"-1"} == {row["cycle"] for row in rows}
    assert truth == read_table(str(tmp_path / "out/labels.csv")).indices([*map(str, range(10))])
    assert (20, 0, 0) == done[1:] and 20 == said["labels"]
    assert [f"{tmp_path}/out: 20 labeled images"] == done.lines


def test_folders_are_read(bought: Path, tmp_path: Path) -> None:
    """What was handed on could not be trained on, here or elsewhere."""
    rayal.export_labels(bought, "imagefolder", tmp_path / "out")
    shutil.copytree(tmp_path / "out/train", tmp_path / "out/test")
    truth = sorted(truth_of(bought).values())
    names = ImageFolder(str(tmp_path / "out/train"))
    theirs = [int(names.classes[number]) for number in names.targets]
    opened = find("datasets", "image_folder")(root=str(tmp_path / "out")).open()
    ours = [int(opened.card.classes[int(n)]) for n in opened.labels("pool").values()]

    assert truth == sorted(theirs) == sorted(ours)


def test_parquet_is_read(bought: Path, tmp_path: Path) -> None:
    """As above; and pixels would be other ones."""
    rayal.export_labels(bought, "parquet", tmp_path / "out")
    files = {"pool": ("labels-*.parquet",), "test": ("labels-*.parquet",), "id": None}
    store = find("datasets", "parquet")(root=str(tmp_path / "out"), **files).open()
    truth = truth_of(bought)
    source = rayal.open_run(bought).record.experiment()["dataset"]
    original = build("datasets", source).open().pool
    pixels = store.pool.decode(store.pool.take(store.pool.ids())).images
    expected = original.decode(original.take(list(truth))).images

    assert [*truth.values()] == [*store.labels("pool").values()]
    assert tuple("0123456789") == store.card.classes
    assert np.array_equal(np.broadcast_to(expected, pixels.shape), pixels)


def test_coco_and_cvat_are_read(bought: Path, tmp_path: Path) -> None:
    """Other tools would refuse it, or read other classes."""
    truth = truth_of(bought)
    rayal.export_labels(bought, "coco", tmp_path / "coco")
    content = json.loads((tmp_path / "coco/instances.json").read_text())
    jsonschema.validate(content, SCHEMA)
    names = {row["id"]: row["name"] for row in content["categories"]}
    units = {row["id"]: row["rayal_id"] for row in content["images"]}
    coco = {units[a["image_id"]]: int(names[a["category_id"]]) for a in content["annotations"]}
    rayal.export_labels(bought, "cvat", tmp_path / "cvat")
    root = ElementTree.parse(tmp_path / "cvat/annotations.xml").getroot()
    cvat = {
        image.get("rayal_id"): int(tag.get("label", ""))
        for image in root.iter("image")
        for tag in image.iter("tag")
    }

    assert truth == coco == cvat
    for folder, files in (
        ("coco", [row["file_name"] for row in content["images"]]),
        ("cvat", [image.get("name", "") for image in root.iter("image")]),
    ):
        assert all((tmp_path / folder / "images" / name).is_file() for name in files)


def test_masks(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Masks would lie elsewhere than their images; of a network that sees smaller ones, too."""
    scenes.write(tmp_path / "scenes")
    root = str(tmp_path / "scenes")
    smaller = Camvid(root=root, shape=(12, 16), encoding="bytes")
    for number, dataset in enumerate((Camvid(root=root), smaller)):
        x = tiny(
            dataset=dataset,
            model={"name": "small_segmenter", "width": 4},
            task="segmentation",
            strategy="random",
            budget={"initial": 4, "per_cycle": 4, "total": 8},
        )
        run = stopped_at(x, tmp_path / f"run{number}", 0, "train")
        card = x.dataset.open().card
        assert card.masks is not None
        decoding = card.decoding or Decoding()
        labels = read_labels(Folder(run / "cycle-000/initial"))
        truth = [decode(label, card.masks, decoding) for _, label, _ in labels]  # type: ignore
        out = tmp_path / f"out{number}"
        rayal.export_labels(run, "imagefolder", out)
        masks, images = (
            [np.array(Image.open(io.BytesIO(file.read_bytes()))) for file in sorted(files)]
            for files in (out.glob("train/masks/*"), out.glob("train/images/*"))
        )
        shutil.copytree(out / "train", out / "test")
        again = MaskFolder(root=str(out), classes=card.classes).open()

        assert all(map(np.array_equal, truth, masks)) and 4 == len(truth)
        assert [mask.shape for mask in masks] == [image.shape[:2] for image in images]
        assert 4 == len(again.pool) and not again.card.bad
    rayal.export_labels(run, "coco", tmp_path / "coco")
    content = json.loads((tmp_path / "coco/instances.json").read_text())
    jsonschema.validate(content, SCHEMA)
    assert sum(int((mask != 255).sum()) for mask in truth) == sum(
        each["area"] for each in content["annotations"]
    )
    with pytest.raises(UsageError, match="csv cannot carry masks; use coco, cvat, imagefolder"):
        rayal.export_labels(run, "csv", tmp_path / "csv")


def test_votes_stay(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Who said what would be lost, and refused units be handed on without a label."""
    oracle = {"name": "people", "votes": 2}
    x, run = tiny(dataset=SMALL, oracle=oracle), tmp_path / "run"
    with pytest.raises(LabelsPending):
        go(x, run)
    request = Request(Folder(run / "cycle-000/initial"))
    units = request.waiting
    for who in ("ann", "bob"):
        request.tell([Vote(unit, n % 10, who, 1.5) for n, unit in enumerate(units[1:])])
        request.tell([Vote(units[0], None, who)])
    stopped_at(x, run, 0, "train")
    done = rayal.export_labels(run, "csv", tmp_path / "out", votes=True)
    rows = table(tmp_path / "out/labels.csv")

    assert (19, 1, 38) == done[1:] and 38 == len(rows)
    assert "of 38 votes; left out 1 that cannot be labeled" in done.lines[0]
    assert {"ann", "bob"} == {row["annotator"] for row in rows}
    assert all(row["label"] == row["vote"] and "1.5" == row["seconds"] for row in rows)
    assert units[0] not in {row["rayal_id"] for row in rows}
    given = read_table(str(tmp_path / "out/labels.csv"))
    assert [] == given.problems(x.dataset.open().card.classes) and 19 == len(
        {row.id for row in given.rows}
    )


def test_votes_of_units_asked_again_are_all_there(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """A second opinion would take the place of the first one, which was paid too."""
    votes = [f"digit-{n:04d},{who},{(n + k) % 10}" for n in range(99) for k, who in enumerate("ab")]
    (tmp_path / "votes.csv").write_text("\n".join(["id,annotator,label", *votes]))
    oracle = {"name": "recorded", "file": str(tmp_path / "votes.csv"), "disputed": "first"}
    budget = {"initial": 50, "per_cycle": 20, "total": 70, "unit": "votes"}
    x = tiny(dataset=SMALL, oracle=oracle, budget=budget, strategy="active_lab")
    run = stopped_at(x, tmp_path / "run", 1, "train")
    done = rayal.export_labels(run, "csv", tmp_path / "out", votes=True)
    rows, kept = table(tmp_path / "out/labels.csv"), rayal.open_run(run).votes()

    said = [(row["rayal_id"], row["annotator"], row["vote"]) for row in rows]
    assert done.votes == len(rows) == len(kept["id"]) > done.labels
    assert sorted(said) == sorted(
        zip(kept["id"], kept["annotator"], map(str, kept["label"]), strict=True)
    )


def test_linked_images(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """A million images would be copied where their addresses do."""
    for split in ("train", "test"):
        for number in range(12):
            file = tmp_path / "photos" / split / str(number % 2) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    dataset = {"name": "image_folder", "root": str(tmp_path / "photos"), "encoding": "uri"}
    budget = {"initial": 4, "per_cycle": 4, "total": 8}
    run = stopped_at(tiny(dataset=dataset, budget=budget), tmp_path / "run", 0, "train")
    rayal.export_labels(run, "csv", tmp_path / "out", images="linked")

    assert all(Path(row["image"]).is_absolute() for row in table(tmp_path / "out/labels.csv"))
    assert not (tmp_path / "out/images").exists()
    with pytest.raises(UsageError, match="cvat knows images by the names .*; use images copied"):
        rayal.export_labels(run, "cvat", tmp_path / "other", images="linked")


def test_what_cannot_be_exported(bought: Path, tmp_path: Path) -> None:
    """Files of two exports would be mixed."""
    (tmp_path / "mine").write_text("")
    with pytest.raises(UsageError, match="holds mine and the like; give a new folder as --out"):
        rayal.export_labels(bought, "csv", tmp_path)
    with pytest.raises(UsageError, match="to 'excel'; choose one of: csv, coco, cvat"):
        rayal.export_labels(bought, "excel", tmp_path / "out")  # type: ignore[arg-type]


def test_from_the_command_line(
    bought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The command would take other options than it has, or say nothing."""
    out = tmp_path / "out"
    command = ["rayal", "labels", "export", str(bought), "--to", "csv", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(cli, "catch_signals", lambda _: None)
    monkeypatch.setattr(cli, "_direct_output", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert 0 == ended.value.code
    assert f"{out}: 20 labeled images\n" == capsys.readouterr().out
    assert 20 == len(table(out / "labels.csv"))
