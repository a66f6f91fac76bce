"""A sweep whose command is killed: the same command goes on, as if nothing had happened."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray

from rayal.engine.local import LocalEngine
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment
from rayal.plugins import Plugins
from rayal.workflows.sweep.sweeping import start_sweep
from rayal.workflows.sweep.trial import run_trial
from tests.support import killed_sweep
from tests.support.killed_run import Runs

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

PLUGINS = Plugins(["faulty"])


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """`command(x, out, point)`: the sweep in a process of its own that dies at a point."""
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    return Runs(tmp_path / "stderr", killed_sweep.main)


def undisturbed(x: SweptExperiment, out: Path) -> Any:
    """All trials one after another in this process."""
    with start_sweep(x, str(out), plugins=PLUGINS) as sweep:
        for trial in sweep.todo:
            run_trial(
                sweep.fields,
                str(out),
                x.sweep.objective,
                Assignment(trial.arm, trial.experiment.seed),
                lambda: nullcontext(LocalEngine(x.compute)),
                lambda cycle, value: None,
                plugins=PLUGINS,
            )
        return sweep.run(lambda: nullcontext(2), killed_sweep.Silent())


def endings(out: Path) -> dict[str, bytes]:
    """All picks, all weights, and the table."""
    kinds = ("select/chosen.csv", "train/weights.safetensors")
    files = [file for kind in kinds for file in out.glob(f"trials/*/cycle-*/{kind}")]
    found = {str(file.relative_to(out)): file.read_bytes() for file in files}
    return {**found, "tables": (out / "tables.md").read_bytes()}


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_ends_as_if_it_had_not(
    tiny: Any, command: Any, tmp_path: Path, kills: int
) -> None:
    """A night's work would be lost with the machine of the driver, or be another's afterwards."""
    gates = [tmp_path / f"gate-{number}" for number in range(kills)]
    arms = [{"name": "faulty.waits", "gate": str(gate)} for gate in gates]
    x = tiny(
        dataset={"name": "digits", "limit_pool": 60, "limit_test": 20},
        model={"name": "small_cnn", "width": 4},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        strategy="random",
    )
    space = {"strategy": {"grid_search": arms}}
    sweep = {"seeds": [0, 1], "space": space, "concurrent": 1, "control": None}
    fields = {**x.model_dump(mode="json"), "sweep": sweep}
    x = SweptExperiment.model_validate(fields, context=PLUGINS)
    expected = undisturbed(x, tmp_path / "undisturbed")

    out, codes = tmp_path / "killed", []
    for gate in gates:
        gate.touch()
    for gate in gates:
        codes.append(command(x, out, f"{gate}.reached").returncode)
        gate.unlink()
    done = command(x, out, "none")

    assert ([-9] * kills, 0) == (codes, done.returncode), done.stderr
    assert (2 * kills, 2 * kills) == (expected.complete, expected.trials)
    assert endings(out) == endings(tmp_path / "undisturbed")
    locks = [json.loads(file.read_text()) for file in out.glob("trials/*/lock.json")]
    attempts = sorted(lock["attempt"] for lock in locks)
    assert [1] * kills + [2] * kills == attempts, "each kill cut one short"
