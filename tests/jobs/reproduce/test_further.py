"""Published tables that are no curves, beside what runs and analyses found."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from further import Analysis, analysed, by_class, whole

from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder

CLASSES = tuple(map(str, range(10)))
GAPS = Analysis("gradnorm.py", "gaps.csv", "labels", {"gap": ""})


def cells(table: str, method: str) -> tuple[list[str], list[str]]:
    """The numbers of the paper's row of a method, and the row of ours."""
    lines = table.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f"| {method} |"))
    paper, ours = (line.strip("| ").split(" | ") for line in lines[at : at + 2])
    return paper[3:], ours


def write(out: Path, method: str, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    (out / "analysis" / method).mkdir(parents=True)
    (out / "analysis" / method / "gaps.csv").write_text(text.getvalue())


def test_the_whole_table_by_hand() -> None:
    """Mean 2, sd 1 of n = 3: half a 95 % t-interval is 4.303 / sqrt(3) = 2.48; one value has none,
    and what is not there is said."""
    paper = {"cod": {"a": [1.0], "b": [2.0]}, "tod": {"b": [3.0]}}
    ours = {"cod": {"a": [1.0, 2.0, 3.0], "b": [5.0]}, "more": {"a": [4.0]}}
    table = whole("Table 9", ["a", "b"], paper, ours, digits=2)

    assert table.startswith("#### Table 9\n\n| method | whose | n | a | b |\n")
    assert (["1.00", "2.00"], ["ours", "3", "2.00 ± 2.48", "5.00"]) == cells(table, "cod")
    assert (["–", "3.00"], ["ours", "0", "not run", "not run"]) == cells(table, "tod")
    assert (["–", "–"], ["ours", "1", "4.00", "not run"]) == cells(table, "more")


def test_what_an_analysis_wrote_is_beside_the_paper(tmp_path: Path) -> None:
    """Seeds are averaged by label count; rows of other methods of the file do not count."""
    rows = [
        {"method": "own", "labels": 100, "gap": 3.0},
        {"method": "own", "labels": 100, "gap": 4.0},
        {"method": "control", "labels": 100, "gap": 90.0},
        {"method": "own", "labels": 150, "gap": 1.5},
    ]
    write(tmp_path, "cod", rows)
    how = GAPS._replace(only=("method", "own"))
    table = analysed("Gap", how, {"cod": {100: 5.0, 200: 6.0}}, 1, note="In words.")
    text = table(Folder(tmp_path), {})

    assert (["5.0", "6.0"], ["ours", "2", "3.5 ± 6.4", "not run"]) == cells(text, "cod")
    assert "In words." in text and "not analysed" not in text


def test_the_command_that_is_left_is_told(runs: list[str], tmp_path: Path) -> None:
    """A reader would not know how to fill the row; of methods without runs there is none to run."""
    records = [Record(Folder(run)) for run in runs]
    table = analysed("Gap", GAPS, {"cod": {100: 5.0}, "vaal": {100: 6.0}}, 1)
    text = table(Folder(tmp_path), {"cod": records})

    place = f"{tmp_path}/analysis/cod"
    assert f"    python jobs/analyse/gradnorm.py {' '.join(runs)} --out {place}" in text
    assert 1 == text.count("python ") and "analysis/vaal" not in text


def test_classes_are_those_of_the_run(runs: list[str], tmp_path: Path) -> None:
    """The numbers of another cycle, or of other classes, would stand beside the paper's."""
    records = [Record(Folder(run)) for run in runs]
    paper = {"cod": range(10), "tod": range(10)}
    text = by_class("By class", "per_class_accuracy", 60, CLASSES, paper)(
        Folder(tmp_path), {"cod": records}
    )
    found = [record.result(2, Evaluated) for record in records]
    first = [each.metrics["per_class_accuracy"][0] for each in found if each]  # type: ignore[index]
    printed, ours = cells(text, "cod")

    assert [str(n) for n in range(10)] == printed
    assert "2" == ours[1]
    assert float(ours[2].split(" ± ")[0]) == pytest.approx(50 * sum(first), abs=0.5)
    assert {"not run"} == set(cells(text, "tod")[1][2:])


def test_reports_have_them(
    tiny: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that is defined and never shown."""
    import reproduction
    from reproduction import Comparison, Method

    file = tmp_path / "small.yaml"
    from rayal.experiment import config

    file.write_text(config.dump(tiny(name="small", strategy="random")))
    methods = {"random": Method(str(file), "random", "Ran")}
    table = analysed("Gap of all", GAPS, {"random": {100: 5.0}}, 1)
    comparisons = {"digits": Comparison(methods, further=[table])}
    reproduction.reproduce("small", comparisons, out=str(tmp_path / "out"), only_report=True)

    assert "#### Gap of all" in (tmp_path / "out" / "small_digits.md").read_text()
    assert "| random | paper | – | 5.0 |" in capsys.readouterr().out
