"""What a run leaves: an experiment that runs again, a report, and no secret."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.report.tables import summarise
from rayal.runs.find_records import find_records
from tests.support.whole_runs import ONE_THREAD, files_of, go, outcome


def test_a_recorded_experiment_runs_again(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A published run folder could not be reproduced (I07)."""
    x = tiny(compute=ONE_THREAD)
    go(x, tmp_path / "one")
    again = config.load(tmp_path / "one/experiment.yaml")
    go(again, tmp_path / "two")

    assert x == again
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")


def test_no_secret_in_a_run(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Run folders are shared, and logs are pasted into issues (C08, K11)."""
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    with caplog.at_level("DEBUG"):
        go(tiny(compute=ONE_THREAD), tmp_path)

    assert not [name for name, data in files_of(tmp_path).items() if b"hunter2" in data]
    assert "hunter2" not in caplog.text


def test_a_report_of_a_run_that_stopped(before_select: Path) -> None:
    """Reports are wanted most where something went wrong (M04)."""
    text = summarise(find_records([str(before_select)])).to_markdown()

    assert "1 of 1 run not complete" in text
    assert "| 1, 1 partial |" in text
