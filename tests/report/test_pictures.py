"""Pictures of whole runs: what is read from the run folder, the weights and the dataset."""

import io
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner

import rayal
from rayal.cli.options import app
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, decode
from rayal.data.store import Store
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, PrunedError, StorageError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.labeling.clicks import ClickModel, approximate, paint
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.oracles.clicks import Clicks
from rayal.labeling.oracles.simulated import Simulated
from rayal.models.trained_model import TrainedModel
from rayal.report import pictures
from rayal.report.images import first_images
from rayal.report.overlays import Row
from rayal.report.picked import rows, shots
from rayal.report.pictures import files
from rayal.runs.ledger import Ledger, read_labels, stage_folder, write_labels
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Labeled
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run
from tests.support import scenes

SHAPES = (24, 32), (20, 28)
CLICKS = {
    "strategy": "random_image_entropy_polygon",
    "oracle": {"name": "clicks", "tolerance": 2},
    "budget": {"initial": 60, "per_cycle": 60, "total": 120, "unit": "clicks"},
}


class Done(NamedTuple):
    """A finished run of two cycles."""

    x: Experiment
    store: Store
    record: Record

    def rows(self, count: int = 3) -> list[Row]:
        first = first_images(self.record, self.store, 0, count)
        return rows(self.record, self.x, self.store, 0, first)

    def chosen(self) -> list[str]:
        result = self.record.result(0, Chosen)
        assert result is not None
        return list(result.ids)

    def true_mask(self, image: str) -> np.ndarray:
        card = self.store.card
        label = self.store.labels("pool", [image])[image]
        assert card.masks is not None and not isinstance(label, int)
        return decode(label, card.masks, card.decoding or Decoding())


@pytest.fixture(scope="module")
def go(cache: Path, undrawn: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """Runs on scenes of two sizes in one canvas; keyword arguments replace fields."""
    root = scenes.write(tmp_path_factory.mktemp("scenes"), pool=12, test=2, shapes=SHAPES)

    def run(**fields: Any) -> Done:
        x = Experiment.model_validate(
            {
                "name": "dense",
                "dataset": {"name": "camvid", "root": str(root), "canvas": SHAPES[0]},
                "task": "segmentation",
                "model": {"name": "small_segmenter", "width": 4},
                "scheme": {"name": "supervised", "steps": 8, "batch_size": 4, "lr": 0.05},
                "strategy": "entropy",
                "budget": {"initial": 3, "per_cycle": 4, "total": 7},
                "compute": {"engine": "local", "cpus_per_worker": 1, "score_batch": 4},
                "tracking": "none",
                **fields,
            }
        )
        folder = tmp_path_factory.mktemp("runs") / "run"
        with start_run(x, str(folder)) as opened:
            opened.run(lambda: closing(LocalEngine(x.compute)))
        return Done(x, x.dataset.open(), Record(Folder(folder)))

    return run


@pytest.fixture(scope="module")
def images(go: Callable[..., Done]) -> Done:
    return go()


@pytest.fixture(scope="module")
def regions(go: Callable[..., Done]) -> Done:
    return go(**CLICKS)


class People(Oracle):
    """Nobody knows beforehand what they will say."""

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        raise AssertionError("they were asked already")


def test_the_first_of_a_cycle(images: Done) -> None:
    """In order of rank; each as it is, without what fills the canvas."""
    found = images.rows()
    sizes = {unit: SHAPES[int(unit[-3:]) % 2] for unit in images.chosen()}

    assert images.chosen()[:3] == [row.image for row in found]
    assert [sizes[row.image] for row in found] == [row.entropy.shape for row in found]
    for row in found:
        original = Image.open(images.x.dataset.folder / "train" / f"{row.image}.png")
        np.testing.assert_array_equal(np.array(original), row.pixels)


def test_without_weights_there_is_no_picture_of_masks(
    images: Done, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A report would end there, or show an empty prediction as one."""
    run = Path(shutil.copytree(images.record.folder.url, tmp_path / "run"))
    rayal.prune(run, weights="none")
    made = [name for name, _ in files(Record(Folder(run)), 1)]

    assert made and not [name for name in made if name.startswith("cycle-")]
    assert "no pictures of 2 of 2 cycles, whose weights were pruned" in caplog.text
    with pytest.raises(PrunedError, match="has no weights any more"):
        pictures.of_cycle(Record(Folder(run)), 0, 1)


def test_the_prediction_is_that_of_the_model_that_chose(images: Done) -> None:
    """Another cycle's weights would show what nobody asked."""
    card, record = images.store.card, images.record
    data = stage_folder(record.folder, 0, "train").read("weights.safetensors")
    network = TrainedModel.parse(data, "cycle 0").network().eval()
    (row, *_) = images.rows(1)
    whole = images.store.pool.decode(images.store.pool.take([row.image])).images / 255.0
    mean, std = (np.array(each)[:, None, None] for each in (card.image.mean, card.image.std))
    with torch.no_grad():
        logits = network(torch.from_numpy((whole - mean) / std).float()).logits
    logits = F.interpolate(logits, SHAPES[0], mode="bilinear", align_corners=False)[0]
    height, width = row.entropy.shape
    probs = logits.softmax(dim=0)[:, :height, :width].double().numpy()

    np.testing.assert_array_equal(probs.argmax(axis=0), row.predicted)
    np.testing.assert_allclose(-(probs * np.log(probs)).sum(axis=0), row.entropy, atol=1e-5)


def test_masks_of_a_simulation(images: Done) -> None:
    """The true mask and the answer are the same where whole masks are bought."""
    for row in images.rows():
        height, width = row.entropy.shape
        truth = images.true_mask(row.image)[:height, :width]

        np.testing.assert_array_equal(truth, row.reference)
        np.testing.assert_array_equal(truth, row.bought)
        assert ((), "") == (row.outlines, row.note)


def test_regions_that_were_bought(regions: Done) -> None:
    """The polygons of this cycle, and what the annotator said inside them."""
    found = regions.rows(4)
    options = ClickModel(tolerance=2)

    assert 4 == len(found) and found[0].image == regions.chosen()[0].rpartition("/")[0]
    for row in found:
        numbers = [
            int(unit.rpartition("/")[2])
            for unit in regions.chosen()
            if unit.rpartition("/")[0] == row.image
        ]
        truth = regions.true_mask(row.image)
        known = approximate(truth, options)
        height, width = row.entropy.shape
        bought = paint([known[number] for number in sorted(numbers)], truth.shape)

        np.testing.assert_array_equal(truth[:height, :width], row.reference)
        np.testing.assert_array_equal(bought[:height, :width], row.bought)
        assert f"{sum(known[number].clicks for number in numbers)} clicks" == row.note
        for number, outline in zip(numbers, row.outlines, strict=True):
            np.testing.assert_array_equal(known[number].polygon, outline)


def test_labels_of_people_are_not_looked_up(images: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hidden labels of a pool may not exist, and nobody may see them who did not pay."""

    def hidden(*args: Any) -> Any:
        raise AssertionError("hidden labels were read")

    of_people = images._replace(x=images.x.model_copy(update={"oracle": People()}))
    expected = [row.bought for row in images.rows()]
    monkeypatch.setattr(Store, "labels", hidden)

    for row, bought in zip(of_people.rows(), expected, strict=True):
        np.testing.assert_array_equal(bought, row.bought)
        np.testing.assert_array_equal(bought, row.reference)
    assert [False, True, True] == [each.simulated for each in (People(), Simulated(), Clicks())]


def test_answers_that_are_not_there(images: Done, tmp_path: Path) -> None:
    """While people label, and where they refuse, a picture shows the rest."""
    shutil.copytree(images.record.folder.url, tmp_path / "run")
    label = stage_folder(Folder(tmp_path / "run"), 0, "label")
    waiting = images._replace(record=Record(Folder(tmp_path / "run")))
    (tmp_path / "run" / "cycle-000" / "label" / "done.json").unlink()
    of_people = waiting._replace(x=images.x.model_copy(update={"oracle": People()}))
    (row,) = of_people.rows(1)

    assert "not labeled yet" == row.note
    assert (row.bought == IGNORE).all() and (row.reference == IGNORE).all()

    answers = {unit: Label(None, 1.0) for unit in images.chosen()}
    identity = images.record.folder.read_sealed("identity.json")
    with Ledger(Folder(tmp_path / "run"), identity) as ledger:
        ledger.once(0, Labeled, lambda out: write_labels(out, answers))
    assert {None} == {value for _, value, _ in read_labels(label)}
    (row,) = waiting._replace(record=Record(Folder(tmp_path / "run"))).rows(1)

    assert "refused" == row.note
    assert (row.bought == IGNORE).all() and not (row.reference == IGNORE).all()


def test_files_of_a_run(regions: Done) -> None:
    """A picture for each cycle that has chosen; the last one has nothing to choose."""
    made = dict(files(regions.record, 2))

    assert ["per_class_iou.png", "per_class_iou.csv", "cycle-000.png"] == list(made)
    assert "PNG" == Image.open(io.BytesIO(made["cycle-000.png"])).format


def test_the_command(images: Done, tmp_path: Path) -> None:
    """Pictures lie in the run folder, where `rayal sync` finds them."""
    shutil.copytree(images.record.folder.url, tmp_path / "run")
    told = ["report", str(tmp_path / "run"), "--out", str(tmp_path / "figures")]
    plain = CliRunner().invoke(app, told)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    drawn = CliRunner().invoke(app, [*told, "--pictures", "--images", "1"])

    assert (0, 0) == (plain.exit_code, drawn.exit_code)
    assert "analysis" not in before
    assert {
        "curves.png",
        "curves.svg",
        "per_class_iou.csv",
        "per_class_iou.png",
        "verdicts.csv",
    } == {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"cycle-000.png", "per_class_iou.csv", "per_class_iou.png"} == {
        path.name for path in (tmp_path / "run" / "analysis").iterdir()
    }


def test_other_data(images: Done, tmp_path: Path) -> None:
    """Predictions for images that only have the same names would be lies."""
    folder = Folder(tmp_path / "run")
    shutil.copytree(images.record.folder.url, folder.url)
    identity = folder.read_sealed("identity.json")
    folder.write_sealed("identity.json", {**identity, "data": "0" * 64})

    with pytest.raises(DataError, match="was made from other data than .*; put its own back to"):
        list(files(Record(folder), 1))
    folder.write_sealed("identity.json", identity)
    assert list(files(Record(folder), 1))


def test_weights_that_were_removed(images: Done, tmp_path: Path) -> None:
    """They are large; whoever removed them must read which file is missing."""
    shutil.copytree(images.record.folder.url, tmp_path / "run")
    (tmp_path / "run" / "cycle-000" / "train" / "weights.safetensors").unlink()

    with pytest.raises(StorageError, match=r"cycle-000/train/weights\.safetensors"):
        list(files(Record(Folder(tmp_path / "run")), 1))


def test_a_run_of_classification(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Its images have one class each: nothing would be drawn, or another model's prediction."""
    x = tiny(budget={"initial": 20, "per_cycle": 3, "total": 23})
    with start_run(x, str(tmp_path)) as opened:
        opened.run(lambda: closing(LocalEngine(x.compute)))

    record, store = Record(Folder(tmp_path)), x.dataset.open()
    made = dict(files(record, 3))
    seen = shots(record, x, store, 0, first_images(record, store, 0, 3))
    chosen = record.result(0, Chosen)

    results = ["per_class_accuracy.png", "per_class_accuracy.csv"]
    assert [*results, "cycle-000.png"] == list(made)  # the last cycle chooses nothing
    assert made["cycle-000.png"].startswith(b"\x89PNG")
    assert chosen is not None and list(chosen.ids[:3]) == [shot.image for shot in seen]
    truth = store.labels("pool", [shot.image for shot in seen])
    assert [store.card.classes[truth[s.image]] for s in seen] == [s.answer for s in seen]
    assert [1, 2, 3] == [shot.rank for shot in seen]
    scores = [shot.score for shot in seen if shot.score is not None]
    assert 3 == len(scores) and scores == sorted(scores, reverse=True)
    assert [f"highest score by cod, rank {n} of 580" for n in (1, 2, 3)] == [
        shot.reason.partition(";")[0] for shot in seen
    ]
    run = rayal.open_run(tmp_path)
    drawn = run.pictures(0, 3)
    assert 3 == sum(bool(ax.images) for ax in drawn.axes)
    assert drawn._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="cycle 1 has chosen nothing; give one of cycles 0 to 0"):
        run.pictures(1)
    for shot in seen:
        assert shot.predicted is not None and 0.1 <= shot.predicted.share <= 1
        assert shot.predicted.label in store.card.classes
        assert 0 <= shot.predicted.entropy <= np.log(10) and (8, 8, 3) == shot.pixels.shape
