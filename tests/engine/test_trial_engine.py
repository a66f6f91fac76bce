"""The engine of a sweep's process: it stays from trial to trial, unless it may be broken."""

import os
from collections.abc import Iterator

import pytest
import ray

from rayal.cycle.engine import Engine
from rayal.engine import trial_engine
from rayal.engine.cluster import RayEngine
from rayal.engine.own_cluster import OWN, inheriting_trials, inherits
from rayal.experiment.compute import Compute

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

COMPUTE = Compute(cpus_per_worker=1, scorers=1, device="cpu")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    trial_engine.close_kept()


def trial(compute: Compute = COMPUTE, error: BaseException | None = None) -> RayEngine:
    """The engine of a trial that has started a scoring process, and then ended so."""
    engine: Engine | None = None
    try:
        with trial_engine.trial_engine(compute, 2) as engine:
            assert isinstance(engine, RayEngine)
            engine.scorers.begin(1)
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    assert isinstance(engine, RayEngine)
    return engine


@pytest.mark.parametrize("end", [None, SystemExit()])
def test_the_next_trial_has_the_processes_of_the_last(end: BaseException | None) -> None:
    """Each would start its own, for ten seconds and more; `SystemExit` is a trial stopped early."""
    first = trial(error=end)
    (process,) = first.scorers.seats

    assert trial() is first and [process] == first.scorers.seats


@pytest.mark.parametrize("end", [ValueError(), KeyboardInterrupt()])
def test_a_trial_that_fails_leaves_no_process(end: BaseException) -> None:
    """The next trial would wait for what this one's workers are at."""
    failed = trial(error=end)

    assert not failed.scorers.seats and trial() is not failed


def test_other_settings_or_nodes_have_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the cores and GPUs that were there when it was opened."""
    first = trial()
    other = trial(COMPUTE.model_copy(update={"scorers": 2}))
    assert not first.scorers.seats and other is not first

    nodes = ray.nodes()
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, nodes[0] | {"NodeID": "another"}])
    assert trial(COMPUTE.model_copy(update={"scorers": 2})) is not other


def test_trials_need_no_new_process_in_a_cluster_of_rayal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime environment of a trial would be that of all its processes: idle ones, which have
    none, could not be any of them."""
    from ray.tune.execution.class_cache import _ActorClassCache as Classes

    class Trainable:
        pass

    with inheriting_trials():
        made = Classes().get(Trainable)
    assert inherits() and not made._default_options.get("runtime_env")
    assert OWN not in os.environ
    assert Classes().get(Trainable)._default_options["runtime_env"]["env_vars"]

    monkeypatch.setattr("rayal.engine.own_cluster.inherits", lambda: False)
    with inheriting_trials():
        assert Classes().get(Trainable)._default_options["runtime_env"]["env_vars"]


def test_processes_know_that_the_cluster_is_of_rayal() -> None:
    """The processes of a trial would wait for new ones all the same."""
    asked = ray.remote(num_cpus=0)(inherits)
    assert ray.get(asked.remote())


def test_processes_are_no_nicer_than_the_command() -> None:
    """Beside another busy program a run would be starved."""
    asked = ray.remote(num_cpus=0)(lambda: os.nice(0))
    assert ray.get(asked.remote()) == os.nice(0)
