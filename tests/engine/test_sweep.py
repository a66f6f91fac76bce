"""A sweep on Ray Tune: every trial once, again after a failure, stopped early, searched."""

import json
from contextlib import contextmanager

import pytest

from rayal.errors import DataError
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import Plugins
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.sweep.sweeping import start_sweep

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SHORT = {"initial": 20, "per_cycle": 20, "total": 40}


@pytest.fixture
def swept(tiny):
    def build(space, **fields):
        sweep = {"seeds": [0, 1], "space": space, **fields.pop("sweep", {})}
        x = tiny(strategy="random", budget=fields.pop("budget", SHORT), **fields)
        return SweptExperiment.model_validate({**x.model_dump(mode="json"), "sweep": sweep})

    return build


def run(x, out):
    """Runs a sweep on the cluster of these tests; what it found, and what was told."""

    @contextmanager
    def joined():
        yield 2

    notes = Notes()
    with start_sweep(x, str(out), plugins=Plugins(["faulty"])) as opened:
        found = opened.run(joined, notes)
    return found, notes.told


class Notes:
    """Keeps arm, with seed, and outcome of every trial that ends."""

    def __init__(self):
        self.told = []

    def on(self, event):
        if event.what == "ended":
            arm, _, outcome = event.note.partition(": ")
            self.told.append((arm, outcome))


def picks(out):
    """Every trial's chosen ids."""
    return {p.parts[-4]: p.read_text() for p in out.glob("trials/*/cycle-*/select/chosen.csv")}


@pytest.mark.slow
def test_a_sweep_is_its_trials(swept, tmp_path):
    """A second start does nothing; another arm that is added later runs alone."""
    space = {"strategy": {"grid_search": ["random", "entropy"]}}
    found, told = run(swept(space), tmp_path / "a")
    assert (found.complete, found.trials, found.shared) == (4, 4, 2)
    assert len(told) == 4 and all("accuracy" in outcome for _, outcome in told)
    (ranked,) = found.rankings
    assert len(ranked) == 2 and ranked[0].reached.n == 2
    assert run(swept(space), tmp_path / "a")[1] == []
    wider = {"strategy": {"grid_search": ["random", "entropy", "margin"]}}
    again, told = run(swept(wider), tmp_path / "a")
    assert again.complete == 6
    assert {arm for arm, _ in told} == {"strategy=margin seed=0", "strategy=margin seed=1"}
    rows = (tmp_path / "a/sweep.csv").read_text().splitlines()
    assert rows[0].startswith("folder,strategy,seed,complete,labels,metric,value,aulc")
    assert len(rows) == 7
    assert {"curves.png", "parallel.png", "tables.md", "sweep.yaml"} <= {
        path.name for path in (tmp_path / "a").iterdir()
    }


@pytest.mark.slow
def test_a_trial_that_fails_is_named_and_the_others_end(swept, tmp_path):
    """One bad arm must not cost a night, nor pass unnoticed."""
    space = {"scheme": {"lr": {"grid_search": [0.05, 1e30]}}}
    with pytest.raises(DataError, match="2 of 4 trials failed.*lower scheme.lr"):
        run(swept(space), tmp_path)
    records = [Record(Folder(path)) for path in (tmp_path / "trials").iterdir()]
    assert sorted(record.complete for record in records) == [False, False, True, True]
    assert (tmp_path / "sweep.csv").exists()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(swept, tmp_path):
    """A trial goes on from its folder in a new process."""
    unit = swept({"start": "warm"}).dataset.open().pool.ids()[0]
    dies = {"name": "faulty.dies_scoring", "unit": unit, "marker": str(tmp_path / "marker")}
    x = swept({"strategy": {"grid_search": [dies]}}, sweep={"seeds": [0, 1], "control": None})
    found, told = run(x, tmp_path / "out")
    assert found.complete == 2 and (tmp_path / "marker").exists()
    assert len(told) == 2 and all("accuracy" in outcome for _, outcome in told)


@pytest.mark.slow
def test_trials_choose_what_they_choose_alone(swept, tmp_path):
    """Whoever trained first would decide what the others choose."""
    space = {"strategy": {"grid_search": ["random", "entropy"]}}
    shared, _ = run(swept(space), tmp_path / "a")
    alone, _ = run(swept(space, sweep={"share_first_cycle": False}), tmp_path / "b")

    assert (2, 0) == (shared.shared, alone.shared)
    assert picks(tmp_path / "a") == picks(tmp_path / "b")
    assert shared.summary.to_csv() == alone.summary.to_csv()


@pytest.mark.slow
def test_trials_on_the_default_engine(swept, tmp_path):
    """Every trial but the first to train would die of a training that was done already."""
    space = {"strategy": {"grid_search": ["random", "entropy"]}}
    sweep, compute = {"seeds": [0], "concurrent": 1}, {"engine": "ray", "scorers": 1}
    found, told = run(swept(space, sweep=sweep, compute=compute), tmp_path)

    assert (2, 2, 1) == (found.complete, found.trials, found.shared)
    assert len(told) == 2 and all("accuracy" in outcome for _, outcome in told)


@pytest.mark.slow
def test_losing_trials_are_stopped(swept, tmp_path):
    """ASHA spends the cycles on the better half, leaves no lock behind, and the same command does
    not start the others again."""
    budget = {"initial": 20, "per_cycle": 10, "total": 60}
    space = {"scheme": {"lr": {"grid_search": [0.05, 0.04, 1e-9, 1e-8]}}}
    sweep = {"seeds": [0], "early_stopping": {"grace_cycles": 1, "reduction": 2}, "concurrent": 1}
    x = swept(space, budget=budget, sweep=sweep)
    found, told = run(x, tmp_path)
    stopped = json.loads((tmp_path / "stopped.json").read_text())["trials"]
    assert len(stopped) == 4 - found.complete
    assert sum(outcome.startswith("stopped early") for _, outcome in told) == len(stopped)
    assert 0 < len(stopped) < 4
    for path in (tmp_path / "trials").iterdir():
        assert json.loads((path / "lock.json").read_text())["released"], path
    assert run(x, tmp_path)[1] == []


@pytest.mark.slow
def test_a_search_learns_from_complete_arms_and_goes_on(swept, tmp_path):
    """Each proposal runs with every seed; more samples later keep what there is."""
    pytest.importorskip("optuna")
    space = {"scheme": {"lr": {"loguniform": [0.001, 0.1]}}}
    found, told = run(swept(space, sweep={"search": "optuna", "samples": 2}), tmp_path)
    assert (found.complete, found.trials) == (4, 4)
    arms = {arm.rpartition(" ")[0] for arm, _ in told}
    assert len(arms) == 2
    more, told = run(swept(space, sweep={"search": "optuna", "samples": 3}), tmp_path)
    assert more.complete == 6
    assert {arm.rpartition(" ")[0] for arm, _ in told}.isdisjoint(arms)
    assert len(more.rankings[0]) == 3


@pytest.mark.slow
def test_a_search_that_proposes_an_arm_again(swept, tmp_path):
    """It ended one trial short of its total, or with a trial that found its folder locked; and each
    command that went on would draw again."""
    pytest.importorskip("optuna")
    x = swept({"start": {"choice": ["warm"]}}, sweep={"search": "optuna", "samples": 3})
    found, told = run(x, tmp_path)
    again, more = run(x, tmp_path)

    assert (2, 2, 2) == (found.complete, found.trials, len(told))
    assert (2, 2, []) == (again.complete, again.trials, more)
