"""An experiment: the parts and numbers that determine a run, as one frozen object."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from rayal.data.datasets.base import Dataset
from rayal.data.tasks.base import Task
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.base import Oracle
from rayal.models.base import Model
from rayal.models.companions.base import CompanionSpec
from rayal.parts import Component, Part, Settings, find, names
from rayal.runs.trackers.base import Tracker
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy, columns
from rayal.training.base import TrainingScheme


class Compute(Settings):
    """Where the work runs and with how much of the machine."""

    engine: Literal["ray", "local"] = "ray"
    """`ray`: Ray Train and Ray Data; `local`: in this process, for debugging."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where the cluster has one."""
    train_workers: PositiveInt = 1
    """Processes that train one model together; changes results: batch norm sees smaller batches."""
    cpus_per_worker: PositiveInt | None = None
    """CPU cores, and so torch threads, of a training worker; null: its share of a node."""
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
    ensemble: PositiveInt = 1
    """Models trained in each cycle, each with an initialisation and an order of its own; the first
    is the one that is evaluated, and the only one that strategies without ensembles ask."""
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
        budget = self.budget
        if budget.initial > budget.total:
            yield (
                ("budget", "initial"),
                f"{budget.initial} is more than budget.total, {budget.total}",
            )
        even = budget.unit == "samples"
        if even and self.candidates is not None and self.candidates < budget.per_cycle:
            yield (
                ("candidates",),
                f"{self.candidates} cannot fill budget.per_cycle, {budget.per_cycle}",
            )
        if budget.unit != self.oracle.unit:
            yield (
                ("budget", "unit"),
                f"{budget.unit}, but oracle {self.oracle.part_name()!r} counts costs in"
                f" {self.oracle.unit}; give both the same",
            )
        augment = self.scheme.augment
        if self.task.dense and (augment.crop or augment.policy):
            yield (
                ("scheme", "augment"),
                "crop and policy cannot move masks; use window and scale, and no policy",
            )
        if self.compute.engine == "local" and self.compute.train_workers > 1:
            yield (
                ("compute", "train_workers"),
                f"{self.compute.train_workers}, but compute.engine local is one process; use ray",
            )
        if budget.balanced and type(self.oracle).known_classes is Oracle.known_classes:
            yield (
                ("budget", "balanced"),
                f"oracle {self.oracle.part_name()!r} does not know classes beforehand; set it to"
                " false, or oracle to simulated",
            )
        if self.scheme.requires_warm and self.start == "cold":
            yield (
                ("start",),
                f"scheme {self.scheme.part_name()!r} continues from the last cycle; use warm",
            )
        parallel, unlabeled = self.compute.train_workers, self.scheme.unlabeled(1)
        if unlabeled and (unlabeled.batch_size % parallel or unlabeled.batch_size < 2 * parallel):
            yield (
                ("compute", "train_workers"),
                f"{parallel} cannot share an unlabeled batch of {unlabeled.batch_size} equally, two"
                " images or more each",
            )
        task = self.task.part_name()
        for part in ("dataset", "model", "scheme"):
            fits = getattr(self, part).tasks
            if task not in fits:
                yield (
                    (part,),
                    f"{getattr(self, part).part_name()!r} is for {', '.join(sorted(fits))}, but the"
                    f" task is {task!r}; choose one of: {', '.join(_fitting(f'{part}s', task))}",
                )
        for key, strategy in self._strategies():
            for problem in self._unfit(strategy):
                yield key, f"{strategy.part_name()!r} {problem}"
            for spec in strategy.companions() if key != ("strategy",) else ():
                if spec.changes_training:
                    yield (
                        key,
                        f"{strategy.part_name()!r} trains a {spec.name} with the model, which only"
                        " the strategy that selects may; observe it in a run of its own",
                    )
        yield from self._different_companions()

    def _strategies(self) -> list[tuple[tuple[str | int, ...], Strategy]]:
        observers = [(("observers", i), each) for i, each in enumerate(self.observers)]
        return [(("strategy",), self.strategy), *observers]

    def _unfit(self, strategy: Strategy) -> Iterator[str]:
        task = self.task.part_name()
        if task not in strategy.tasks:
            yield (
                f"supports {', '.join(sorted(strategy.tasks))}, but the task is {task!r};"
                f" choose one of: {', '.join(_fitting('strategies', task))}"
            )
        elif problem := strategy.unfit(self.task, self.oracle):
            yield problem
        if "dense" in strategy.requires() and not self.task.dense:
            yield "reads a signal of dense networks, which classify every pixel; use segmentation"
        if "ensemble" in strategy.requires() and self.ensemble < 2:
            yield "needs an ensemble; set `ensemble` to 2 or more (5 in the literature)"

    def _different_companions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Two that ask for one companion must mean the same one."""
        owners: dict[str, tuple[Component, CompanionSpec]] = {
            spec.name: (self.scheme, spec) for spec in self.scheme.companions()
        }
        for key, strategy in self._strategies():
            for spec in strategy.companions():
                owner, there = owners.setdefault(spec.name, (strategy, spec))
                if type(spec) is not type(there):
                    yield (
                        key,
                        f"{strategy.part_name()!r} cannot be used beside {owner.part_name()!r},"
                        f" whose {spec.name} is another; use another strategy or scheme",
                    )
                elif spec != there:
                    yield (
                        key,
                        f"{strategy.part_name()!r} wants a {spec.name} with {spec!r}, but"
                        f" {owner.part_name()!r} has one with {there!r}; give both the same",
                    )
                if spec.filled_by_scheme and spec not in self.scheme.companions():
                    yield (
                        key,
                        f"{strategy.part_name()!r} wants a {spec.name} that scheme"
                        f" {self.scheme.part_name()!r} never uses, so that it would learn nothing;"
                        " use its other settings, or a scheme that trains with it",
                    )

    def companions(self) -> tuple[CompanionSpec, ...]:
        """What lives beside the model, each once: the scheme's, then the strategies'."""
        specs = list(self.scheme.companions())
        for _, strategy in self._strategies():
            specs += strategy.companions()
        return tuple({type(spec): spec for spec in specs}.values())

    def scored(self) -> dict[str, Strategy]:
        """Every strategy of the pass by column: the one that selects first, then observers."""
        return columns((self.strategy, *self.observers))

    def keeps_probs(self, cycle: int) -> bool:
        """Whether this cycle's pass stores its predictions for the next one: some strategy will
        compare with this cycle's model, the whole pool is scored, and there is one prediction for
        an image: maps would take gigabytes."""
        looks_back = any(s.reference(cycle + 1) == "previous" for s in self.scored().values())
        return self.candidates is None and looks_back and not self.task.dense

    def identity(self) -> dict[str, Any]:
        """The fields that determine the chosen ids; a run continues only with the same ones.

        Where files lie, how many scorers share the work, how many bad images are put up with and
        who watches are not among them. Of pretrained weights and feature files the content counts.
        """
        fields = self.model_dump(mode="json")
        compute = fields.pop("compute")
        for free in ("tracking", "max_bad"):
            del fields[free]
        for place in ("root", "store", "download"):
            fields["dataset"].pop(place, None)
        if self.model.pretrained:
            fields["model"]["pretrained"] = _content(self.model.pretrained)
        for part, strategy in zip(
            (fields["strategy"], *fields["observers"]), self.scored().values(), strict=True
        ):
            part |= {field: _content(file) for field, file in strategy.files().items()}
        for same in ("device", "train_workers", "score_batch", "shard_rows"):
            fields[f"compute.{same}"] = compute[same]
        return fields


def _fitting(folder: str, task: str) -> list[str]:
    """The parts of a folder that are for a task."""
    return [name for name in names(folder) if task in find(folder, name).tasks]


def _content(location: str) -> str:
    """The sha256 of a file, by absolute path or URL."""
    folder, _, name = location.rpartition("/")
    return sha256(Folder(folder or "/").read(name)).hexdigest()
