"""Random selection: without replacement, and with it, as some codes draw."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import scipy.stats

from rayal.cycle.checked import chosen
from rayal.experiment.experiment import Experiment
from rayal.selection.candidates import Candidates
from rayal.storage.ids import Ids
from rayal.strategies.random import Random
from tests.support.doubles import priced
from tests.support.whole_runs import chosen as chosen_by
from tests.support.whole_runs import go

AGAIN = Random(replace=True)


class Drawing:
    """A generator that draws these positions."""

    def __init__(self, *positions: int) -> None:
        self.positions = positions

    def integers(self, high: int, size: int) -> Any:
        return np.array(self.positions[:size])


def bought(pool: Candidates, budget: float, rng: Any) -> list[str]:
    return chosen(AGAIN, AGAIN.select, "random", pool, budget, rng)[0]


def of(units: int) -> Candidates:
    return Candidates(Ids([f"unit-{row:05d}" for row in range(units)]), None)


def test_draws_by_hand() -> None:
    """Four draws of a pool of five, one of them again: three units, in the order of their draws."""
    pool = Candidates(Ids(["a", "b", "c", "d", "e"]), None)

    assert ["c", "a", "e"] == bought(pool, 4, Drawing(2, 0, 2, 4, 1))
    assert ["c"] == bought(pool, 4, Drawing(2, 2, 2, 2, 1))
    assert ["c", "a", "e", "b"] == bought(pool, 9, Drawing(2, 0, 2, 4, 1))
    assert [] == bought(of(0), 4, np.random.default_rng(0))


def test_each_draw_is_paid_for() -> None:
    """With prices more draws would be made than the budget is for."""
    pool = Candidates(Ids(["a", "b", "c"]), None, priced(["a", "b", "c"], [3, 2, 1]))

    assert ["b", "a"] == bought(pool, 7, Drawing(1, 0, 1))
    assert ["b", "a"] == bought(pool, 6, Drawing(1, 0, 1))
    assert ["b"] == bought(pool, 4, Drawing(1, 0, 1))


def test_draws_with_replacement_are_fewer_units() -> None:
    """Of 1,000 draws from 10,000 units 951.7 are distinct on average (methods, 8)."""
    counts = [len(bought(of(10_000), 1000, np.random.default_rng(seed))) for seed in range(40)]

    assert mean(counts) == pytest.approx(10_000 * (1 - (1 - 1e-4) ** 1000), abs=4)
    assert max(counts) < 1000


def test_every_unit_is_as_likely() -> None:
    """A part of the pool would be bought more often than the rest."""
    places = [
        int(unit.removeprefix("unit-"))
        for seed in range(300)
        for unit in bought(of(50), 10, np.random.default_rng(seed))
    ]

    assert scipy.stats.chisquare(np.bincount(places, minlength=50)).pvalue > 0.001


def test_is_off_unless_told() -> None:
    """Every baseline would be handicapped, and runs of before could not go on."""
    assert "replace" not in Random().model_dump() and AGAIN.model_dump()["replace"]
    assert (True, False) == (Random().ranks(), Random().buys_fewer())
    assert (False, True) == (AGAIN.ranks(), AGAIN.buys_fewer())


def test_the_first_units_are_drawn_without(tiny: Callable[..., Experiment]) -> None:
    """The option would be read by nobody."""
    with pytest.raises(ValueError, match=r"'random' may buy fewer .*; set first to random"):
        tiny(first={"name": "random", "replace": True})
    assert not tiny(first="random").chooses_first


def test_runs_spend_their_budget_whatever_the_shards(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """Other shards would draw other units; or a run would end with what it has not bought."""

    def run(name: str, **compute: int) -> list[list[str]]:
        x = tiny(
            dataset={"name": "digits", "limit_pool": 60, "limit_test": 20},
            scheme={"name": "supervised", "epochs": 1, "batch_size": 16},
            strategy={"name": "random", "replace": True},
            budget={"initial": 20, "per_cycle": 20, "total": 40},
            compute={"engine": "local", "cpus_per_worker": 1, **compute},
        )
        go(x, tmp_path / name)
        return chosen_by(tmp_path / name)

    first, *others = whole = run("whole", score_batch=32, shard_rows=64)

    assert whole == run("parts", score_batch=16, shard_rows=16)
    assert len(first) < 20 and others and 20 == sum(map(len, whole))
