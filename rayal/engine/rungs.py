"""Early stopping among the trials of each seed alone."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from rayal.engine.proposals import TRIAL


class RungsPerSeed(FIFOScheduler):
    """A scheduler for each seed: arms are compared where they began alike. Among all trials, the
    seed with the worse first model would lose its trials whatever their arms."""

    def __init__(self, scheduler: Callable[[], TrialScheduler]) -> None:
        """`scheduler` makes one that knows metric and mode."""
        super().__init__()
        self.rungs: dict[int, TrialScheduler] = defaultdict(scheduler)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """They are known."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._among(trial).on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._among(trial).on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
        return self._among(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Any) -> None:
        self._among(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._among(trial).on_trial_remove(tune_controller, trial)

    def _among(self, trial: Any) -> TrialScheduler:
        return self.rungs[trial.config[TRIAL]["seed"]]
