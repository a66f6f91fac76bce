"""The page of a run that was really run: what needs its images, its labels and its models."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rayal.experiment.experiment import Experiment
from rayal.report.page.document import html
from rayal.report.page.seen import Seen
from rayal.report.tables import summarise
from rayal.runs.confusion import FILE
from rayal.runs.find_records import find_records
from rayal.runs.ledger import read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from tests.support.pages import Page
from tests.support.whole_runs import go, sixty


@pytest.fixture(scope="module")
def record(tiny: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Core-set on 60 digits: its passes keep features, of labeled units too."""
    out = tmp_path_factory.mktemp("runs") / "run"
    go(sixty(tiny, 64, strategy="core_set", scheme={"epochs": 2, "batch_size": 16}), out)
    return Record(Folder(out))


@pytest.fixture(scope="module")
def page(record: Record) -> Page:
    return Page(html(Seen(summarise([record]), [record])))


def test_confusion_is_the_evaluations(page: Page, record: Record) -> None:
    """Models that are asked again must say what they said when the run asked them."""
    last = record.cycles()[-1]
    (name,) = (
        name for name in page.tables if name.startswith(f"Confusion in cycle {last['cycle']}")
    )
    _, *rows = page.tables[name]
    counts = [[int(cell) for cell in row[1:]] for row in rows]

    assert 30 == sum(map(sum, counts))
    assert last["accuracy"] == sum(counts[at][at] for at in range(10)) / 30


def test_calibration_of_three_models(page: Page) -> None:
    """A model that is too sure chooses by it."""
    _, *rows = page.tables["Calibration error: core_set"]

    assert ["cycle 0", "cycle 1", "cycle 2"] == [row[0] for row in rows]
    assert all(0 <= float(row[3]) <= 1 and float(row[5]) > 0 for row in rows)


def test_classes_of_the_picks_are_those_of_the_answers(page: Page, record: Record) -> None:
    """A strategy that buys one class only would look like one that buys all."""
    bought = Counter(
        value
        for cycle in range(2)
        for _, value, _ in read_labels(stage_folder(record.folder, cycle, "label"))
    )
    _, *rows = page.tables["Share of each class among the picks, as a multiple of the pool's"]

    assert [bought[at] / 30 for at in range(10)] == pytest.approx([float(row[2]) for row in rows])
    assert 1 == pytest.approx(sum(float(row[1]) for row in rows))
    drawn = next(figure for figure in page.figures if "middle" in figure)

    assert [row[0] for row in drawn["values"]] == pytest.approx([float(row[3]) for row in rows])


def test_the_picks_are_shown_with_reasons(page: Page, record: Record) -> None:
    """Nobody could tell why one was bought."""
    chosen = [record.result(cycle, Chosen) for cycle in range(2)]
    images = [attrs for tag, attrs in page.tags if tag == "img"]

    assert all(done is not None and done.ids[0] in page.text for done in chosen)
    assert 2 * 9 == len(images) and all(image["alt"] for image in images)
    assert "core_set pick 1 of 15" in page.text and page.text.count("model: ") == 18
    assert "Chosen first" in page.text and "Most wanted" not in page.text  # distances, not scores


def test_the_map_has_what_each_cycle_bought(page: Page) -> None:
    """Clusters that nobody looked into are what a map is for."""
    drawn = next(figure for figure in page.figures if "ids" in figure)
    rows = page.tables["Places on the map: core_set"]

    assert {-1: 15, 0: 15, 1: 15, None: 15} == Counter(drawn["cycles"])
    assert ["first labels", "cycle 0", "cycle 1"] == [row[0] for row in rows[1:4]]
    assert 60 == len(drawn["pictures"])


def test_a_run_that_ends_asks_no_model(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of large models would end minutes later."""
    from rayal.report import picked
    from rayal.report.page import asked

    for module in (picked, asked):
        monkeypatch.setattr(module, "network_of", None)
    found = Page(html(Seen(summarise([record]), [record], asks_models=False)))

    assert "Confusion in cycle 2" in found.text and "model: " not in found.text
    assert f"rayal report {record.folder.url} --html report.html" in found.text


def test_a_run_of_an_older_rayal_is_asked_again(record: Record, tmp_path: Path) -> None:
    """Models of old runs would say nothing more; and the same models say the same."""
    old = tmp_path / "old"
    shutil.copytree(record.folder.url, old)
    for cycle in range(3):
        folder = Folder(old / f"cycle-{cycle:03d}/evaluate")
        folder.remove(FILE)
        done = folder.read_sealed("done.json")
        for name in ("confusion", "calibration"):
            del done["result"][name]
        folder.write_sealed("done.json", done)
    (again,) = find_records([str(old)])
    now, then = (Page(html(Seen(summarise([each]), [each]))) for each in (record, again))
    same = [name for name in now.tables if name.startswith(("Confusion in", "Calibration: "))]

    assert [now.tables[name] for name in same if "Confusion" in name] == [
        then.tables[name] for name in same if "Confusion" in name
    ]
    assert 4 == len(same)
    errors = [each.tables["Calibration error: core_set"] for each in (now, then)]
    assert [row[:3] for row in errors[0]] == [row[:3] for row in errors[1]]
    assert [float(row[3]) for row in errors[0][1:]] == pytest.approx(
        [float(row[3]) for row in errors[1][1:]], abs=1e-6
    )
