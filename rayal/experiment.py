"""An experiment: the parts and numbers that determine a run, as one frozen object."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from rayal.dataset import Dataset
from rayal.model import Model
from rayal.oracle import Oracle
from rayal.parts import Part, Settings, find, names
from rayal.scheme import TrainingScheme
from rayal.strategy import Strategy
from rayal.task import Task
from rayal.tracker import Tracker


class Budget(Settings):
    """How many labels are bought, and when."""

    initial: PositiveInt
    """Units labeled at random before the first training."""
    per_cycle: PositiveInt
    """Cost spent in each cycle; the last cycle spends what is left."""
    total: PositiveInt
    """Cost at which the run is complete, the initial units included."""
    unit: Literal["samples"] = "samples"
    """What cost is counted in."""


class Compute(Settings):
    """Where the work runs and with how much of the machine."""

    engine: Literal["ray", "local"] = "ray"
    """`ray`: Ray Train and Ray Data; `local`: in this process, for debugging."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where the cluster has one."""
    train_workers: PositiveInt = 1
    """Processes that train one model together; changes results: batch norm sees smaller batches."""
    cpus_per_worker: PositiveInt | None = None
    """CPU cores, and so torch threads, of a training worker; null: a whole node, beside a GPU 1."""
    scorers: PositiveInt | None = None
    """Actors that score; null: one per GPU, or per core."""
    score_batch: PositiveInt = 256
    """Images in one forward pass of a scorer."""
    shard_rows: PositiveInt = 2048
    """Least images in one shard, the unit of work and of resuming of the scoring pass."""
    resident_bytes: NonNegativeInt = 4 * 2**30
    """A labeled set up to this size (bytes, as uint8) stays on the training device."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Least time between two checkpoints inside one training."""
    max_failures: NonNegativeInt = 3
    """Times that a training or a scoring pass is started again after a worker died."""


class Experiment(Settings):
    """Everything that determines a run; the run folder keeps it as `experiment.yaml`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Groups runs: all seeds and strategies of one question share a name."""
    seed: NonNegativeInt = 0
    dataset: Annotated[Dataset, Part("datasets")]
    model: Annotated[Model, Part("models")]
    task: Annotated[Task, Part("tasks")] = Field(default="classification", validate_default=True)
    scheme: Annotated[TrainingScheme, Part("schemes")] = Field(
        default="supervised", validate_default=True
    )
    strategy: Annotated[Strategy, Part("strategies")]
    observers: tuple[Annotated[Strategy, Part("strategies")], ...] = ()
    """Strategies scored in the same pass and only recorded."""
    budget: Budget
    candidates: PositiveInt | None = None
    """Size of the random subset that is scored in each cycle; null: the whole pool."""
    start: Literal["warm", "cold"] = "warm"
    """`warm` continues from the last cycle's weights, `cold` draws new ones every cycle."""
    max_bad: NonNegativeInt = 10
    """Images that may be undecodable before the run stops."""
    oracle: Annotated[Oracle, Part("oracles")] = Field(default="simulated", validate_default=True)
    compute: Compute = Compute()
    tracking: Annotated[Tracker, Part("trackers")] = Field(default="mlflow", validate_default=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Raises every contradiction as an error of the key that it names first."""
        problems = [
            InitErrorDetails(
                type=PydanticCustomError("contradiction", "{problem}", {"problem": problem}),
                loc=key,
                input=self,
            )
            for key, problem in self._contradictions()
        ]
        if problems:
            raise ValidationError.from_exception_data("Experiment", problems)
        return self

    def _contradictions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Key and problem of what cannot work whatever the data."""
        budget, task = self.budget, self.task.part_name()
        if budget.initial > budget.total:
            yield (
                ("budget", "initial"),
                f"{budget.initial} is more than budget.total, {budget.total}",
            )
        if self.candidates is not None and self.candidates < budget.per_cycle:
            yield (
                ("candidates",),
                f"{self.candidates} cannot fill budget.per_cycle, {budget.per_cycle}",
            )
        if self.compute.engine == "local" and self.compute.train_workers > 1:
            yield (
                ("compute", "train_workers"),
                f"{self.compute.train_workers}, but compute.engine local is one process; use ray",
            )
        keys = [("strategy",), *(("observers", i) for i in range(len(self.observers)))]
        for key, strategy in zip(keys, (self.strategy, *self.observers), strict=True):
            if key != ("strategy",) and type(strategy).companion is not Strategy.companion:
                yield (
                    key,
                    f"{strategy.part_name()!r} trains a companion, which only the strategy that"
                    " selects can have; observe it in a run of its own",
                )
            if task not in strategy.tasks:
                fitting = [n for n in names("strategies") if task in find("strategies", n).tasks]
                yield (
                    key,
                    f"{strategy.part_name()!r} supports {', '.join(sorted(strategy.tasks))}, but"
                    f" the task is {task!r}; choose one of: {', '.join(fitting)}",
                )

    def scored(self) -> dict[str, Strategy]:
        """Every strategy of the pass by column name: the one that selects first, then observers.

        A second strategy of the same name becomes `cod#2`.
        """
        columns: dict[str, Strategy] = {}
        for strategy in (self.strategy, *self.observers):
            name, count = strategy.part_name(), 1
            while (column := name if count == 1 else f"{name}#{count}") in columns:
                count += 1
            columns[column] = strategy
        return columns

    def identity(self) -> dict[str, Any]:
        """The fields that determine the chosen ids; a run continues only with the same ones.

        Where files lie, how many scorers share the work, how many bad images are put up with and
        who watches are not among them. Of pretrained weights the content counts.
        """
        fields = self.model_dump(mode="json")
        compute = fields.pop("compute")
        for free in ("tracking", "max_bad"):
            del fields[free]
        for place in ("root", "store", "download"):
            fields["dataset"].pop(place, None)
        if self.model.pretrained:
            fields["model"]["pretrained"] = sha256(
                Path(self.model.pretrained).read_bytes()
            ).hexdigest()
        for same in ("device", "train_workers", "score_batch", "shard_rows"):
            fields[f"compute.{same}"] = compute[same]
        return fields
