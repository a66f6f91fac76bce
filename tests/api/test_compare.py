"""`rayal.compare`: what `rayal report` shows, in Python."""

import io
import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from matplotlib.figure import Figure

import rayal
from rayal.errors import StorageError, UsageError


@pytest.fixture(scope="module")
def found(runs: Path) -> rayal.Comparison:
    return rayal.compare(runs)


def test_tables_are_those_of_the_report(found: rayal.Comparison, runs: Path) -> None:
    """A paper's numbers would depend on how they were asked for."""
    table, curves, (group,) = found.table(), found.curves(), json.loads(found.to_json())["groups"]
    read = {
        name: [rayal.open_run(runs / f"{name}-{seed}").curve()["accuracy"] for seed in (0, 1)]
        for name in ("entropy", "random")
    }

    assert ["entropy", "random"] == [*table["arm"]] and [2, 2] == [*table["complete"]]
    for (_, row), arm in zip(table.iterrows(), group["arms"], strict=True):
        last = pandas.Series([curve.iloc[-1] for curve in read[row["arm"]]])
        assert (row["mean"], row["sd"]) == pytest.approx((last.mean(), last.std()))
        assert row["aulc"] == arm["aulc"]["mean"]
    csv = pandas.read_csv(io.StringIO(found.to_csv()))
    assert [*csv["mean"]] == [*curves["mean"]] and [*csv["labels"]] == [*curves["labels"]]
    (pair,) = found.tests().itertuples()
    assert (pair.first, pair.second, pair.n) == ("entropy", "random", 2)
    assert (pair.p_holm, pair.verdict) == (
        group["pairs"][0]["p_holm"],
        group["pairs"][0]["verdict"],
    )
    assert found.warnings and found.warnings == json.loads(found.to_json())["warnings"]
    assert all(warning in str(found) for warning in found.warnings)


def test_a_comparison_is_shown_in_a_line(found: rayal.Comparison, one_damaged: Path) -> None:
    """A notebook's list of them would be thousands of signs of numbers."""
    assert "<Comparison of 4 runs, 2 arms>" == repr(found)
    assert "3 runs, 2 arms, 1 could not be read>" in repr(rayal.compare(one_damaged))


def test_figures_are_drawn_where_they_are_asked_for(
    found: rayal.Comparison, tmp_path: Path
) -> None:
    """A notebook would show nothing, or the files be elsewhere than said."""
    drawn = found.draw(tmp_path / "figures")

    assert isinstance(found.plot(), Figure)
    assert sorted((tmp_path / "figures").iterdir()) == sorted([*drawn.curves, *drawn.classes])
    assert all(path.stat().st_size > 1000 for path in drawn.curves)


def test_pictures_of_all_that_can_be_drawn(one_damaged: Path) -> None:
    """The images of one run that is broken would keep those of the others from being drawn."""
    found, told = rayal.compare(one_damaged), list[str]()
    weights = next((one_damaged / "random-0").glob("cycle-000/train/*.safetensors"))
    weights.write_bytes(b"broken")
    with pytest.raises(StorageError):
        found.draw_pictures(1, on_picture=told.append)

    assert {"entropy-0", "random-1"} <= {Path(url).parts[-3] for url in told}
    assert all(Path(url).stat().st_size > 1000 for url in told)


def test_a_bad_folder_hides_no_other(one_damaged: Path) -> None:
    """A report of a hundred runs would end with the first that is damaged, or leave it out without
    a word."""
    found = rayal.compare([one_damaged, one_damaged / "absent"])

    assert [("entropy", 1), ("random", 2)] == [
        *found.table()[["arm", "n"]].itertuples(index=False, name=None)
    ]
    assert [4, 2] == [error.exit_code for error in found.errors]
    assert "absent: no run folder" in found._repr_html_()
    with pytest.raises(StorageError, match="2 problems, all else is done"):
        found.check()
    with pytest.raises(StorageError, match="entropy-1"):
        rayal.compare(one_damaged / "entropy-1")


def test_a_reference_is_beside_the_runs_and_none_of_them(
    runs: Path, tiny: Any, tmp_path: Path
) -> None:
    """Full data would be an arm of one point, or be drawn where nobody finds it."""
    x = tiny(
        name="full",
        strategy="random",
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 60, "per_cycle": 20, "total": 60},
    )
    full = rayal.run(x, tmp_path / "full")
    found = rayal.compare([runs, tmp_path], reference=full)

    assert "<Comparison of 4 runs, 2 arms>" == repr(found)
    table = found.references()
    assert {"full"} == {*table["reference"]} and {60} == {*table["labels"]}
    assert [full.curve()["accuracy"].iloc[-1]] * 2 == [*table["mean"]]
    assert "references" in str(found) and "is of other data" not in str(found.warnings)
    assert 0 == len(rayal.compare(runs).references())
    with pytest.raises(UsageError, match="all runs are references; give runs to compare"):
        rayal.compare(tmp_path, reference=tmp_path)
    rayal.compare([tmp_path, runs], reference=tmp_path)
