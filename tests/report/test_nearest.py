"""Pairs of near images: read from a whole run, and drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.report.nearest import Neighbours, draw, of_chosen, of_passed_over, pairs
from rayal.report.pictures import files
from rayal.report.reasons import reasons
from rayal.report.tables import summarise
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from tests.support.whole_runs import go, sixty

CYCLE = 0


@pytest.fixture(scope="module")
def run(
    tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Record, Path]:
    """A run that passes over some units, and its folder; how far units are apart is seen first."""
    folders = [tmp_path_factory.mktemp(name) for name in ("seen", "guarded")]
    go(sixty(tiny, 32, strategy="margin", guards={"min_distance": 0}), folders[0])
    seen = Record(Folder(folders[0])).result(CYCLE, Chosen)
    assert seen is not None
    least = seen.distances["chosen"]["25%"]
    x = sixty(tiny, 32, strategy="margin", guards={"min_distance": least, "per_class": 9})
    go(x, folders[1])
    return x, Record(Folder(folders[1])), folders[1]


def test_pairs_are_on_both_sides_of_the_limit(run: tuple[Any, Record, Path]) -> None:
    """Whoever looks for a better limit would see pairs far from the one that is set."""
    x, record, out = run
    least = x.guards.min_distance
    kept, over = of_chosen(record, CYCLE), [*of_passed_over(record, CYCLE)]
    chosen = record.result(CYCLE, Chosen)
    assert chosen is not None and over
    table = csv_file.parse((out / "cycle-000/select/chosen.csv").read_bytes()).to_pydict()

    assert [*chosen.ids] == [*kept]
    for row, pair in enumerate(kept.values()):
        both = [float(table[c][row]) for c in ("to_labeled", "to_chosen") if table[c][row]]
        assert min(both) == pair.distance >= least
    assert all(pair.distance < least and pair.passed_over for pair in over)
    found = pairs(record, CYCLE, 2)
    assert sorted(each.distance for each in over)[-2:] == [
        each.distance for each in found if each.passed_over
    ]
    assert sorted(each.distance for each in kept.values())[:2] == [
        each.distance for each in found if not each.passed_over
    ]


def test_pictures_have_them(run: tuple[Any, Record, Path]) -> None:
    """`rayal report --pictures` is where people look."""
    names = [name for name, data in files(run[1], 2) if data.startswith(b"\x89PNG")]

    assert {"cycle-000-nearest.png", "cycle-000.png"} <= {*names}


def test_reasons_name_the_nearest(run: tuple[Any, Record, Path]) -> None:
    """A rank in the ranking would be told that guards have made another one."""
    x, record, _ = run
    found, kept = reasons(record, x, CYCLE), of_chosen(record, CYCLE)

    for rank, (unit, reason) in enumerate(found.items(), start=1):
        assert reason.text.startswith(f"margin pick {rank}, ")
        assert reason.text.endswith(f" of 45 score higher, {kept[unit]}")
    first = next(iter(kept.values()))
    assert str(first) == f"{first.distance:.4g} from labeled {first.second}"


def test_reports_have_the_balance_and_the_distances(run: tuple[Any, Record, Path]) -> None:
    """People without a true label have nothing else to judge a choice by."""
    _, record, _ = run
    summary = summarise([record])
    table = next(each for each in summary.tables() if "guards of margin" in each.title)
    chosen = record.result(CYCLE, Chosen)
    assert chosen is not None
    row = table.rows[CYCLE]

    assert ["0", "1", str(len(chosen.ids))] == row[:3]
    assert f"{chosen.passed_over['too near']} too near" in row[3]
    assert f"{100 * max(chosen.predicted.values()) / len(chosen.ids):.0f} %" == row[4]
    assert f"{chosen.distances['labeled']['0%']:.4g}" == row[5]
    assert "guards of margin" in summary.to_markdown()


def test_a_run_without_guards_has_none(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """An empty picture and an empty table would stand in every report."""
    go(sixty(tiny, 32, strategy="margin"), tmp_path)
    record = Record(Folder(tmp_path))

    assert {} == of_chosen(record, 0) and [] == [*of_passed_over(record, 0)]
    assert not any("nearest" in name for name, _ in files(record, 2))
    assert not any("guards" in table.title for table in summarise([record]).tables())


def test_drawn_side_by_side() -> None:
    """Two of a pair would stand in different lines."""
    images = [np.full((4, 4, 3), shade, np.uint8) for shade in range(8)]
    seen = [
        (Neighbours(f"a{n}", f"b{n}", n / 2, "labeled", n == 0), images[2 * n], images[2 * n + 1])
        for n in range(4)
    ]
    axes = draw(seen, "title").axes
    shown = [(ax.get_xlabel(), int(ax.images[0].get_array()[0, 0, 0])) for ax in axes if ax.images]

    assert [shade for _, shade in shown] == [*range(8)]
    assert ("passed over\na0", 0) == shown[0] and ("labeled\nb0", 1) == shown[1]
    assert "chosen\na3" == shown[6][0]
    assert ["0 apart", "0.5 apart", "1 apart", "1.5 apart"] == [
        title for ax in axes if (title := ax.get_title(loc="left"))
    ]
