import time
from pathlib import Path

import numpy as np
import pytest

from rayal.report.page.document import MAPS, PICKS, html
from rayal.report.page.seen import Seen
from rayal.report.statistics import interval
from rayal.report.tables import summarise
from rayal.runs.confusion import read_confusion
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from tests.support import made_up
from tests.support.pages import Page

PICKED = "Share of each class among the picks, as a multiple of the pool's"


def page(records: list[Record]) -> Page:
    return Page(html(Seen(summarise(records), records)))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Two arms of three seeds."""
    place = tmp_path_factory.mktemp("runs")
    return [
        made_up.run(place / f"{strategy}-{seed}", strategy=strategy, seed=seed, height=height)
        for strategy, height in (("margin", 0.6), ("random", 0.5))
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def seen(records: list[Record]) -> Page:
    return page(records)


def test_sections_in_order(seen: Page) -> None:
    """What the runs come to would stand below pages of figures."""
    links = [attrs["href"] for tag, attrs in seen.tags if tag == "a"]

    assert seen.text.index("Verdict") < seen.text.index("Learning curves")
    assert links == [f"#section-{n}" for n in range(1, len(links) + 1)]
    assert "margin needs" in seen.text


def test_every_number_of_the_curves_is_the_folders(seen: Page, records: list[Record]) -> None:
    """A page that rounds, or averages in another way, is another experiment."""
    _, *rows = seen.tables["Points of the curves: made_up on x"]
    by_arm: dict[tuple[str, int], list[float]] = {}
    for record in records:
        strategy = record.experiment()["strategy"]["name"]
        for row in record.cycles():
            by_arm.setdefault((strategy, row["labels"]), []).append(row["accuracy"])
    expected = {
        key: (len(values), interval(values).mean, interval(values).half)
        for key, values in by_arm.items()
    }
    found = {
        (arm, int(labels)): (int(seeds), float(mean), float(half))
        for arm, labels, seeds, mean, half in rows
    }

    assert expected == found


def test_times_and_costs_are_the_folders(seen: Page, records: list[Record]) -> None:
    """A price is decided by them."""
    _, *rows = seen.tables["Time and cost: made_up on x"]
    mine = [r for r in records if r.experiment()["strategy"]["name"] == "margin"]
    by_cycle = list(zip(*(record.cycles() for record in mine), strict=True))
    trained = [sum(row["train_seconds"] for row in each) / 3 for each in by_cycle]

    assert [float(row[4]) for row in rows[:3]] == pytest.approx(trained)
    assert [float(row[3]) for row in rows[:3]] == [10, 20, 30]


def test_classes_and_other_measures_are_the_folders(seen: Page) -> None:
    """The mean over seeds 0 to 2 of 0.6 + 0.001 * (class + seed)."""
    _, cat, dog = seen.tables["Test accuracy (%) of the class: margin"]
    _, first, *_ = seen.tables["nll: made_up on x"]

    assert [float(value) for value in cat[1:]] == pytest.approx([0.601] * 3)
    assert [float(value) for value in dog[1:]] == pytest.approx([0.602] * 3)
    assert float(first[2]) == pytest.approx(1.01)


def test_figures_show_what_their_tables_say(seen: Page) -> None:
    """Eyes would compare other numbers than those who copy them."""
    curves = next(figure for figure in seen.figures if "heights" in figure)
    _, *rows = seen.tables["Points of the curves: made_up on x"]
    drawn = [
        (series["name"], x, y)
        for series in curves["series"]
        for x, y in zip(series["x"], series["y"], strict=True)
    ]

    assert drawn == [(row[0], int(row[1]), pytest.approx(100 * float(row[3]))) for row in rows]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    """A class, a unit or a strategy could run a script in the browser of whoever reads a report."""
    records = [
        made_up.run(
            tmp_path / str(seed),
            strategy=made_up.HOSTILE[1],
            name=made_up.HOSTILE[0],
            seed=seed,
            classes=made_up.HOSTILE,
            unit=made_up.HOSTILE[2] + "{}",
            confusion=np.full((8, 8), 2),
            pool=[10] * 8,
        )
        for seed in range(2)
    ]
    records.append(
        made_up.again(records[0], tmp_path / "other", strategy={"name": made_up.HOSTILE[3]})
    )
    found = page(records)
    made_of = {name for figure in found.figures for name in figure.get("rows", ())}
    heat = next(figure for figure in found.figures if figure.get("digits") == 0)
    tags = {tag for tag, _ in found.tags}

    assert [name for name in heat["rows"]][:6] == [*made_up.HOSTILE[:6]]
    assert made_up.HOSTILE[0] in found.text and made_up.HOSTILE[3] in found.text
    assert f"{made_up.HOSTILE[0]} → {made_up.HOSTILE[1]}" in made_of
    assert f"{made_up.HOSTILE[1]} – {made_up.HOSTILE[3]}" in made_of
    assert {*made_up.HOSTILE[:6]} <= {row[0] for row in found.tables[PICKED][1:]}
    assert not {"svg", "b"} & tags and not [a for _, a in found.tags if "onerror" in a]
    assert all("hacked" not in script for script in found.scripts)


CONFUSION = np.array([[6, 2, 0], [1, 4, 3], [0, 0, 0]])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Two arms of two seeds that keep what test images say, and the classes of the pool."""
    place = tmp_path_factory.mktemp("kept")
    return [
        made_up.run(
            place / f"{strategy}-{seed}",
            strategy=strategy,
            seed=seed,
            classes=("ant", "bee", "cow"),
            unit=unit,
            confusion=CONFUSION,
            pool=[50, 25, 25],
        )
        for strategy, unit in (("margin", "m-{}"), ("random", "r-{}"))
        for seed in range(2)
    ]


@pytest.fixture
def alone(kept: list[Record], monkeypatch: pytest.MonkeyPatch) -> Page:
    """Their page, where nobody has the images, and no model may be asked."""
    for module in ("originals", "asked"):
        monkeypatch.delattr(f"rayal.report.page.{module}.{NEEDS[module]}")
    return Page(html(Seen(summarise(kept), kept, asks_models=False)))


NEEDS = {"originals": "store_of", "asked": "network_of"}


def test_confusion_of_every_cycle_is_the_folders(alone: Page, kept: list[Record]) -> None:
    """Another matrix than the model's would send people after the wrong classes."""
    for cycle in range(3):
        title = f"Confusion in cycle {cycle}, {10 * (cycle + 1)} labels: margin"
        header, *rows = alone.tables[title]
        expected = read_confusion(kept[0], cycle, 3)

        assert ["true class", "ant", "bee", "cow"] == header
        assert expected is not None and (cycle + 1) * CONFUSION.sum() == expected.sum()
        assert expected.tolist() == [[int(cell) for cell in row[1:]] for row in rows]


def test_the_most_frequent_confusions(alone: Page) -> None:
    """Three of eight bees are taken for cows, two of eight ants for bees, one bee for an ant."""
    header, *rows = alone.tables["Most frequent confusions by labels: margin"]

    assert ["10", "20", "30"] == header[1:]
    assert {"bee → cow": 0.375, "ant → bee": 0.25, "bee → ant": 0.125} == {
        row[0]: float(row[3]) for row in rows
    }


def test_calibration_is_the_folders(alone: Page, kept: list[Record]) -> None:
    """A temperature is taken from here, and put into production."""
    told = [kept[0].result(cycle, Evaluated) for cycle in range(3)]
    found = [each.calibration for each in told if each and each.calibration]
    _, *rows = alone.tables["Calibration error: margin"]
    _, *bins = alone.tables["Calibration: margin"]
    _, *curve = alone.tables["Calibration error (%): made_up on x"]

    assert [[each.ece, each.ece_after, each.temperature] for each in found] == [
        [float(cell) for cell in row[3:]] for row in rows
    ]
    assert [value for each in found for value in each.confidence] == [float(r[1]) for r in bins]
    assert [value for each in found for value in each.accuracy] == [float(r[2]) for r in bins]
    assert [each.ece for each in found] == pytest.approx(
        [float(row[2]) for row in curve if row[0] == "margin"]
    )


def test_classes_of_the_picks_need_no_images(alone: Page) -> None:
    """Of twenty that were bought eight are ants, of a hundred in the pool fifty."""
    _, *rows = alone.tables[PICKED]

    assert [["ant", 0.5, 0.4], ["bee", 0.25, 0.3], ["cow", 0.25, 0.3]] == [
        [row[0], *map(float, row[1:3])] for row in rows
    ]


def test_every_figure_has_its_table(alone: Page) -> None:
    """Numbers that nobody can read out, or copy."""
    titles = [attrs for tag, attrs in alone.tags if tag == "div" and attrs.get("class") == "figure"]

    assert len(alone.figures) == len(titles) == alone.text.count("Table of “")


def test_older_runs_say_what_they_lack(records: list[Record]) -> None:
    """Whoever looks for calibration would not know how to get it."""
    found = Page(html(Seen(summarise(records), records, asks_models=False)))

    assert "kept neither confusion nor calibration; rayal report " in found.text


def test_large_matrices_are_left_out(tmp_path: Path) -> None:
    """A page of a thousand classes would be one of a million cells."""
    classes = [f"class {n}" for n in range(50)]
    record = made_up.run(tmp_path / "run", classes=classes, confusion=np.ones((50, 50), np.int64))
    found = page([record])

    assert "No confusion matrix of 50 classes is drawn here; cycle-NNN/evaluate" in found.text
    assert 9 == len(found.tables["Most frequent confusions by labels: random"])


def test_fifty_runs_of_ten_cycles_are_small_and_soon_written(tmp_path: Path) -> None:
    """A report that no mail takes, or that nobody waits for."""
    classes = [f"class {n}" for n in range(10)]
    many = {"confusion": np.full((10, 10), 3), "pool": [100] * 10}
    first = made_up.run(tmp_path / "first", cycles=10, classes=classes, **many)
    records = [
        made_up.again(
            first,
            tmp_path / f"{arm}-{seed}",
            strategy={"name": f"strategy_{arm}" if arm else "random"},
            seed=seed,
        )
        for arm in range(10)
        for seed in range(5)
    ]
    summary = summarise(records)
    started = time.process_time()
    text = html(Seen(summary, records))

    assert len(text.encode()) + PICKS + MAPS <= 3_000_000
    assert time.process_time() - started < 30


def test_nothing_yet(tmp_path: Path) -> None:
    """A run that has just begun has a page too."""
    (tmp_path / "run").mkdir()
    record = made_up.run(tmp_path / "run", cycles=1)

    assert "made_up on x" in page([record]).text
