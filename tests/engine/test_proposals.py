"""An algorithm's proposals: each arm once, with every seed, and every draw answered."""

import math
from typing import Any

import pytest
from ray.tune.search import Searcher

from rayal.engine.proposals import OBJECTIVE, TRIAL, Proposals


class Script(Searcher):
    """Proposes what it is told to, and keeps the answers."""

    def __init__(self, proposals: list[Any]) -> None:
        super().__init__()
        self.proposals, self.answers = list(proposals), dict[str, Any]()

    def suggest(self, trial_id: str) -> Any:
        return self.proposals.pop(0) if self.proposals else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.answers[trial_id] = None if error else result[OBJECTIVE]


@pytest.fixture
def search() -> Any:
    def build(proposals: list[Any], known: Any = (), seeds: Any = (0, 1)) -> Any:
        script, repeats = Script([p if p is None else {"lr": p} for p in proposals]), list[int]()
        made = Proposals(
            script,
            lambda drawn: {"scheme": drawn},
            str,
            seeds,
            len(proposals),
            {str({"scheme": {"lr": lr}}): value for lr, value in dict(known).items()},
            lambda: repeats.append(1),
        )
        return made, script, repeats

    return build


def asked(search: Proposals, *trial_ids: str) -> list[tuple[float, int]]:
    trials = [search.suggest(trial_id)[TRIAL] for trial_id in trial_ids]
    return [(each["arm"]["scheme"]["lr"], each["seed"]) for each in trials]


def test_an_arm_has_every_seed_and_one_answer(search: Any) -> None:
    """Seeds would be compared as if they were arms."""
    made, script, repeats = search([0.1])

    assert [(0.1, 0), (0.1, 1)] == asked(made, "a", "b")
    assert Searcher.FINISHED == made.suggest("c")
    made.on_trial_complete("b", {OBJECTIVE: 0.5})
    assert {} == script.answers
    made.on_trial_complete("a", {OBJECTIVE: 0.7})
    assert {"draw-1": pytest.approx(0.6)} == script.answers
    assert [] == repeats


def test_what_is_known_is_answered_and_counts_as_a_draw(search: Any) -> None:
    """Its folder would be locked, or complete, and the sweep end one trial short of its total."""
    made, script, repeats = search([0.1, 0.2, 0.1], known={0.1: 0.9}, seeds=(0,))

    assert [(0.2, 0)] == asked(made, "a")
    assert Searcher.FINISHED == made.suggest("b")
    assert {"draw-3": 0.9, "draw-1": 0.9} == script.answers
    assert 2 == len(repeats)


def test_what_is_at_work_is_answered_when_it_ends(search: Any) -> None:
    """A second trial of an arm at the same time would find its folder locked."""
    made, script, repeats = search([0.1, 0.1, 0.2], seeds=(0,))

    assert [(0.1, 0), (0.2, 0)] == asked(made, "a", "b")
    made.on_trial_complete("a", {OBJECTIVE: 0.5})
    assert {"draw-3": 0.5, "draw-2": 0.5} == script.answers
    assert 1 == len(repeats)


@pytest.mark.parametrize("result", [{OBJECTIVE: math.nan}, {}, None])
def test_an_arm_of_which_a_seed_failed_has_no_value(search: Any, result: Any) -> None:
    """The mean of the seeds that were left would be that of the easier ones."""
    made, script, _ = search([0.1])
    asked(made, "a", "b")
    made.on_trial_complete("a", {OBJECTIVE: 0.5})
    made.on_trial_complete("b", result, error=result is None)

    assert {"draw-1": None} == script.answers


def test_an_algorithm_may_want_to_wait(search: Any) -> None:
    """A draw that was not made must not count."""
    made, _, _ = search([None, 0.1], seeds=(0,))

    assert made.suggest("a") is None
    assert [(0.1, 0)] == asked(made, "a")
