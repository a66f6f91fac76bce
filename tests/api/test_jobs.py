"""Jobs of a cluster, from Python: `rayal.submit`, `rayal.Job`, `rayal.jobs`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rayal
from rayal.engine import jobs, submit
from rayal.engine.submit import JobEnded, Work
from rayal.errors import UsageError
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.workflows.score.settings import PoolScoring
from tests.engine.test_submit import JOB, Board, Server, job

LOCAL = "http://127.0.0.1:8265"
PLUGINS = Path(__file__).parents[1] / "support" / "plugins"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Work, Mapping[str, str]]]:
    """What a server on this machine is sent from an empty folder."""
    taken: list[tuple[Work, Mapping[str, str]]] = []

    def take(_: Any, work: Work, project: Any, env: Mapping[str, str]) -> Any:
        taken.append((work, env))
        return work.id, True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "TOKEN_FILE", tmp_path / "no-token")
    monkeypatch.setenv(jobs.ADDRESS, LOCAL)
    monkeypatch.setattr(jobs, "Client", lambda url, **_: SimpleNamespace(get_address=lambda: url))
    monkeypatch.setattr(submit, "submit", take)
    return taken


def test_an_experiment_is_sent(
    sent: Any, tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The job would go elsewhere, without the variables, or refuse the user's own part."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    done = rayal.submit(
        tiny(strategy={"name": "faulty.raises", "marker": "/x"}), env={"A": "1"}, plugins=["mine"]
    )
    ((work, env),) = sent

    assert (work.id, LOCAL, True) == (done.job.id, done.job.address, done.new)
    assert str(tmp_path / "runs/tiny/faulty.raises-supervised-seed0") == done.folder
    assert ["--plugins", "mine", "--plugins", "faulty"] == work.command[4:]
    assert "1" == env["A"]


def test_a_scoring_needs_a_folder(sent: Any, tmp_path: Path) -> None:
    """Its scores would be gone with the job."""
    x = PoolScoring(checkpoint="w.pt", pool="photos", strategies=("entropy",))
    with pytest.raises(UsageError, match="out: a scoring has no folder of its own; give one"):
        rayal.submit(x)
    assert [] == sent
    assert str(tmp_path / "scores") == rayal.submit(x, "scores", retry_bad=True).folder
    assert "--retry-bad" in sent[0][0].command


def test_what_no_job_can_do_is_not_sent(sent: Any, tiny: Callable[..., Any]) -> None:
    """It would be refused on the cluster, after a wait for its place."""
    grid = {"strategy": {"grid_search": ["random", "margin"]}}
    amounts = {"initial": 20, "per_cycle": 20, "total": 40}
    fields = {name: getattr(tiny(), name) for name in rayal.Experiment.model_fields}
    for kind, also in (
        (rayal.Experiment, {}),
        (SweptExperiment, {"sweep": {"space": grid, "seeds": [0]}}),
    ):
        with pytest.raises(UsageError, match="budget: is required; set budget.initial"):
            rayal.submit(kind(**{**fields, "budget": {}, **also}), "runs")
        with pytest.raises(UsageError, match="or another oracle$"):
            rayal.submit(kind(**{**fields, "oracle": "told", **also}), "runs")
        assert [] == sent
        rayal.submit(kind(**{**fields, "budget": amounts, **also}), "runs")
        sent.clear()
    with pytest.raises(UsageError, match="no module of this process; give the path or URL"):
        rayal.submit(PoolScoring(pool="photos", strategies=("entropy",)), "scores")
    assert [] == sent
    rayal.submit(PoolScoring(checkpoint="w.pt", pool="photos", strategies=("entropy",)), "scores")


@pytest.mark.parametrize("env", [{"MLFLOW_TRACKING_TOKEN": "s"}, ["MLFLOW_TRACKING_TOKEN=s"]])
def test_a_secret_is_not_sent(sent: Any, tiny: Callable[..., Any], env: Any) -> None:
    """Everybody who sees the job could read it."""
    with pytest.raises(UsageError, match="looks like a secret"):
        rayal.submit(tiny(), env=env)
    assert [] == sent


def test_a_job_is_asked_followed_and_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notebook that begins a job could not tell how it ends."""
    monkeypatch.setattr(submit, "AGAIN_SECONDS", 0.0)
    running: Any = Server([job("RUNNING"), job("FAILED", driver_exit_code=3)], log="all of it")
    mine = rayal.Job(JOB, client=running)

    there: Any = Board(job("RUNNING"))
    assert {"job": JOB, "state": "RUNNING"}.items() <= rayal.Job(JOB, client=there).status().items()
    assert "all of it" == mine.logs()
    with pytest.raises(JobEnded, match="exit code 3"):
        mine.follow()
    assert "all of it" == capsys.readouterr().out
    ended: Any = Server([job("STOPPED")])
    assert "STOPPED" == rayal.Job(JOB, client=ended).stop()["state"] and [JOB] == ended.stopped


def test_a_table_of_jobs(sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cluster would be an error, or a column be missing."""
    rows = [submit.row(job("RUNNING", metadata={"folder": "/runs/x"}))]
    monkeypatch.setattr(submit, "listed", lambda client, ids: rows if ids else [])

    assert [(JOB, "RUNNING", "/runs/x")] == [
        *rayal.jobs(LOCAL, [JOB])
        .table()[["job", "state", "folder"]]
        .itertuples(index=False, name=None)
    ]
    assert (0, 5) == rayal.jobs().table().shape
    found = rayal.jobs(LOCAL, [JOB])
    assert "<Jobs: 1 RUNNING>" == repr(found) and "<Jobs: none>" == repr(rayal.jobs())
    assert JOB in str(found) and "/runs/x" in found._repr_html_() and "<pre" in found._repr_html_()
