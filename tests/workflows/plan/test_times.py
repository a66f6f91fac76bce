"""How long cycles are planned to take, start-up on Ray among it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.engine import machine
from rayal.experiment.experiment import Experiment
from rayal.workflows.plan import make
from rayal.workflows.plan.cycles import plan_cycles
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.times import (
    CONNECT_SECONDS,
    SCORE_SECONDS,
    TRAIN_SECONDS,
    common_start_seconds,
    final_start_seconds,
    start_seconds,
)

TIMED = Probe("cpu", {16: 1.0}, evaluate=0.1, score=(0.2, 0.2))
AGAIN = TRAIN_SECONDS + SCORE_SECONDS


def starts(x: Experiment) -> list[float]:
    card = x.dataset.open().card
    return [start_seconds(x, cycle) for cycle in plan_cycles(x, card)]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that rayal starts there promises six."""
    monkeypatch.setattr(machine, "cores", lambda: 2)


def on_ray(tiny: Callable[..., Experiment], compute: Any = None, **changes: Any) -> Experiment:
    return tiny(compute={"engine": "ray", "device": "cpu", **(compute or {})}, **changes)


@pytest.mark.usefixtures("two_cores")
def test_workers_that_stay_start_once(tiny: Callable[..., Experiment]) -> None:
    """A run of fifty small cycles was planned to take eleven minutes more than it does."""
    x = on_ray(tiny)

    assert [CONNECT_SECONDS + TRAIN_SECONDS, 0, 0] == starts(x)
    assert 0 == final_start_seconds(x)
    assert [0, 0, 0] == starts(tiny())


@pytest.mark.usefixtures("two_cores")
def test_workers_without_room_start_in_every_cycle(tiny: Callable[..., Experiment]) -> None:
    """By hand: 1 worker of 2 cores, 4 that score and 1 for reading are more than 6."""
    x = on_ray(tiny, {"scorers": 4})

    assert [CONNECT_SECONDS + AGAIN, AGAIN, AGAIN] == starts(x)
    assert AGAIN == final_start_seconds(x)
    assert CONNECT_SECONDS == common_start_seconds(x)


@pytest.mark.usefixtures("two_cores")
def test_a_fit_starts_workers_a_second_time(tiny: Callable[..., Experiment]) -> None:
    """They and what scores send each other away twice in a cycle that fits; the last fits none."""
    x = on_ray(tiny, {"scorers": 4}, strategy="vaal")

    assert [CONNECT_SECONDS + 2 * AGAIN, 2 * AGAIN, AGAIN] == starts(x)


@pytest.mark.usefixtures("two_cores")
def test_what_chooses_first_starts_before_the_training(tiny: Callable[..., Experiment]) -> None:
    x = on_ray(tiny, first="core_set")

    assert [CONNECT_SECONDS + SCORE_SECONDS + TRAIN_SECONDS, 0, 0] == starts(x)


def test_the_first_units_are_timed(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Choosing among many vectors takes longer than all else before the first training, and nobody
    would know what a command does so long."""
    rng = np.random.default_rng(0)
    for name, count in (("pool", 300), ("test", 40)):
        ids = np.array([f"{name}{i}" for i in range(count)])
        vectors = rng.normal(size=(count, 8)).astype(np.float16)
        np.savez(tmp_path / f"{name}.npz", id=ids, features=vectors, label=np.arange(count) % 3)
    files = {"pool": "pool.npz", "test": "test.npz", "store": str(tmp_path / "stores")}
    data = {"name": "features", "root": str(tmp_path), **files}
    x = tiny(dataset=data, model="linear_head", strategy="margin", first="typiclust")
    plan = make(x, x.dataset.open())
    untimed = make(x, x.dataset.open(), probe=False)

    assert plan.probe is not None and plan.seconds is not None
    assert plan.probe.first > 0 and sum(plan.probe.first_select) > 0
    assert plan.first == f"{untimed.first}: {plan.first.rpartition(': ')[2]}"
    assert plan.first.endswith(" on this machine") and "first   typiclust chooses" in str(plan)


def test_the_time_of_the_first_units_is_that_of_the_first_cycle(
    tiny: Callable[..., Experiment],
) -> None:
    """By hand: 600 candidates of 0.01 s, and 5 + 0.1 s each for their choice: 71 s."""
    drawn, x = tiny(), tiny(first="core_set")
    store = x.dataset.open()
    timed = Probe(**(vars(TIMED) | {"first": 0.01, "first_select": (5.0, 0.1)}))
    plans = [make(each, store, timed=timed) for each in (drawn, x)]
    each = [plan.seconds or () for plan in plans]

    assert [each[0][0] + 6 + 5 + 60, *each[0][1:]] == pytest.approx(each[1])
    assert plans[1].first.endswith("before any training: 71 s on this machine")
