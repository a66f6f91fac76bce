"""What every class reached, as a figure and as a table."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from numpy.testing import assert_allclose

from rayal.report import per_class
from rayal.report.per_class import PANELS, draw, files, grids, table
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record
from rayal.runs.results import Evaluated, Trained
from rayal.storage.folder import Folder
from tests.support.doubles import filled, trained
from tests.support.whole_runs import short

IOUS = [[0.5, None, 0.1], [0.75, None, 0.3]]
"""Of three classes in two cycles; the second is nowhere."""
NewRun = Callable[..., Record]


@pytest.fixture
def new_run(tmp_path: Path) -> NewRun:
    """A run of segmentation after two cycles, without any training."""

    def build(name: str = "run", train: Any = None, **fields: Any) -> Record:
        folder = Folder(tmp_path / name)
        x = {
            "name": "roads",
            "seed": 3,
            "dataset": {"name": "camvid"},
            "task": {"name": "segmentation"},
            "scheme": {"name": "supervised"},
            "strategy": {"name": "entropy"},
            "budget": {"initial": 2, "per_cycle": 2, "total": 6},
            **fields,
        }
        with Ledger(folder, {"name": name}) as ledger:
            folder.write("experiment.yaml", yaml.safe_dump(x).encode())
            for cycle, ious in enumerate(IOUS):
                ledger.once(cycle, Trained, lambda out: trained(1, train and train(out)))
                result = {
                    "miou": 0.5,
                    "accuracy": 0.9,
                    "per_class_accuracy": [0.1, 0.2, 0.3],
                    "per_class_iou": ious,
                }
                found = Evaluated(metrics=result, labels=2 + 2 * cycle, cost=31.0 + cycle)
                ledger.once(cycle, Evaluated, lambda out, found=found: found)
            filled(ledger, len(IOUS))
        return Record(folder)

    return build


def cells(panel: Axes) -> np.ma.MaskedArray:
    (mesh,) = (each for each in panel.collections if isinstance(each, QuadMesh))
    return np.ma.masked_invalid(mesh.get_array())


def ticks(labels: list[Any]) -> list[str]:
    return [label.get_text() for label in labels]


def test_heat_map_by_hand(new_run: NewRun) -> None:
    """Classes down, cycles across, in percent; what is not defined has no colour of a value."""
    panel = draw(grids(new_run())[:1]).axes[0]
    iou, nowhere, last, gap, mean = cells(panel)

    assert_allclose([50, 75], iou)
    assert_allclose([10, 30], last)
    assert_allclose([30, 52.5], mean)  # of the two that are defined
    assert nowhere.mask.all() and gap.mask.all()
    assert ["0", "1", "2", "mean"] == ticks(panel.get_yticklabels())
    numbers = [text.get_text() for text in panel.texts]
    assert ["50", "75", "–", "–", "10", "30", "30", "52"] == numbers


@pytest.mark.parametrize(
    ("unit", "axis", "at"), [("samples", "Labels", ["2", "4"]), ("clicks", "Clicks", ["31", "32"])]
)
def test_cycles_are_named_by_what_was_paid(
    new_run: NewRun, unit: str, axis: str, at: list[str]
) -> None:
    """Strategies that pay by clicks would be compared at equal numbers of regions."""
    budget = {"initial": 20, "per_cycle": 2, "total": 60, "unit": unit}
    panel = draw(grids(new_run(budget=budget))[:1]).axes[0]

    assert (axis, at) == (panel.get_xlabel(), ticks(panel.get_xticklabels()))


@pytest.mark.parametrize(
    ("task", "first"),
    [("segmentation", "per_class_iou"), ("classification", "per_class_accuracy")],
)
def test_the_headline_comes_first(new_run: NewRun, task: str, first: str) -> None:
    """Any metric per class is drawn; the one that the task is judged by is what people see."""
    made = list(files([new_run(task={"name": task})]))

    assert f"{first}.png" == made[0]
    other = ({"per_class_iou", "per_class_accuracy"} - {first}).pop()
    assert [f"{first}.png", f"{first}.csv", f"{other}.png", f"{other}.csv"] == made


def test_the_table_by_hand(new_run: NewRun) -> None:
    """Whoever plots it otherwise needs every number, with the run that it is from."""
    record = new_run()
    rows = list(csv.DictReader(io.StringIO(table(grids(record)[:1]))))

    assert 6 == len(rows)
    assert {
        "run": record.folder.url,
        "name": "roads",
        "dataset": "camvid",
        "strategy": "entropy",
        "scheme": "supervised",
        "seed": "3",
        "cycle": "1",
        "labels": "4",
        "cost": "32.0",
        "class": "2",
        "iou": "0.3",
    } == rows[-1]
    assert ["0.5", "", "0.1"] == [row["iou"] for row in rows[:3]]


def test_many_runs(new_run: NewRun) -> None:
    """A report of a sweep would be a picture of metres; what is left out must be said."""
    found = [grids(new_run(f"run-{n}", seed=n))[0] for n in range(PANELS + 1)]
    figure = draw(found)

    assert PANELS == sum(bool(ax.get_title(loc="left")) for ax in figure.axes)
    assert f"{PANELS} of {PANELS + 1} runs" in figure.get_supxlabel()
    assert PANELS + 1 == len({row.split(",")[0] for row in table(found).splitlines()[1:]})


def test_a_run_that_has_only_begun(new_run: NewRun, tmp_path: Path) -> None:
    """A report while the first training goes on would crash."""
    record = new_run()
    for cycle in (0, 1):
        (tmp_path / "run" / f"cycle-{cycle:03d}" / "evaluate" / "done.json").unlink()

    assert {} == files([Record(record.folder)])


def test_names_are_those_of_the_weights(new_run: NewRun, tiny: Callable[..., Any]) -> None:
    """Class 7 says nothing; without the weights there is only the number."""
    from rayal.models.build import build
    from rayal.models.trained_model import TrainedModel

    x = short(tiny)
    card = x.dataset.open().card.model_copy(update={"classes": ("sky", "a$b$", "road")})
    network = build(x.model, 3, card.image, seed=0)
    weights = TrainedModel.of(x.card_for(card), network).data()

    record = new_run(train=lambda out: out.write("w.safetensors", weights))
    named = grids(record)[0]
    (removed := Path(record.folder.url) / "cycle-000" / "train" / "w.safetensors").unlink()

    assert ("sky", "a$b$", "road") == named.classes
    panel = draw([named]).axes[0]
    assert ["sky", "a$b$", "road", "mean"] == ticks(panel.get_yticklabels())
    assert not removed.exists()
    assert ("0", "1", "2") == grids(Record(record.folder))[0].classes


def test_weights_that_are_something_else(new_run: NewRun) -> None:
    """A damaged file must not cost the report, nor all memory: it begins with its length."""
    junk = b"\xff" * 100
    record = new_run(train=lambda out: out.write("w.safetensors", junk))

    assert ("0", "1", "2") == grids(record)[0].classes


def test_a_thousand_classes_and_many_cycles() -> None:
    """Names and numbers that have no room are left out, and the picture keeps its size."""
    run = per_class.Run("a", "d", "s", "c", 0, "accuracy", {}, True, "/r")
    cycles = tuple(range(40))
    grid = per_class.Grid(
        run=run,
        metric="per_class_accuracy",
        unit="samples",
        classes=tuple(map(str, range(1000))),
        cycles=cycles,
        labels=tuple(10 * (cycle + 1) for cycle in cycles),
        costs=tuple(map(float, cycles)),
        values=np.full((1000, 40), 0.5),
    )
    figure = draw([grid])
    panel = figure.axes[0]

    assert (1002, 40) == cells(panel).shape
    assert [] == list(panel.texts)
    assert ["mean"] == ticks(panel.get_yticklabels())
    assert ["10", "40", "70"] == ticks(panel.get_xticklabels())[:3]
    assert max(figure.get_size_inches()) < 16
