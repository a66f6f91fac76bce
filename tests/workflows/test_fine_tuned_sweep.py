"""A sweep whose trials end with a whole network each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.plan.sweep import make_sweep
from rayal.workflows.sweep.sweeping import start_sweep
from tests.support.finished_sweep import finish
from tests.support.frozen import NETWORK, SCHEME, Looked, look, study

ARMS = {"strategy": {"grid_search": ["random", "margin"]}}

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def looked(tiny: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Looked:
    return look(tmp_path_factory.mktemp("looked"), tiny)


def swept(tiny: Any, looked: Looked, space: Any = ARMS, **fields: Any) -> SweptExperiment:
    x = study(tiny, looked.root, **fields).model_dump(mode="json")
    return SweptExperiment.model_validate({**x, "sweep": {"seeds": [0, 1], "space": space}})


def test_networks_are_added_to_a_sweep_that_is_complete(
    tiny: Any, looked: Looked, tmp_path: Path
) -> None:
    """Days of a sweep would be another sweep, or be done again, for one figure of each trial."""
    plain = finish(swept(tiny, looked, fine_tune=None), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.glob("trials/*/cycle-*/*/done.json")}
    x = swept(tiny, looked)
    with start_sweep(x, str(tmp_path)) as sweep:
        assert (4, 4) == (sweep.total, sweep.left)
    found = finish(x, tmp_path)
    with start_sweep(x, str(tmp_path)) as sweep:
        assert (4, 0) == (sweep.total, sweep.left)

    assert (4, 4) == (plain.complete, found.complete)
    assert all(path.read_bytes() == data for path, data in before.items())
    runs = [Record(Folder(path)) for path in sorted((tmp_path / "trials").iterdir())]
    assert 4 == len(runs) and all(run.complete and 1 in run.fine_tuned() for run in runs)
    (of,) = found.summary.groups
    told = {run.url: run.fine_tuned for arm in of.arms for run in arm.runs}
    assert {run.folder.url: {20: run.fine_tuned()[1].metrics["accuracy"]} for run in runs} == told
    assert [] == [line for line in found.summary.warnings if "fine-tuned" in line]


def test_how_they_are_trained_may_be_varied(tiny: Any, looked: Looked, tmp_path: Path) -> None:
    """Two learning rates of the last training alone would be one arm, or mixed in a mean."""
    space = {"fine_tune": {"scheme": {"lr": {"grid_search": [0.01, 0.1]}}}}
    found = finish(swept(tiny, looked, space), tmp_path)
    (of,) = found.summary.groups

    assert 4 == found.complete
    assert ["margin (lr=0.01)", "margin (lr=0.1)"] == [
        a.label.replace("fine_tune.scheme.", "") for a in of.arms
    ]
    assert all(len(arm.runs) == 2 for arm in of.arms)


def test_networks_of_one_cycle_begin_with_their_own_weights(
    tiny: Any, looked: Looked, tmp_path: Path
) -> None:
    """First trainings are shared between trials: one backbone would stand for another."""
    other = look(tmp_path / "other", tiny, seed=5)
    roots = {"root": {"grid_search": [str(looked.root), str(other.root)]}}
    once = {"initial": 12, "per_cycle": 1, "total": 12}
    x = swept(tiny, looked, {"dataset": roots}, budget=once)
    assert 4 == finish(x, tmp_path / "sweep").complete
    files = (tmp_path / "sweep/trials").glob("*-seed0/cycle-000/fine_tune/weights.safetensors")

    assert 2 == len({file.read_bytes() for file in files})


def test_a_sweep_is_checked_and_planned(tiny: Any, looked: Looked, tmp_path: Path) -> None:
    """All trials would end in the error that the first second could have told."""
    x = swept(tiny, looked, fine_tune={"scheme": SCHEME, "model": "linear_head"})
    with pytest.raises(UsageError, match=r"fine_tune\.model"), start_sweep(x, str(tmp_path)):
        pass
    planned = make_sweep(swept(tiny, looked), probe=False)
    plain = make_sweep(swept(tiny, looked, fine_tune=None), probe=False)

    each = planned.arms[0][1].fine_tune
    assert each is not None
    assert NETWORK["name"] == each.model
    assert plain.disk + 4 * each.disk == planned.disk
    assert "end     small_cnn is trained once on 20 labels" in str(planned)
