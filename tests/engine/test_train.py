"""How training workers are sent home, without any: no wait is without an end."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from rayal.engine import train as module
from rayal.engine.train import TrainWorkers
from rayal.errors import ClusterError
from rayal.experiment.compute import Compute


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Workers that hear of the end only when the desk is gone, and whom it killed."""
    gone, killed = threading.Event(), list[Any]()
    workers = TrainWorkers.__new__(TrainWorkers)
    workers.desk = SimpleNamespace(place=SimpleNamespace(remote=lambda order: None))
    workers.thread = threading.Thread(target=gone.wait, daemon=True)
    workers.thread.start()
    workers.training, workers.closed = threading.Lock(), False
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(module.ray, "kill", lambda desk: (killed.append(desk), gone.set()))
    yield workers, killed
    gone.set()


def test_workers_that_do_not_go_home(busy: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They would be left without a word, and hold what they have reserved."""
    workers, killed = busy
    workers.close()

    assert [workers.desk] == killed
    assert not workers.thread.is_alive()
    assert "have not ended within 0.05 s" in caplog.text


def test_a_wait_in_another_thread(busy: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A program that was told to stop would hang."""
    workers, _ = busy
    with workers.training:
        workers.close()

    assert "the wait for a training goes on until this process ends" in caplog.text


def test_a_group_that_never_starts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train would start one for ever, on nodes that lack what it needs, and no line say so."""
    bounds = []

    def trainer(work: Any, *, run_config: Any, **options: Any) -> SimpleNamespace:
        bounds.append(run_config.failure_config.controller_failure_limit)
        return SimpleNamespace(
            fit=lambda: (_ for _ in ()).throw(RuntimeError("no group:\nnone started"))
        )

    monkeypatch.setattr(module, "Trainer", trainer)
    workers = TrainWorkers.__new__(TrainWorkers)
    workers.compute, workers.desk = Compute(device="cpu"), None
    workers.closed, workers.thread = False, threading.Thread(target=workers._hold)
    workers.thread.start()
    workers.thread.join()

    assert [module.STARTS] == bounds
    assert 0 < module.STARTS < 1000  # -1 is for ever
    with pytest.raises(
        ClusterError, match="workers are gone: no group: none started; the same command"
    ):
        workers._check(1.0)
