"""The trials of a sweep: every arm with every seed, each an experiment and a folder of its own."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.parts import suggest
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import Json
from rayal.storage.yaml_file import leaves

SHOWN = 5
"""Impossible arms that a message names."""


class Assignment(NamedTuple):
    """What a worker is asked to run."""

    arm: Json
    seed: int


class Trial(NamedTuple):
    """One run of a sweep."""

    arm: Json
    """The values of what is varied."""
    experiment: Experiment
    folder: str
    """Its name among the trials: strategy, scheme, a mark of the arm, seed."""


def of_arms(x: SweptExperiment, arms: Sequence[Json], plugins: Plugins = NO_PLUGINS) -> list[Trial]:
    """A trial per seed and arm, seed by seed, so that pairs come early.

    Raises UsageError with everything that is wrong in any arm.
    """
    _refuse_foreign(x)
    problems: list[str] = []
    made: list[list[Trial]] = []
    fields = base(x)
    for arm in arms:
        try:
            made.append([of_arm(fields, arm, seed, plugins) for seed in x.sweep.seeds])
        except UsageError as error:
            problems.append(f"{described(arm)}: {error}")
    if problems:
        rest = [f"and {len(problems) - SHOWN} more arms"] if len(problems) > SHOWN else []
        raise UsageError.of(problems[:SHOWN] + rest, where="the arms of the sweep")
    return [trials[number] for number in range(len(x.sweep.seeds)) for trials in made]


def base(x: SweptExperiment) -> Json:
    """The fields that all trials start from."""
    return x.model_dump(mode="json", exclude={"sweep"})


def of_arm(fields: Json, arm: Json, seed: int, plugins: Plugins = NO_PLUGINS) -> Trial:
    """The trial of an arm with this seed."""
    experiment = config.changed(fields, {**arm, "seed": seed}, "sweep.space", plugins)
    strategy, scheme = experiment.strategy.part_name(), experiment.scheme.part_name()
    return Trial(arm, experiment, f"{strategy}-{scheme}-{mark(arm)}-seed{seed}")


def mark(arm: Json) -> str:
    """A short name of an arm, the same for equal ones."""
    return hashlib.sha256(json.dumps(arm, sort_keys=True).encode()).hexdigest()[:8]


def described(arm: Mapping[str, Any]) -> str:
    """`strategy=cod scheme=tod scheme.weight=0.02`"""
    return " ".join(f"{key}={_shown(value)}" for key, value in leaves(arm))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _refuse_foreign(x: SweptExperiment) -> None:
    """A sweep cannot vary what tells its own runs apart."""
    for key in x.sweep.space:
        if key in ("name", "seed", "tracking"):
            way_out = "list the seeds under sweep.seeds" if key == "seed" else "set it once"
            raise UsageError(f"sweep.space.{key}: cannot be varied; {way_out}")
        if key not in Experiment.model_fields:
            hint = suggest(key, Experiment.model_fields)
            raise UsageError(f"sweep.space.{key}: there is no such key; {hint}")
