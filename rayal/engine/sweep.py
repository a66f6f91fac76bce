"""Trials on Ray Tune: it places, draws, stops and starts them again, and remembers nothing.

What a trial has done is in its run folder; what Tune itself would keep goes to a temporary one.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.trainable import FunctionTrainable

from rayal.engine.cluster import placement
from rayal.engine.described import described
from rayal.engine.failures import ray_errors
from rayal.engine.own_cluster import inheriting_trials
from rayal.engine.proposals import OBJECTIVE, TRIAL, Proposals
from rayal.engine.rungs import RungsPerSeed
from rayal.engine.trial_engine import close_kept, trial_engine
from rayal.engine.watching import Report, StartEngine, Watcher, Work
from rayal.errors import UsageError
from rayal.experiment.compute import Compute
from rayal.experiment.sweep.settings import EarlyStopping, Sweep
from rayal.experiment.sweep.space import joined, split, values
from rayal.experiment.sweep.trials import Assignment
from rayal.randomness import derive
from rayal.storage.folder import Json

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command has its own
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
CYCLE, ERROR = "cycle", "error"
END_SECONDS = 60
"""A trial that is stopped takes no longer to end."""
_at_work = list[threading.Thread]()
"""The thread of this process's last trial."""


class Trials:
    """Runs trials of a sweep on the cluster that this process has joined."""

    def __init__(
        self, sweep: Sweep, compute: Compute, cores: int, work: Work, watcher: Watcher
    ) -> None:
        """`cores`: those that the cluster really has, as `connect` returns them.

        Raises ClusterError where there is no room for a single trial.
        """
        self.sweep, self.watcher = sweep, watcher
        self.place = placement(compute, cores, sweep.cpus, sweep.gpus)
        engine = partial(trial_engine, compute, cores)
        self.work = partial(_work, work, engine)

    def run(self, todo: Sequence[Assignment]) -> None:
        """These trials, some at a time, in this order."""
        if not todo:
            return
        scheduler = None
        if (early := self.sweep.early_stopping) is not None:
            scheduler = RungsPerSeed(partial(_rungs, early))
        space = {TRIAL: tune.grid_search([trial._asdict() for trial in todo])}
        self._fit(space, scheduler=scheduler)

    def search(
        self,
        known: Sequence[tuple[Json, float]],
        new: int,
        name_of: Callable[[Json], str],
        repeated: Callable[[], None],
    ) -> None:
        """`new` draws of Optuna after the `known` arms; see `Proposals`.

        Raises UsageError where Optuna is not installed.
        """
        if new <= 0:
            return
        drawn, fixed = split(self.sweep.space)
        searcher = optuna_search()(
            {key: getattr(tune, name)(*arguments) for key, (name, arguments) in drawn.items()},
            metric=OBJECTIVE,
            mode="max",
            seed=derive(self.sweep.seed, "optuna", self.sweep.samples - new) % 2**32,
            points_to_evaluate=[values(arm, drawn) for arm, _ in known],
            evaluated_rewards=[value for _, value in known],
        )
        seeds = self.sweep.seeds
        proposals = Proposals(
            searcher,
            partial(joined, fixed),
            name_of,
            seeds,
            new,
            {name_of(arm): value for arm, value in known},
            repeated,
        )
        self._fit({}, search_alg=proposals, num_samples=new * len(seeds))

    def _fit(self, space: Json, **settings: Any) -> None:
        trial: Any = partial(_trial, self.work)
        trial.__mixins__ = (_Ended,)  # of the class that Tune makes of a function
        with (
            _quiet(),
            inheriting_trials(),
            tempfile.TemporaryDirectory(prefix="rayal-sweep-") as scratch,
        ):
            tuner = tune.Tuner(
                tune.with_resources(trial, {"CPU": self.place.cpus, "GPU": self.place.gpus}),
                param_space=space,
                tune_config=tune.TuneConfig(
                    metric=OBJECTIVE,
                    mode="max",
                    reuse_actors=True,  # a process of its own would import for 5 s per trial
                    max_concurrent_trials=self.sweep.concurrent or self.place.concurrent,
                    **settings,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=self.sweep.max_failures),
                    callbacks=[_Tells(self.watcher)],
                ),
            )
            with ray_errors("the sweep"):
                tuner.fit()


def _rungs(early: EarlyStopping) -> ASHAScheduler:
    return ASHAScheduler(
        time_attr=CYCLE,
        metric=OBJECTIVE,
        mode="max",
        max_t=10**6,  # a trial ends with its budget
        grace_period=early.grace_cycles,
        reduction_factor=early.reduction,
    )


class _Ended(FunctionTrainable):
    """Ends its trial before the next begins, or its process ends: one that is stopped early has yet
    to draw its curve and to release its lock."""

    def setup(self, config: Json) -> None:
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(END_SECONDS)
        super().setup(config)

    def cleanup(self) -> None:
        super().cleanup()  # tells it to end, and does not wait
        for thread in _at_work:
            thread.join(END_SECONDS)
        close_kept()


def _trial(work: Callable[..., Json | None], config: Json) -> None:
    """What Tune runs, on a worker."""
    _at_work[:] = [threading.current_thread()]

    def report(cycle: int, objective: float) -> None:
        tune.report({CYCLE: cycle, OBJECTIVE: objective})

    error = work(_assigned(config), report)
    if error is not None:  # as a result: an exception would be taken for the worker's death
        tune.report({CYCLE: 0, OBJECTIVE: float("nan"), ERROR: error})


def _work(work: Work, engine: StartEngine, trial: Assignment, report: Report) -> Json | None:
    """Runs a trial; returns its error, if any, described."""
    try:
        work(trial, engine, report)
    except Exception as error:
        return described(error)
    return None


class _Tells(tune.Callback):
    """Hands on what Tune tells of trials."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune writes itself down with its callbacks, and would never read this one again."""
        return tune.Callback, ()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Json, **_: Any
    ) -> None:
        if ERROR not in result:
            self.watcher.on_cycle(_assigned(trial.config), result[CYCLE])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.watcher.on_end(_assigned(trial.config), (trial.last_result or {}).get(ERROR))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        message = "the process of the trial died too often; see its node's logs, or add memory"
        error = {"error": "ClusterError", "message": message}
        self.watcher.on_end(_assigned(trial.config), error)


def _assigned(config: Json) -> Assignment:
    return Assignment(**config[TRIAL])


def optuna_search() -> Any:
    """Ray Tune's class for Optuna; UsageError where that is not installed."""
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise UsageError("search optuna needs a package: pip install optuna") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune reads its settings from the environment, and prints what it does."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    yield
