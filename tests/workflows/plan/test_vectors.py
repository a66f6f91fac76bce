"""The plan of an experiment on vectors: for the pool that is there, or one of any size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.cycle.keep import SHARDS
from rayal.data.resident import STAYS
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.workflows.plan import make
from rayal.workflows.plan.sizes import left
from rayal.workflows.plan.timed_selection import growth


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 vectors of 8 numbers in the pool, 40 in the test split."""
    place, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    for name, count in (("pool", 300), ("test", 40)):
        ids = np.array([f"{name}{i}" for i in range(count)])
        vectors = rng.normal(size=(count, 8)).astype(np.float16)
        np.savez(place / f"{name}.npz", id=ids, features=vectors, label=np.arange(count) % 3)
    return place


def experiment(root: Path, **changes: Any) -> Experiment:
    files = {"pool": "pool.npz", "test": "test.npz", "store": str(root / "stores")}
    fields: dict[str, Any] = {
        "name": "tiny",
        "dataset": {"name": "features", "root": str(root), **files},
        "model": "linear_head",
        "strategy": "margin",
        "scheme": {"epochs": 2, "batch_size": 16, "optimizer": "adamw", "lr": 0.001},
        "budget": {"initial": 20, "per_cycle": 10, "total": 40},
        "compute": {"engine": "local", "device": "cpu"},
    }
    return Experiment.model_validate(fields | changes)


def opened(x: Experiment) -> Store:
    return x.dataset.open()


def test_a_pool_of_any_size_is_planned_from_a_few_of_its_units(root: Path) -> None:
    """Else nobody could say what 10^8 units take before having them."""
    x = experiment(root, strategy="core_set")
    here, there = (make(x, opened(x), probe=False, units=n) for n in (None, 10**8))

    assert [280, 270, 0] == [cycle.scored for cycle in here.cycles]
    assert [10**8 - 20, 10**8 - 30, 0] == [cycle.scored for cycle in there.cycles]
    rows = sum(c.scored + c.labels for c in left(x, SHARDS, there.cycles))
    assert (24 + 8) * rows == there.disk["scores"]  # what core_set compares is in the store
    hidden = {"name": "mlp_head", "hidden": [16]}
    deeper = make(experiment(root, strategy="core_set", model=hidden), opened(x), probe=False)
    assert deeper.disk["scores"] - here.disk["scores"] == 2 * 16 * here.disk["scores"] / (24 + 8)
    assert there.memory["ids"] == 10**8 / 300 * here.memory["ids"]


def test_a_pool_that_is_small_stays_in_memory_and_a_large_one_does_not(root: Path) -> None:
    """Else memory would grow with the pool, or the plan would say so."""
    x = experiment(root)
    most = STAYS // 16
    sizes = [make(x, opened(x), probe=False, units=n).memory for n in (most, most + 1)]

    assert [STAYS, 0] == [size["the pool itself"] for size in sizes]
    assert 2 * 2 * 8 * 40 == sizes[0]["labeled images"]


def test_files_are_those_of_the_larger_pool(root: Path) -> None:
    """A disk may have room for the bytes, and not for so many files."""
    x = experiment(root)
    rows = 16 * 2**20 // 16
    one, ten = (make(x, opened(x), probe=False, units=n).files for n in (rows, 10 * rows))

    assert 2 * 9 == ten - one  # two cycles score


def test_selection_is_timed_on_vectors(root: Path) -> None:
    """A pass over vectors takes no longer than comparing them: without it the time is a wish."""
    x = experiment(root, strategy="core_set")
    plan = make(x, opened(x))
    assert plan.probe is not None and plan.seconds is not None
    fixed, each = plan.probe.select

    assert fixed + each > 0
    larger = make(x, opened(x), timed=plan.probe, units=10**6)
    assert larger.seconds is not None
    first = larger.cycles[0].scored
    assert larger.seconds[0] >= first * (plan.probe.score[0] + each)


def test_timed_members_that_are_equal_are_no_news(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are copies of one, which tells nothing about what the ensemble of the run will say."""
    x = experiment(root, strategy="variation_ratio", ensemble=2)
    make(x, opened(x))
    assert "by chance" not in caplog.text


def test_growth_of_a_selection_by_hand() -> None:
    """A pool ten times as large would take ten times as long, where it takes a hundred times."""
    assert growth([1, 4], [3.0, 9.0], 1) == pytest.approx((1, 2))
    assert growth([2, 4, 8], [1 + 4 + 2, 1 + 8 + 8, 1 + 16 + 32], 2) == pytest.approx((1, 2, 0.5))
    assert min(growth([10, 40], [5.0, 4.0], 1)) >= 0  # of a machine that does something else


def test_what_compares_all_units_grows_with_the_square(root: Path) -> None:
    """Hours would be planned where it takes weeks."""
    found = {}
    for strategy in ("core_set", "prob_cover"):
        x = experiment(root, strategy=strategy)
        plan = make(x, opened(x))
        assert plan.probe is not None
        found[strategy] = len(plan.probe.select)

    assert found == {"core_set": 2, "prob_cover": 3}


@pytest.mark.parametrize("strategy", ["random", "badge"])
def test_every_selection_can_be_timed(root: Path, strategy: str) -> None:
    """Else `plan` would refuse what `run` does."""
    x = experiment(root, strategy=strategy)
    plan = make(x, opened(x))

    assert plan.probe is not None and plan.probe.select >= (0.0, 0.0)
