"""Early stopping compares what began alike."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from rayal.engine.proposals import OBJECTIVE, TRIAL
from rayal.engine.rungs import RungsPerSeed
from rayal.engine.sweep import CYCLE, _rungs
from rayal.experiment.sweep.settings import EarlyStopping


def trial(arm: str, seed: int) -> Any:
    return SimpleNamespace(trial_id=f"{arm}{seed}", config={TRIAL: {"arm": arm, "seed": seed}})


def test_a_seed_with_a_worse_first_model_keeps_its_trials() -> None:
    """It would lose all of them after cycle 0, and every mean be one of the lucky seeds."""
    scheduler = RungsPerSeed(partial(_rungs, EarlyStopping(grace_cycles=1, reduction=2)))
    luck = {0: 0.8, 1: 0.3}  # of the first model, the same for all arms of a seed
    merit = {"a": 0.04, "b": 0.03, "c": 0.0}
    trials = [trial(arm, seed) for seed in luck for arm in merit]
    for each in trials:
        scheduler.on_trial_add(None, each)
    decided = {
        each.trial_id: scheduler.on_trial_result(
            None, each, {CYCLE: 1, OBJECTIVE: luck[seed] + merit[arm]}
        )
        for each in trials
        for arm, seed in [each.config[TRIAL].values()]
    }

    assert {key for key, said in decided.items() if said == TrialScheduler.STOP} == {
        "b0", "c0", "b1", "c1",
    }  # fmt: skip
    scheduler.on_trial_complete(None, trials[0], {CYCLE: 2, OBJECTIVE: 0.9})
    scheduler.on_trial_remove(None, trials[1])
    scheduler.on_trial_error(None, trials[3])
