"""An experiment: the parts and numbers that determine a run, as one frozen object."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from rayal.data.card import Card
from rayal.data.datasets.base import Dataset
from rayal.data.tasks.base import Task, headline_of
from rayal.experiment.brief import brief
from rayal.experiment.compute import Compute
from rayal.experiment.content import content
from rayal.experiment.contradictions import contradictions
from rayal.experiment.fine_tune import FineTune
from rayal.experiment.guards import Guards
from rayal.experiment.identity import identifying
from rayal.experiment.keep import Keep
from rayal.experiment.stop import Stop
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.base import Oracle
from rayal.location import Location
from rayal.models.base import Model
from rayal.models.card import ModelCard
from rayal.models.companions.base import CompanionSpec
from rayal.parts import Component, Part, with_usual_names
from rayal.runs.trackers.base import Tracker
from rayal.secrets import hidden
from rayal.settings import Settings
from rayal.strategies.base import Strategy, columns
from rayal.training.base import TrainingScheme
from rayal.training.fits.base import FitSpec

P = TypeVar("P", bound=Component)

Given: TypeAlias = P | str | Mapping[str, Any]
"""A part, its name, or a mapping of its name and fields."""


class Experiment(Settings):
    """Everything that determines a run; the run folder keeps it as `experiment.yaml`.

    A part is an instance, a name, or a mapping with `name` and its fields.

    >>> x = rayal.Experiment(
    ...     name="mine",
    ...     dataset="digits",
    ...     model={"name": "small_cnn", "width": 8},
    ...     strategy="entropy",
    ...     budget=rayal.Budget(initial=20, per_cycle=20, total=60),
    ... )
    >>> x
    Experiment(
        name='mine',
        dataset='digits',
        model={'name': 'small_cnn', 'width': 8},
        strategy='entropy',
        budget={'initial': 20, 'per_cycle': 20, 'total': 60},
    )
    >>> x.scheme.epochs
    200

    Raises UsageError with all problems, each with its key, value and what is allowed.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Groups runs: all seeds and strategies of one question share a name."""
    seed: NonNegativeInt = 0
    """What every draw of the run comes from: first labels, weights, batches, ties."""
    dataset: Annotated[Dataset, Part("datasets")]
    """Where images and labels come from: the pool, and the test images that judge."""
    model: Annotated[Model, Part("models")]
    """The network that is trained in every cycle."""
    task: Annotated[Task, Part("tasks")] = Field(default="classification", validate_default=True)
    """What is predicted: it decides the loss and the metrics."""
    scheme: Annotated[TrainingScheme, Part("schemes")] = Field(
        default="supervised", validate_default=True
    )
    """How the model is trained, and for how long."""
    strategy: Annotated[Strategy, Part("strategies")]
    """What decides which units are labeled next."""
    observers: tuple[Annotated[Strategy, Part("strategies")], ...] = ()
    """Strategies scored in the same pass and only recorded: they choose nothing."""
    budget: Budget = Budget()
    """How many labels are bought, and when."""
    stop: Stop = Stop()
    """What ends the run before its budget is spent."""
    guards: Guards = Guards()
    """Which units are passed over before money is spent on them."""
    explore: float = Field(default=0.0, ge=0, lt=1)
    """Share of each cycle's purchase that is drawn at random from all candidates, before the
    strategy chooses among the others: what it says of the model holds for all of them. Rounded to
    whole units, halves up; at least 1, and at least 1 is left to the strategy. 0: none."""
    first: Annotated[Strategy, Part("strategies")] = Field(default="random", validate_default=True)
    """What chooses the budget.initial units before the first training, for all strategies of a seed
    alike: `random`, or one that reads features, such as `core_set` or `typiclust`: those of the
    model as it is before any training, in one pass; of a dataset of vectors the vectors."""
    labeled: Location | None = None
    """Labels that exist already, the first labeled set, free of cost: a .csv or .parquet with
    columns id and label, a folder with a folder of images for each class, or one of masks; null:
    budget.initial units, which `first` chooses."""
    candidates: PositiveInt | None = None
    """Images of the random subset that is scored in each cycle, and that a strategy in `first`
    chooses from; null: the whole pool."""
    score_transform: Literal["test", "train"] = "test"
    """How strategies see the images of the pool: as the test images are seen, or (codes of DAST-AL,
    ADS and VAAL, of TOD on SVHN and Caltech-101) as training sees them, in the random changes of
    `scheme.augment`, drawn anew for each unit in each cycle."""
    start: Literal["warm", "cold"] = "warm"
    """What a cycle's training starts from: `warm` continues from the last cycle's weights, `cold`
    draws new ones every cycle."""
    ensemble: int = Field(default=1, ge=1, le=1000)
    """Models trained in each cycle, each with an initialisation and an order of its own; the first
    is the one that is evaluated, and the only one that strategies without ensembles ask."""
    fine_tune: FineTune | None = None
    """The training of a whole network on the labels that were bought, once, after the last cycle;
    null: none. It may be added to a complete run."""
    max_bad: NonNegativeInt = 10
    """Images that may be undecodable before the run stops."""
    oracle: Annotated[Oracle, Part("oracles")] = Field(default="simulated", validate_default=True)
    """Who answers with labels, and what each answer costs."""
    compute: Compute = Compute()
    """Where the work runs and with how much of the machine."""
    tracking: Annotated[Tracker, Part("trackers")] = Field(default="mlflow", validate_default=True)
    """Where the run is shown besides its folder."""
    keep: Keep = Keep()
    """Which large files of past cycles stay on the disk."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            seed: int = ...,
            dataset: Given[Dataset],
            model: Given[Model],
            task: Given[Task] = ...,
            scheme: Given[TrainingScheme] = ...,
            strategy: Given[Strategy],
            observers: Sequence[Given[Strategy]] = ...,
            budget: Budget | Mapping[str, Any] = ...,
            stop: Stop | Mapping[str, Any] = ...,
            guards: Guards | Mapping[str, Any] = ...,
            explore: float = ...,
            first: Given[Strategy] = ...,
            labeled: str | None = ...,
            candidates: int | None = ...,
            score_transform: Literal["test", "train"] = ...,
            start: Literal["warm", "cold"] = ...,
            ensemble: int = ...,
            fine_tune: FineTune | Mapping[str, Any] | None = ...,
            max_bad: int = ...,
            oracle: Given[Oracle] = ...,
            compute: Compute | Mapping[str, Any] = ...,
            tracking: Given[Tracker] = ...,
            keep: Keep | Mapping[str, Any] = ...,
        ) -> None: ...

    def __repr__(self) -> str:
        """What differs from the defaults, as Python would write it."""
        fields = "".join(f"    {key}={value!r},\n" for key, value in brief(self).items())
        return hidden(f"{type(self).__name__}(\n{fields})")

    __str__ = __repr__

    @model_validator(mode="before")
    @classmethod
    def _of_usual_parts(cls, given: Any) -> Any:
        return with_usual_names(cls, given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Raises every contradiction as an error of the key that it names first."""
        problems = [
            InitErrorDetails(
                type=PydanticCustomError("contradiction", "{problem}", {"problem": problem}),
                loc=key,
                input=self,
            )
            for key, problem in contradictions(self)
        ]
        if problems:
            raise ValidationError.from_exception_data("Experiment", problems)
        return self

    @property
    def headline(self) -> str:
        """The metric that its runs are shown by."""
        return headline_of(self.task.headline, self.dataset.tested, self.explore > 0)

    @property
    def chooses_first(self) -> bool:
        """Whether a strategy chooses the units before the first training: else the seed draws them,
        or their labels exist."""
        return not self.first.draws_at_random

    @property
    def draws_at_random(self) -> bool:
        """Whether all that it buys is a random sample of the pool."""
        return self.strategy.draws_at_random and not self.guards.walks

    def companions(self) -> tuple[CompanionSpec, ...]:
        """What lives beside the model, each once: the scheme's, then the strategies'."""
        specs = list(self.scheme.companions())
        for strategy in (self.strategy, *self.observers):
            specs += strategy.companions()
        return tuple({type(spec): spec for spec in specs}.values())

    def fits(self) -> tuple[FitSpec, ...]:
        """What is made beside the model after its training, each once."""
        specs = [spec for strategy in self.scored().values() for spec in strategy.fits()]
        return tuple({type(spec): spec for spec in specs}.values())

    def card_for(self, store: Card) -> ModelCard:
        """What the models that it trains on this prepared dataset say of themselves."""
        decoding = store.decoding or self.dataset.decoding  # a store of pixels has forgotten it
        return ModelCard.of(self.model, store, self.scheme.precision, self.task, decoding)

    def scored(self) -> dict[str, Strategy]:
        """Every strategy of the pass by column: the one that selects first, then observers."""
        return columns((self.strategy, *self.observers))

    def buys_again(self) -> bool:
        """Whether units that have a label are bought again, so that a pool never ends."""
        return self.strategy.relabels and self.oracle.answers_again()

    def scans_labeled(self) -> bool:
        """Whether labeled units go through the pass as well."""
        strategies = self.scored().values()
        return self.keeps_features() or any(each.scans_labeled for each in strategies)

    def keeps_features(self) -> bool:
        """Whether the pass stores the features of each unit, whatever strategies keep."""
        return self.guards.min_distance is not None

    def keeps_predicted(self) -> bool:
        """Whether the pass stores the most probable class of each unit."""
        return self.guards.walks and not self.task.dense

    def keeps_probs(self, cycle: int) -> bool:
        """Whether this cycle's pass stores its predictions for the next one: some strategy will
        compare with this cycle's model, the whole pool is scored, the next pass sees the same
        images, and there is one prediction for an image: maps would take gigabytes."""
        if self.score_transform == "train":
            return False
        looks_back = any(s.reference(cycle + 1) == "previous" for s in self.scored().values())
        return self.candidates is None and looks_back and not self.task.dense

    def identity(self, digest: Callable[[str], str] = content) -> dict[str, Any]:
        """What `identifying` keeps of it: a run continues only with the same. Of pretrained
        weights, feature files and first labels the content counts, as `digest` tells it of a
        location: the sha256."""
        fields = identifying(self.model_dump(mode="json"))
        if self.model.pretrained:
            found = [digest(file) for file in self.model.files()]
            fields["model"]["pretrained"] = found[0] if len(found) == 1 else found
        if self.labeled:
            fields["labeled"] = digest(self.labeled)
        if (tuned := self.fine_tune) is not None and tuned.model is not None:
            if tuned.model.pretrained:
                fields["fine_tune"]["model"]["pretrained"] = digest(tuned.model.pretrained)
        parts = [(fields["strategy"], self.strategy)]
        parts += zip(fields["observers"], self.observers, strict=True)
        parts += [(fields["first"], self.first)] if self.chooses_first else []
        for part, strategy in parts:
            part |= {field: digest(file) for field, file in strategy.files().items()}
        return fields
