"""Bounds on influence in a real run."""

import numpy as np
import pytest
import torch
from analysis import Study
from curvature import Slopes, conjugate_gradient

from jobs.analyse.influence import batches, entropy_loss
from rayal.models.network import LAST_LAYER
from rayal.runs.record import Record
from rayal.storage.folder import Folder

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    # torch 2.15: its own rules for forward mode
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
]


@pytest.fixture(scope="module")
def study(runs):
    return Study(Record(Folder(runs[0])))


@pytest.mark.parametrize("only", [None, LAST_LAYER])
def test_bounds_hold_for_every_unit(study, only):
    """Target <= |target| <= ||g|| ||v||, pointwise, for a trained network (methods, Sec. 27.3)."""
    slopes = Slopes(study.network(2).double(), only)
    labeled = batches(study, list(study.labeled(2)), "pool", 0, torch.float64)
    test = batches(study, study.store.test.ids(), "test", 0, torch.float64)
    b = slopes.gradient(test, entropy_loss)
    v = conjugate_gradient(slopes.curvature(labeled, 0.1), b, 30, 1e-6).x

    def measure(images, truth):
        images = images.double()
        along = slopes.along(v, images, truth, entropy_loss)
        return torch.stack([along, slopes.norms(images, truth, entropy_loss)], dim=1)

    along, norms = study.per_unit([str(u) for u in study.columns(1)["cod"].ids], measure).T
    assert (along <= np.abs(along)).all()
    assert (np.abs(along) <= norms * v.norm().item() * (1 + 1e-9)).all()
    assert (np.abs(along) > 0).any()


def test_units_are_a_seeded_subset(study):
    """0 means all; a subset is the same at every call and has no unit twice."""
    ids = study.store.test.ids()
    some = [batches(study, ids, "test", 7, torch.float32) for _ in range(2)]
    every = batches(study, ids, "test", 0, torch.float32)

    assert sum(len(truth) for _, truth in every) == len(ids)
    assert sum(len(truth) for _, truth in some[0]) == 7
    assert all(torch.equal(a[0], b[0]) for a, b in zip(*some, strict=True))


@pytest.mark.parametrize("layers", ["all", "last"])
def test_end_to_end(layers, runs, program, rows, assert_drawn, artifacts, tmp_path, capsys):
    """The program as a user starts it: figure, table, MLflow, and numbers that fit."""
    options = ["--layers", layers, "--iterations", 3, "--test-units", 40, "--train-units", 30]
    assert program("analyse/influence.py", runs[0], "--out", tmp_path, *options) == 0

    assert_drawn(tmp_path / "influence_fig3")
    names = ("influence_fig3.png", "influence_fig3.svg", "influence_table2.csv")
    assert set(names) <= artifacts(Record(Folder(runs[0])).run_id)
    table = rows(tmp_path / "influence_table2.csv")
    assert [row["cycle"] for row in table] == ["0", "1", "2"]
    for row in table:
        assert float(row["target"]) <= float(row["approx_1"]) <= float(row["approx_2"])
        assert float(row["by_chance"]) == pytest.approx(20 * 20 / int(row["candidates"]))
    cut_short = "stopped before" in capsys.readouterr().err
    assert cut_short == (layers == "all")


def test_a_run_without_a_next_cycle(finished, program, tmp_path, capsys):
    """Nothing was trained on what the run chose: there is no table, and an error says so."""
    run = finished("one-training", budget={"initial": 20, "per_cycle": 20, "total": 20})

    assert program("analyse/influence.py", run, "--out", tmp_path) == 2
    assert "two cycles" in capsys.readouterr().err
