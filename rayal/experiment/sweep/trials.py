"""The trials of a sweep: every arm with every seed, each an experiment and a folder of its own."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rayal.errors import UsageError, counted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.identity import ADDED, identifying
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.parts import suggest
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import Json
from rayal.storage.yaml_node import leaves

logger = logging.getLogger(__name__)

SHOWN = 5
"""Impossible arms that a message names."""
FOREIGN = ("name", "seed", "tracking", "keep", "stop")
"""Fields that tell the runs of a sweep apart, or belong to all of them: none can be varied."""


class Assignment(NamedTuple):
    """What a worker is asked to run."""

    arm: Json
    seed: int


class Trial(NamedTuple):
    """One run of a sweep."""

    arm: Json
    """The values of what is varied."""
    experiment: Experiment
    name: str
    """Of the arm among the others: strategy, scheme, a mark of what it means."""
    folder: str
    """Its name among the trials: that of the arm, and the seed."""


def of_arms(x: SweptExperiment, arms: Sequence[Json], plugins: Plugins = NO_PLUGINS) -> list[Trial]:
    """A trial per seed and arm, seed by seed, so that pairs come early; of arms that mean the same
    experiment only those of the first, which is said.

    Raises UsageError with everything that is wrong in any arm.
    """
    _refuse_foreign(x)
    problems: list[str] = []
    twice: list[tuple[Json, Json]] = []
    found: dict[str, list[Trial]] = {}
    fields = base(x)
    for arm in arms:
        try:
            made = [of_arm(fields, arm, seed, plugins) for seed in x.sweep.seeds]
        except UsageError as error:
            problems.append(f"{described(arm)}: {error}")
            continue
        first = found.setdefault(made[0].folder, made)[0]
        if first is not made[0]:
            twice.append((first.arm, arm))
    refuse(problems)
    if twice:
        said = "%s the same experiment as another and left out; the first: %s is %s"
        alike = counted(len(twice), "arm is", "arms are")
        logger.warning(said, alike, *map(json.dumps, reversed(twice[0])))
    return [trials[number] for number in range(len(x.sweep.seeds)) for trials in found.values()]


def refuse(problems: Sequence[str]) -> None:
    """Raises UsageError for what is wrong with arms, if anything is; each begins with its arm."""
    if problems:
        rest = (
            [f"and {counted(len(problems) - SHOWN, 'more arm')}"] if len(problems) > SHOWN else []
        )
        raise UsageError.of([*problems[:SHOWN], *rest], where="the arms of the sweep")


def base(x: SweptExperiment) -> Json:
    """The fields that all trials start from."""
    return x.model_dump(mode="json", exclude={"sweep"})


def of_arm(fields: Json, arm: Json, seed: int, plugins: Plugins = NO_PLUGINS) -> Trial:
    """The trial of an arm with this seed."""
    experiment = config.changed(fields, {**arm, "seed": seed}, "sweep.space", plugins)
    strategy, scheme = experiment.strategy.part_name(), experiment.scheme.part_name()
    name = f"{strategy}-{scheme}-{_mark(experiment, arm)}"
    return Trial(arm, experiment, name, f"{name}-seed{seed}")


def _mark(experiment: Experiment, arm: Json) -> str:
    """The same for equal experiments, however an arm spells them and whatever the seed."""
    fields = experiment.model_dump(mode="json")
    meant = {**identifying(fields), "seed": None}
    if ADDED not in arm:  # it may be added to trials that are complete
        meant.pop(ADDED, None)
    if isinstance(varied := arm.get("dataset"), Mapping) and "root" in varied:
        meant["dataset.root"] = fields["dataset"]["root"]  # of other data, as a rule
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()[:8]


def described(arm: Mapping[str, Any]) -> str:
    """`strategy=cod scheme=tod scheme.weight=0.02`"""
    return " ".join(f"{key}={_shown(value)}" for key, value in leaves(arm))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _refuse_foreign(x: SweptExperiment) -> None:
    """A sweep cannot vary what tells its own runs apart."""
    for key in x.sweep.space:
        if key in FOREIGN:
            way_out = "list the seeds under sweep.seeds" if key == "seed" else "set it once"
            raise UsageError(f"sweep.space.{key}: cannot be varied; {way_out}")
        if key not in Experiment.model_fields:
            hint = suggest(key, Experiment.model_fields)
            raise UsageError(f"sweep.space.{key}: there is no such key; {hint}")
