"""Strategies that ask holders: the picks of one process, however the pool is divided, and whoever
is lost meanwhile."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.selection.candidates import Candidates
from rayal.selection.holders import Dealt, Holder, Places
from rayal.storage.ids import Ids
from rayal.strategies import _k_means, badge, core_set, prob_cover
from rayal.strategies.badge import Badge
from rayal.strategies.base import Strategy
from rayal.strategies.core_gcn import CoreGcn
from rayal.strategies.core_set import CoreSet
from rayal.strategies.prob_cover import ProbCover
from rayal.strategies.typiclust import Typiclust
from tests.support.lossy import Killed, Lossy, Stopping

ALL: dict[str, Strategy] = {
    "core_set": CoreSet(),
    "core_set, normalised": CoreSet(normalise=True),
    "core_gcn": CoreGcn(),
    "badge": Badge(),
    "typiclust": Typiclust(clustering="exact", max_clusters=6, normalise=False),
    "prob_cover": ProbCover(radius=1.5, normalise=False),
}
every_strategy = pytest.mark.parametrize("name", ALL)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, rounds and bounds of few, so that small pools have many of them."""
    monkeypatch.setattr(core_set, "FEW", 2)
    monkeypatch.setattr(core_set, "farthest_first", partial(core_set.farthest_first, block=8))
    monkeypatch.setattr(badge, "ROUND", 8)
    monkeypatch.setattr(prob_cover, "SENT", 5)
    monkeypatch.setattr(_k_means, "SAMPLE", 30)


def pool_of(seed: int, size: int, labeled: int, levels: int) -> Candidates:
    """Features on `levels` levels: few of them make many ties and copies."""
    rng = np.random.default_rng(seed)
    features = rng.integers(0, levels, (size + labeled, 3)).astype(np.float16)
    probs = rng.dirichlet(np.ones(4), size).astype(np.float16)
    probs[::3] = probs[:1]
    ids = Ids([f"unit-{i}" for i in range(size)])
    known = Ids([f"labeled-{i}" for i in range(labeled)])
    kept = {"features": features[:size], "embedding": features[:size], "probs": probs}
    labeled = {"features": features[size:], "embedding": features[size:]}
    return Candidates(ids, None, kept=kept, labeled_ids=known, labeled=labeled)


def picks(strategy: Strategy, pool: Candidates, budget: float) -> list[str]:
    return list(strategy.select(pool, budget, np.random.default_rng(7)))


def divided(pool: Candidates, count: int, every: int | None = None) -> Candidates:
    spread = Dealt(pool.kept, count) if every is None else Lossy(pool.kept, count, every)
    return replace(pool, kept={}, spread=spread)


@every_strategy
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 60),
    labeled=st.integers(0, 6),
    levels=st.sampled_from([2, 3, 50]),
    count=st.sampled_from([1, 2, 3, 7]),
)
def test_picks_do_not_depend_on_how_the_pool_is_divided(
    name: str, seed: int, size: int, labeled: int, levels: int, count: int
) -> None:
    """A second machine would change what is labeled."""
    strategy, pool = ALL[name], pool_of(seed, size, labeled, levels)
    alone = picks(strategy, pool, size)

    assert size == len(alone)
    assert alone == picks(strategy, divided(pool, count), size)


@every_strategy
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 4), every=st.integers(5, 40))
def test_a_holder_that_is_lost_changes_nothing(
    name: str, seed: int, count: int, every: int
) -> None:
    """A machine that dies would leave its units with stale distances, or count pairs twice."""
    strategy, pool = ALL[name], pool_of(seed, 40, 3, 4)

    assert picks(strategy, pool, 40) == picks(strategy, divided(pool, count, every), 40)


@every_strategy
@pytest.mark.parametrize("after", [0, 1, 17])
def test_a_selection_that_is_killed_goes_on_with_the_same_picks(name: str, after: int) -> None:
    """What was kept would not be all that the rest depends on."""
    strategy, pool = ALL[name], pool_of(3, 50, 4, 5)
    progress = Stopping(after)
    with pytest.raises(Killed):
        picks(strategy, replace(pool, spread=Dealt(pool.kept, 2, progress)), 50)
    left = progress.written
    again = Stopping(1000, {**left, "picks": [*left["picks"]]})

    assert after <= len(left["picks"]) < 40
    whole = picks(strategy, pool, 50)
    assert whole == picks(strategy, replace(pool, spread=Dealt(pool.kept, 3, again)), 50)
    assert 50 >= len(again.picks) > len(left["picks"])


class Counted(Dealt):
    """Counts the rows that are looked at."""

    def holders(self, order: Places, kind: type[Holder], *arguments: object):
        found = super().holders(order, kind, *arguments)
        self.asked = []
        answers = found._answers
        found._answers = lambda method, *rest: (self.asked.append(method), answers(method, *rest))[
            1
        ]
        return found


def test_known_picks_are_not_searched_for_again() -> None:
    """Going on would take as long as beginning."""
    pool = pool_of(3, 50, 4, 50)
    spread = Counted(pool.kept, 2, Stopping(1000))
    picks(ALL["core_set"], replace(pool, spread=spread), 30)
    rounds = spread.asked.count("leaders")
    known = spread.progress.written
    spread = Counted(pool.kept, 2, Stopping(1000, {**known, "picks": [*known["picks"]]}))
    picks(ALL["core_set"], replace(pool, spread=spread), len(known["picks"]))

    assert rounds > 5 and 1 == spread.asked.count("leaders")  # for the one that is not bought
