"""What is done with a finished run on vectors, which nobody can look at."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import rayal
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from tests.support.whole_runs import go

SEEN = r"vectors of features \(C\)"


@pytest.fixture(scope="module")
def run(undrawn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cycles of a linear head on somebody's vectors."""
    root, rng = tmp_path_factory.mktemp("vectors"), np.random.default_rng(0)
    for name, count in (("pool", 60), ("test", 12)):
        ids = np.array([f"{name}-{row}" for row in range(count)])
        labels = np.array(["cat", "dog"] * (count // 2))
        features = rng.normal(size=(count, 6)) + (labels == "cat")[:, None]
        np.savez(root / f"{name}.npz", id=ids, features=features, label=labels)
    files = {"pool": "pool.npz", "test": "test.npz", "store": str(root)}
    x = Experiment(
        name="vectors",
        dataset={"name": "features", "root": str(root), **files},
        model="linear_head",
        scheme={"epochs": 1, "batch_size": 8},
        strategy="core_set",
        budget={"initial": 10, "per_cycle": 10, "total": 20},
        compute={"engine": "local"},
        tracking="none",
    )
    go(x, root / "run")
    return root / "run"


def test_pictures_are_left_out(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One picture that cannot be drawn would take the results per class with it."""
    drawn = list[str]()
    compared = rayal.compare(run)
    compared.draw(tmp_path)
    compared.draw_pictures(on_picture=drawn.append)

    assert (tmp_path / "curves.png").exists()
    assert drawn and not [url for url in drawn if "cycle-" in url]
    assert f"{run}: no pictures of vectors of features (C)" in caplog.text
    with pytest.raises(UsageError, match=f"chose {SEEN}, of which there are no pictures"):
        rayal.open_run(run).pictures(0)


def test_labels_are_handed_on_alone(run: Path, tmp_path: Path) -> None:
    """Labels of a study on features would stay in its folder."""
    assert 20 == rayal.export_labels(run, "csv", tmp_path / "csv").labels
    rayal.export_labels(run, "parquet", tmp_path / "parquet")
    with open(tmp_path / "csv/labels.csv", newline="", encoding="utf-8-sig") as file:
        rows = {row["rayal_id"]: row["label"] for row in csv.DictReader(file)}
    table = pq.read_table(tmp_path / "parquet/labels-00000.parquet")
    names = [("cat", "dog")[label] for label in table["label"].to_pylist()]

    assert all(("cat", "dog")[int(unit.split("-")[1]) % 2] == rows[unit] for unit in rows)
    assert ["id", "label", "cycle"] == table.column_names
    assert rows == dict(zip(table["id"].to_pylist(), names, strict=True))
    with pytest.raises(UsageError, match=f"coco carries pictures, .*{SEEN}; use csv, parquet"):
        rayal.export_labels(run, "coco", tmp_path / "coco")


def test_picks_are_shown_to_nobody(run: Path, tmp_path: Path) -> None:
    """A request would be half written."""
    score, out = run / "cycle-000/score", tmp_path / "picks"
    with pytest.raises(UsageError, match=f"{SEEN}, which people cannot be shown; leave out req"):
        rayal.select(str(score), "core_set", budget=3, out=out, request="csv")
    assert not [*tmp_path.iterdir()]

    assert 3 == len(rayal.select(str(score), "core_set", budget=3, out=out).ids)


def test_its_model_looks_at_no_pictures(run: Path, tmp_path: Path) -> None:
    """It would be told to leave out a setting that nobody has set."""
    with pytest.raises(UsageError, match=f"takes {SEEN}.*; score vectors in a run on dataset fea"):
        rayal.score(str(run), str(tmp_path), "entropy", out=tmp_path / "out")

    assert [*(run / "cycle-000/score").glob("shard-*.parquet")]
