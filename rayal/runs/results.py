"""What each stage of a cycle results in, as the loop hands it on and as `done.json` keeps it.

    first           FirstChosen  initial, label  Labeled  train   Trained
    evaluate        Evaluated    fit             Fitted   score   Scored
    select          Chosen       fine_tune       FineTuned

A result knows the name of its stage. This is the one place where results become JSON and back; the
JSON is that of rayal 0.4.
"""

from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    model_serializer,
)

from rayal.errors import StorageError
from rayal.settings import wanted
from rayal.storage.failures import suggesting
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.journal import DONE, read_done
from rayal.storage.stage_file import way_out

TRAINED = "trained.json"
"""The result of one training among several of a stage, or kept for several runs."""
FIT = "fit.json"
"""The result of one fit of a stage."""
FIT_ROWS = "fit.jsonl"
"""How a fit went, a row for each of its rounds."""
TUNED = "fine_tuned_"
"""Before the name of a metric: of the network that was trained after the last cycle."""
TRAIN_AGAIN = "delete it to train that model again"
"""What helps where that file is damaged."""


def _metric(value: Any) -> Any:
    """A number, or one for each class, as it is: 5 stays 5."""
    numbers = value if isinstance(value, list | tuple) else [value]
    if not all(number is None or isinstance(number, int | float) for number in numbers):
        raise ValueError("a metric is a number, or a list of numbers")
    return value


Metric = Annotated[Any, BeforeValidator(_metric)]

File = Annotated[FileRecord, PlainSerializer(FileRecord._asdict)]
"""A file that a stage wrote into its folder."""


class Result(BaseModel):
    """What a piece of work results in: frozen, and the same after JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_json(self) -> Json:
        """What `from_json` reads."""
        return self.model_dump()

    @classmethod
    def from_json(cls, written: Json) -> Self:
        """The result that was written, less what this rayal does not know.

        Raises ValidationError for JSON of anything else.
        """
        known = cls.model_fields.keys()
        return cls.model_validate({key: value for key, value in written.items() if key in known})


R = TypeVar("R", bound=Result)


LATER = tuple(
    "again log members table evidence passed_over short predicted distances held_out best".split()
)
"""Fields that are left out where they hold nothing, as rayal 0.4 has them not."""


class StageResult(Result):
    """What a stage of a run results in."""

    stage: ClassVar[str]
    """The stage's name, and that of its folder."""

    def decides(self) -> list[str]:
        """What of it later stages build on, the same whenever the stage is done again in the same
        way."""
        return []

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: Any) -> Json:
        written: Json = handler(self)
        return {key: value for key, value in written.items() if key not in LATER or value}


class Trained(StageResult):
    """A model at the end of its training."""

    stage: ClassVar[str] = "train"

    weights: File
    companions: dict[str, File] = {}
    """What lives beside the model, by name."""
    epochs: int
    steps: int
    loss: float
    """Mean of the epoch whose weights these are: the last one, or the `best`."""
    seconds: float
    """Of all epochs, those of earlier attempts too."""
    log: File | None = None
    """The rows of its epochs; None where an older rayal did not say."""
    held_out: tuple[str, ...] = ()
    """The labeled images that were held out to judge it, in pool order."""
    best: int = 0
    """Which epoch, counted from 1, these found best; 0 where none were held out."""
    members: tuple["Trained", ...] = ()
    """The other models of an ensemble; their files lie in folders of their own."""

    def decides(self) -> list[str]:
        files = (self.weights, *(file for _, file in sorted(self.companions.items())))
        others = [digest for member in self.members for digest in member.decides()]
        return [*(file.sha256 for file in files), *others]

    def member(self, number: int) -> "Trained":
        """One model of the ensemble; 0 is this one."""
        return self.members[number - 1] if number else self

    def files(self) -> list[FileRecord]:
        """Weights and companions of all members, named as in the stage's folder."""
        found = []
        for number, each in enumerate((self, *self.members)):
            own = (each.weights, *each.companions.values())
            found += [f._replace(name=f"{member_place(number)}{f.name}") for f in own]
        return found


def member_place(number: int) -> str:
    """Of the files of a member of an ensemble below the stage's folder; the first one has none."""
    return f"member-{number:03d}/" if number else ""


class Evaluated(StageResult):
    """What the test split says of a model; where there is none, what the labels of people say."""

    stage: ClassVar[str] = "evaluate"

    metrics: dict[str, Metric]
    """By name: a number, or a list with one for each class (null where the class has no unit)."""
    labels: int
    """Images, or regions of images, that the model was trained on."""
    cost: float
    """Of all answers bought so far, in the budget's unit."""
    images: int | None = None
    """Test images that the metrics are of; None where there are none, or an older rayal did not
    say."""

    def to_json(self) -> Json:
        known = {} if self.images is None else {"images": self.images}
        return {**self.metrics, "labels": self.labels, "cost": self.cost, **known}

    @classmethod
    def from_json(cls, written: Json) -> Self:
        own = cls.model_fields.keys()
        metrics = {name: value for name, value in written.items() if name not in own}
        return super().from_json({**written, "metrics": metrics})


class FineTuned(StageResult):
    """A whole network, trained once on the labels that were bought; nothing follows from it."""

    stage: ClassVar[str] = "fine_tune"

    trained: Trained
    metrics: dict[str, Metric]
    """Of the test split of its images, by name, as those of `Evaluated`."""
    labels: int
    """As of `Evaluated`: what it was trained on."""
    cost: float
    """Of all answers bought so far, in the budget's unit."""
    data: str
    """Fingerprint of the images."""
    model: dict[str, Any]
    """The network that was trained, as an experiment says it."""
    backbone: str | None = None
    """sha256 of the weights that `rayal features` looked with, where it began with those."""

    def files(self) -> list[FileRecord]:
        """Weights and what lived beside them."""
        return self.trained.files()


class Fit(Result):
    """One companion that was made after a training."""

    companion: File
    log: File
    """The rows of its rounds."""
    steps: int
    loss: float
    """Mean of the last round."""
    seconds: float
    """Of all rounds, those of earlier attempts too."""


class Fitted(StageResult):
    """All that was made for the scoring pass of one cycle, each in a folder of its own."""

    stage: ClassVar[str] = "fit"

    fits: dict[str, Fit] = {}
    """By name; empty where no candidate was left."""

    def decides(self) -> list[str]:
        return [fit.companion.sha256 for _, fit in sorted(self.fits.items())]

    def files(self) -> list[FileRecord]:
        """The companions, named as in the stage's folder."""
        return [
            fit.companion._replace(name=f"{name}/{fit.companion.name}")
            for name, fit in self.fits.items()
        ]


class Pass(Result):
    """A finished scoring pass, over candidates of a run or over a pool."""

    units: int
    """How many ids have a row, those that could not be decoded included."""
    columns: tuple[str, ...]
    """The strategies that scored, by the name of their column."""
    options: dict[str, Any] | None = None
    """By column the strategy itself; None where an older rayal did not say."""
    shards: tuple[File, ...]


class Scored(Pass, StageResult):
    """The scoring pass of one cycle."""

    stage: ClassVar[str] = "score"

    bad: dict[str, str] = {}
    """Id -> reason, of every image that could not be decoded."""

    def decides(self) -> list[str]:
        return [file.sha256 for file in self.shards]

    def files(self) -> list[FileRecord]:
        """The shards."""
        return list(self.shards)


class PoolScored(Pass):
    """The pass of `rayal score`."""

    bad: int
    """How many images could not be decoded."""
    classes: tuple[str, ...]
    images_per_second: float
    """Of those that the attempt which finished scored itself."""
    seconds: float
    """Of that attempt."""


class ScoredShard(Result):
    """One shard of a scoring pass, as its worker tells it."""

    shard: int
    """Its number."""
    rows: int
    bad: int
    """How many of the rows could not be decoded."""
    first_bad: tuple[str, str] | None
    """Id and reason of the first of them, in the order of ids."""
    file: File
    seconds: float
    ranges: dict[str, tuple[float, float]] = {}
    """The lowest and the highest score of each strategy that gives some."""


class FastestBatch(Result):
    """How many images a pass scores at a time, and what was measured to find out."""

    batch: int
    tried: tuple[dict[str, Any], ...] = ()
    """Of each size: `batch`, `images_per_second`, and `bytes` beside the models."""


class Chosen(StageResult):
    """The units to label next."""

    stage: ClassVar[str] = "select"

    ids: tuple[str, ...]
    """The best first."""
    cost: float = 0.0
    """What they will cost, in the budget's unit."""
    sold_out: bool = False
    """Whether nothing was chosen since nothing is left that a larger budget could buy."""
    agreement: dict[str, dict[str, float]] = {}
    """Strategy -> strategy -> share of units that both chose, 0 to 1."""
    table: File | None = None
    """The same for people, `chosen.csv`; None where an older rayal did not say."""
    passed_over: dict[str, int] = {}
    """How many candidates rank before the last one chosen and were not taken, by the guard that
    stood in their way."""
    short: str = ""
    """Why that is less than the budget buys, where guards say so."""
    predicted: dict[str, int] = {}
    """Predicted class -> units chosen, where the pass keeps it."""
    distances: dict[str, dict[str, float]] = {}
    """Quantiles of the distances of what was chosen: `labeled`, to the nearest labeled unit, and
    `chosen`, to the nearest chosen before it, where guards.min_distance asks."""

    def decides(self) -> list[str]:
        return list(self.ids)


class FirstChosen(Chosen):
    """The units to label before the first training, where a strategy chooses them."""

    stage: ClassVar[str] = "first"

    shards: tuple[File, ...] = ()
    """Of the pass that it chose by."""

    def files(self) -> list[FileRecord]:
        """The shards."""
        return list(self.shards)


class Labeled(StageResult):
    """Answers bought; they lie in `file`."""

    stage: ClassVar[str] = "label"

    file: File
    labels: int
    refused: int
    """How many units the oracle could not label."""
    cost: float
    evidence: dict[str, File] = {}
    """What the answers were made from, by name, such as the votes of several annotators."""
    again: tuple[str, ...] = ()
    """The units among them that had a label before: their new answer stands in its place."""

    def decides(self) -> list[str]:
        made_from = (file.sha256 for _, file in sorted(self.evidence.items()))
        return [self.file.sha256, *made_from]


class Initial(Labeled):
    """Answers bought before the first training."""

    stage: ClassVar[str] = "initial"


def read_result(kind: type[R], out: Folder) -> R:
    """The result of the finished stage in this folder.

    Raises StorageError where there is none, or it is damaged or of another kind.
    """
    return checked_result(kind, read_done(out)["result"], out)


def read_trained(out: Folder) -> Trained | None:
    """The model that a training left in this folder, apart from the stage's own result; None where
    it is not finished. Raises StorageError where that is damaged."""
    with suggesting(TRAIN_AGAIN):
        written = out.read_sealed(TRAINED, None)
    return (
        None if written is None else _checked(Trained, written, f"{out.url}/{TRAINED}", TRAIN_AGAIN)
    )


def read_fit(out: Folder) -> Fit | None:
    """The companion that a fit left in this folder; None where it is not finished. Raises
    StorageError where what it says is damaged."""
    way_out = "delete it to fit that companion again"
    with suggesting(way_out):
        written = out.read_sealed(FIT, None)
    return None if written is None else _checked(Fit, written, f"{out.url}/{FIT}", way_out)


def write_fit(out: Folder, fit: Fit) -> None:
    """What `read_fit` reads; written last, it says that all files are there."""
    out.write_sealed(FIT, fit.to_json())


def recorded_file(out: Folder, name: str) -> FileRecord | None:
    """What a training in this folder says of a file that it wrote; None where it says nothing, as
    in a folder to which the file was copied."""
    trained = read_trained(out)
    if trained is None and out.exists(DONE) and "weights" in (read_done(out)["result"] or {}):
        trained = read_result(Trained, out)
    files = () if trained is None else (trained.weights, *trained.companions.values())
    if (fit := read_fit(out)) is not None:
        files = (*files, fit.companion)
    return next((file for file in files if file.name == name), None)


def write_trained(out: Folder, trained: Trained) -> None:
    """What `read_trained` reads; written last, it says that all files are there."""
    out.write_sealed(TRAINED, trained.to_json())


def checked_result(kind: type[R], written: Json, out: Folder) -> R:
    """The result that was written in this folder; raises as `read_result`."""
    return _checked(kind, written, f"{out.url}/done.json", way_out(out))


def _checked(kind: type[R], written: object, file: str, way_out: str) -> R:
    try:
        return kind.from_json(written if isinstance(written, dict) else {"": written})
    except ValidationError as error:
        reason = wanted(error.errors()[0])
        raise StorageError(f"{file} is no {kind.__name__} ({reason}); {way_out}") from error
