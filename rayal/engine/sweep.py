"""Trials on Ray Tune: it places, draws, stops and starts them again, and remembers nothing.

What a trial has done is in its run folder; what Tune itself would keep goes to a temporary one.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Repeater
from ray.tune.search.repeater import TRIAL_INDEX

from rayal.cycle.engine import Engine
from rayal.engine.cluster import RayEngine, placement
from rayal.engine.failures import described, ray_errors
from rayal.engine.local import LocalEngine
from rayal.errors import UsageError
from rayal.experiment.experiment import Compute
from rayal.experiment.sweep.settings import Sweep
from rayal.experiment.sweep.space import KeyPath, arms, joined, split, values
from rayal.experiment.sweep.trials import Assignment
from rayal.randomness import derive
from rayal.storage.folder import Json

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command has its own
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
OBJECTIVE, CYCLE, ERROR = "objective", "cycle", "error"

Report = Callable[[int, float], None]
"""Tells the objective after so many cycles; the trial may end there, by SystemExit."""
StartEngine = Callable[[], Any]
"""Opens the engine of a trial on its worker."""
Work = Callable[[Assignment, StartEngine, Report], None]
"""Runs a trial to its end, on a worker; raises what a run raises."""


Ended = Callable[[Assignment, Json | None], None]
"""Is told as a trial ends: with its error as of `failures.described`, or None where it is complete
or was stopped early."""


def all_arms(sweep: Sweep) -> list[Json]:
    """Every arm of a sweep that is not searched."""
    return arms(sweep.space, sweep.samples, partial(_draw, sweep.seed))


class Trials:
    """Runs trials of a sweep on the cluster that this process has joined."""

    def __init__(
        self, sweep: Sweep, compute: Compute, cores: int, work: Work, ended: Ended
    ) -> None:
        """`cores`: those that the cluster really has, as `connect` returns them.

        Raises ClusterError where there is no room for a single trial.
        """
        self.sweep, self.ended = sweep, ended
        self.place = placement(compute, cores, sweep.cpus, sweep.gpus)
        engine = partial(_engine, compute, cores)
        self.work = partial(_work, work, engine)

    def run(self, todo: Sequence[Assignment]) -> None:
        """These trials, some at a time, in this order."""
        if not todo:
            return
        scheduler = None
        if (early := self.sweep.early_stopping) is not None:
            scheduler = ASHAScheduler(
                time_attr=CYCLE,
                max_t=10**6,  # a trial ends with its budget
                grace_period=early.grace_cycles,
                reduction_factor=early.reduction,
            )
        space = {"trial": tune.grid_search([trial._asdict() for trial in todo])}
        self._fit(space, _listed, scheduler=scheduler)

    def search(self, known: Sequence[tuple[Json, float]], new: int) -> None:
        """`new` arms, each with all seeds, that Optuna proposes after the `known` ones.

        Raises UsageError where Optuna is not installed.
        """
        if new <= 0:
            return
        drawn, fixed = split(self.sweep.space)
        searcher = _optuna()(
            {key: getattr(tune, name)(*arguments) for key, (name, arguments) in drawn.items()},
            metric=OBJECTIVE,
            mode="max",
            seed=derive(self.sweep.seed, "optuna", len(known)) % 2**32,
            points_to_evaluate=[values(arm, drawn) for arm, _ in known],
            evaluated_rewards=[value for _, value in known],
        )
        seeds = self.sweep.seeds
        self._fit(
            {},
            partial(_searched, fixed, seeds),
            search_alg=Repeater(searcher, repeat=len(seeds)),
            num_samples=new * len(seeds),
        )

    def _fit(self, space: Json, assigned: Callable[[Json], Assignment], **settings: Any) -> None:
        with _quiet(), tempfile.TemporaryDirectory(prefix="rayal-sweep-") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(
                    partial(_trial, self.work, assigned),
                    {"CPU": self.place.cpus, "GPU": self.place.gpus},
                ),
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
                    callbacks=[_TrialEnds(self.ended, assigned)],
                ),
            )
            with ray_errors("the sweep"):
                tuner.fit()


def _trial(
    work: Callable[..., Json | None], assigned: Callable[[Json], Assignment], config: Json
) -> None:
    """What Tune runs, on a worker."""

    def report(cycle: int, objective: float) -> None:
        tune.report({CYCLE: cycle, OBJECTIVE: objective})

    error = work(assigned(config), report)
    if error is not None:  # as a result: an exception would be taken for the worker's death
        tune.report({CYCLE: 0, OBJECTIVE: float("nan"), ERROR: error})


def _work(work: Work, engine: StartEngine, trial: Assignment, report: Report) -> Json | None:
    """Runs a trial; returns its error, if any, described."""
    try:
        work(trial, engine, report)
    except Exception as error:
        return described(error)
    return None


@contextmanager
def _engine(compute: Compute, cores: int) -> Iterator[Engine]:
    """In a process that has joined the cluster already."""
    engine = LocalEngine(compute) if compute.engine == "local" else RayEngine(compute, cores)
    with closing(engine):
        yield engine


class _TrialEnds(tune.Callback):
    """Hands on what Tune tells of ended trials."""

    def __init__(self, ended: Ended, assigned: Callable[[Json], Assignment]) -> None:
        self.ended, self.assigned = ended, assigned

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune writes itself down with its callbacks, and would never read this one again."""
        return tune.Callback, ()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.ended(self.assigned(trial.config), (trial.last_result or {}).get(ERROR))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        message = "the process of the trial died too often; see its node's logs, or add memory"
        error = {"error": "ClusterError", "message": message}
        self.ended(self.assigned(trial.config), error)


def _listed(config: Json) -> Assignment:
    return Assignment(**config["trial"])


def _searched(fixed: Json, seeds: Sequence[int], config: Json) -> Assignment:
    drawn = {key: value for key, value in config.items() if key != TRIAL_INDEX}
    return Assignment(joined(fixed, drawn), seeds[config[TRIAL_INDEX]])


def _draw(seed: int, number: int, name: str, arguments: Sequence[Any], place: KeyPath) -> Any:
    """A value of Ray Tune's function of this name, from a generator of its own."""
    rng = np.random.RandomState(derive(seed, "sweep", *place, number) % 2**32)
    drawn = getattr(tune, name)(*arguments).sample(random_state=rng)
    return drawn.item() if isinstance(drawn, np.generic) else drawn


def _optuna() -> Any:
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise UsageError("search optuna needs a package: pip install 'rayal[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune reads its settings from the environment, and prints what it does."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    yield
