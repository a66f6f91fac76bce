"""What a sweep is: an experiment file with a block `sweep:`."""

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rayal.experiment.experiment import Experiment
from rayal.experiment.keep import KeepInSweep
from rayal.experiment.sweep.space import check
from rayal.settings import Settings


class EarlyStopping(Settings):
    """ASHA: after some cycles only the best part of the trials of a seed that came as far goes on.

    Which trials stop depends on the order in which they come; leave it out for tables of a paper.
    """

    grace_cycles: PositiveInt = 2
    """Evaluated cycles of every trial before it may be stopped."""
    reduction: int = Field(default=2, ge=2)
    """One trial of so many goes on at each rung."""


class Sweep(Settings):
    """What is varied, how often, and how many trials share the cluster."""

    space: dict[str, Any] = Field(min_length=1)
    """Fields of the experiment, nested as there. A value is one of them, or a mapping of one of
    Ray Tune's functions to its arguments: `{grid_search: [random, cod]}`,
    `{loguniform: [0.005, 0.5]}`."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    """Seeds of the runs: every arm runs with all of them, so arms can be compared in pairs."""
    samples: PositiveInt = 1
    """Draws of what is not a grid; the same draws for every point of the grid beside it. With
    `optuna`: arms that are tried."""
    seed: NonNegativeInt = 0
    """What the draws come from; not a seed of any run."""
    search: Literal["random", "optuna"] = "random"
    """Where arms come from: `random` makes all at the start; `optuna` (TPE) learns from those that
    are complete."""
    objective: Literal["aulc", "final"] = "aulc"
    """What the best arm has most of: the area under its curve, or the metric at the end."""
    early_stopping: EarlyStopping | None = None
    """Ends trials that fall behind the others (ASHA); null: every trial runs to its end."""
    cpus: PositiveFloat = 1.0
    """Cores of a trial that runs in one process (`compute.engine: local`)."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs of a trial that runs in one process; 0.25 puts four on one."""
    concurrent: PositiveInt | None = None
    """Trials at a time; null: as many as the cluster has room for."""
    max_failures: NonNegativeInt = 2
    """Times that a trial is started again after its process died."""
    share_first_cycle: bool = True
    """Train the first model once for all trials that would train the same one."""

    control: Literal["random"] | None = "random"
    """Beside strategies of the space that lack it, `random` is run too, with the same settings and
    seeds: what they have to be better than. null: only what the space says, as of sweeps that an
    earlier rayal began, and of `optuna`, whose choices name it or not."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if repeated := [seed for seed in self.seeds if self.seeds.count(seed) > 1]:
            raise ValueError(f"seeds: {repeated[0]} is given twice; a pair needs different seeds")
        check(self.space, searched=self.search == "optuna")
        if self.search == "optuna" and self.early_stopping is not None:
            raise ValueError(
                "search optuna compares complete trials; leave early_stopping out, or use random"
            )
        return self


class SweptExperiment(Experiment):
    """An experiment of which some fields, and the seed, are varied."""

    sweep: Sweep
    """What is varied, how often, and how many trials share the cluster."""
    keep: KeepInSweep = KeepInSweep()
    """Which large files of past cycles stay on the disk, in every trial."""
