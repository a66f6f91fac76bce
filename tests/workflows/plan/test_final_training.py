"""The plan of a study counts the network that is trained after it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.plan import make
from tests.support.frozen import SCHEME, look, study
from tests.support.whole_runs import go


def test_the_run_does_what_was_planned(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """The training that costs more than all cycles would be left out of time and disk."""
    looked = look(tmp_path, tiny)
    x = study(tiny, looked.root)
    plain = study(tiny, looked.root, fine_tune=None)
    store = x.dataset.open()
    with_, without = (make(each, store, probe=each is x) for each in (x, plain))
    go(x, tmp_path / "run")
    (found,) = Record(Folder(tmp_path / "run")).fine_tuned().values()
    planned = with_.fine_tune

    assert planned is not None and without.fine_tune is None
    assert (found.labels, found.trained.steps) == (planned.labels, planned.steps)
    assert found.trained.weights.bytes == planned.disk == with_.disk["fine-tuned network"]
    assert without.files + 5 == with_.files
    assert (tmp_path / "run/cycle-001/fine_tune").exists()
    assert 5 == len([*(tmp_path / "run/cycle-001/fine_tune").iterdir()])
    assert planned.seconds is not None and with_.seconds is not None
    assert with_.total_seconds == pytest.approx(sum(with_.seconds) + planned.seconds)
    assert with_.device_hours == pytest.approx((with_.total_seconds or 0) / 3600)
    assert "end     small_cnn is trained once on 20 labels, 9 steps: supervised" in str(with_)
    assert planned._asdict() == with_.to_dict()["fine_tune"]
    none = study(tiny, looked.root, keep={"weights": "none"})
    assert 0 == make(none, store, probe=False).disk["fine-tuned network"]
    with pytest.raises(UsageError, match="fine_tune.model"):
        head = {"scheme": SCHEME, "model": "linear_head"}
        make(study(tiny, looked.root, fine_tune=head), store, probe=False)
