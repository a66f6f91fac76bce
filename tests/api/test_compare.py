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
    written = [*drawn.curves, *drawn.classes, *drawn.tables]
    assert sorted((tmp_path / "figures").iterdir()) == sorted(written)
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


def test_what_it_comes_to(found: rayal.Comparison, runs: Path) -> None:
    """The verdict of the page, of a table and of the JSON are one."""
    (group,) = json.loads(found.to_json())["groups"]
    (row,) = found.verdicts().itertuples()

    assert ("entropy", "random", 2) == (row.arm, row.baseline, row.seeds)
    assert row.verdict == group["verdicts"][0]["verdict"]
    assert row.verdict in found.to_markdown()
    assert {"entropy", "random"} == {*found.penalties()["winner"]}
    assert found.ranks().empty  # of two arms the test says all
    assert r"\caption{" in found.to_latex()


def test_a_height_that_labels_are_counted_up_to(runs: Path) -> None:
    """A team has a requirement; 95 for 95 % is said, not reached by none."""
    (row,) = rayal.compare(runs, target=0.3).verdicts().itertuples()

    assert 0.3 == row.height
    with pytest.raises(UsageError, match="target 95 is no accuracy of"):
        rayal.compare(runs, target=95)


def test_figures_for_a_paper(found: rayal.Comparison, tmp_path: Path) -> None:
    """Vectors at the width of a column, where they were asked for."""
    drawn = found.draw(tmp_path, for_paper=True)

    assert {"curves-column.pdf", "curves-page.svg"} <= {path.name for path in drawn.paper}
    assert all(path.stat().st_size > 1000 for path in drawn.paper)


def test_the_page(found: rayal.Comparison, tmp_path: Path) -> None:
    """A notebook could do less than the command; and a folder that is not there yet is made."""
    file = found.write_html(tmp_path / "new" / "page.html")

    assert file.read_text(encoding="utf-8") == found.to_html()
    assert "<h1>" in found.to_html()
    with pytest.raises(StorageError, match="page.html"):
        found.write_html(file / "page.html")
    with pytest.raises(UsageError, match="map_by='tsne': give pca or umap"):
        found.to_html(map_by="tsne")  # type: ignore[arg-type]
