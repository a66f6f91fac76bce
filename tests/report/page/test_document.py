import time
from pathlib import Path

import pytest

from rayal.report.page.document import MAPS, PICKS, html
from rayal.report.page.seen import Seen
from rayal.report.statistics import interval
from rayal.report.tables import summarise
from rayal.runs.record import Record
from tests.support import made_up
from tests.support.pages import Page


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
        )
        for seed in range(2)
    ]
    found = page(records)
    heat = next(figure for figure in found.figures if figure.get("digits") == 0)
    tags = {tag for tag, _ in found.tags}

    assert [name for name in heat["rows"]][:6] == [*made_up.HOSTILE[:6]]
    assert made_up.HOSTILE[0] in found.text and made_up.HOSTILE[3] in found.text
    assert not {"svg", "b"} & tags and not [a for _, a in found.tags if "onerror" in a]
    assert all("hacked" not in script for script in found.scripts)


def test_fifty_runs_of_ten_cycles_are_small_and_soon_written(tmp_path: Path) -> None:
    """A report that no mail takes, or that nobody waits for."""
    classes = [f"class {n}" for n in range(10)]
    first = made_up.run(tmp_path / "first", cycles=10, classes=classes)
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
