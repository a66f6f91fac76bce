"""Processes that hold a pool: the picks of one process, whoever dies, and no more than fits."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from rayal.cycle.lots import Whole, held
from rayal.engine.holding import HeldPool
from rayal.selection.candidates import Candidates
from rayal.selection.progress import Progress
from rayal.strategies.base import Strategy
from rayal.strategies.core_set import CoreSet
from rayal.strategies.prob_cover import ProbCover
from rayal.workflows.select import select
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.request import Request
from tests.support.kept_pass import kept_pass

LABELED = [f"unit-{n:06d}" for n in range(0, 300, 30)]


class Keeper:
    """Three processes on one machine, as an engine has one on each of three."""

    def holds(self, size: int) -> bool:
        return True

    @contextmanager
    def hold(self, whole: Whole, progress: Progress) -> Iterator[HeldPool]:
        with closing(HeldPool(whole, progress, max_failures=2, per_host=3)) as self.pool:
            yield self.pool


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> str:
    return kept_pass(tmp_path_factory.mktemp("pass"), 300)


def alone(scores: str, strategy: Strategy, tmp_path: Path) -> list[str]:
    (tmp_path / "labeled.txt").write_text("\n".join(LABELED))
    request = Request(strategy=strategy, budget=60, labeled=f"{tmp_path}/labeled.txt")
    return select(scores, request).ids


class Killing(Progress):
    """Kills a process, and another, whenever so many more picks are made."""

    def __init__(self, keeper: Keeper, every: int) -> None:
        super().__init__()
        self.keeper, self.every, self.killed = keeper, every, 0

    def add(self, picks: list[int], **state: Any) -> None:
        super().add(picks, **state)
        if len(self.picks) >= self.every * (self.killed + 1) and self.killed < 2:
            seat = self.killed % 3
            self.killed += 1
            ray.kill(self.keeper.pool.seats.processes[seat])


def picks(strategy: Strategy, pool: Candidates) -> list[str]:
    from rayal.randomness import numpy_generator

    rng = numpy_generator(0, 0, "select", strategy.part_name())
    return list(strategy.select(pool, 60, rng))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "strategy",
    [CoreSet(), ProbCover(radius=1.0, normalise=False)],
    ids=lambda strategy: strategy.part_name(),
)
def test_processes_pick_what_one_picks_though_two_die(
    scores: str, strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine more, or one less, would change what is labeled."""
    done, keeper = FinishedPass(scores), Keeper()
    whole = Whole.of(done.folder, done.result, strategy, "core_set", LABELED)
    progress = Killing(keeper, 15)
    with held(keeper, whole, LABELED, progress) as pool:
        monkeypatch.setattr("rayal.strategies.core_set.farthest_first.__defaults__", (8,))
        there = picks(strategy, pool)

    assert alone(scores, strategy, tmp_path) == there
    assert 2 == progress.killed == keeper.pool.seats.deaths
