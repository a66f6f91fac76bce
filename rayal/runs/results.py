"""What each stage of a cycle results in, as the loop hands it on and as `done.json` keeps it.

    first           FirstChosen  initial, label  Labeled  train   Trained
    evaluate        Evaluated    fit             Fitted   score   Scored
    select          Chosen       fine_tune       FineTuned

A result knows the name of its stage. `result_files` reads and writes what is in folders.
"""

from typing import Any, ClassVar, Self

from rayal.runs.passes import Pass
from rayal.runs.result import File, Metric, Result, StageResult
from rayal.storage.folder import FileRecord, Json

TUNED = "fine_tuned_"
"""Before the name of a metric: of the network that was trained after the last cycle."""


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


class Calibration(Result):
    """How sure a classifier is of test images, against how often it is right."""

    images: int
    """That it was measured on: of a large test split some, at even distances."""
    ece: float
    """Expected calibration error, 0 to 1."""
    ece_after: float
    """With a temperature: of each half of the images with that of the other half."""
    temperature: float
    """Of all these images."""
    confidence: tuple[float, ...]
    """Mean of each bin of the reliability diagram that is not empty."""
    accuracy: tuple[float, ...]
    """Of each of these bins."""
    counts: tuple[int, ...]
    """Images in each of these bins."""


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
    confusion: File | None = None
    """How often test images, or their pixels, of one class were taken for another; None where there
    are none, and of an older rayal."""
    calibration: Calibration | None = None
    """Of one class for each image; None of masks, without test images, and of an older rayal."""
    explored: int | None = None
    """Units that the metric of those drawn at random is of; None where the run draws none."""

    def to_json(self) -> Json:
        own = self.model_dump(exclude={"metrics"}) | {"explored": self.explored}  # 0 counts too
        return {**self.metrics, **{key: value for key, value in own.items() if value is not None}}

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
    explored: tuple[str, ...] = ()
    """Those of `ids` that `explore` drew at random, in the order of the draw."""
    drawn_from: int = 0
    """How many candidates they were drawn from, each with the same probability."""

    @property
    def propensity(self) -> float | None:
        """With which probability each candidate was drawn at random; None where nothing was
        drawn."""
        return len(self.explored) / self.drawn_from if self.explored else None

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
    class_counts: tuple[int, ...] = ()
    """Units of each class among the answers, or pixels of their masks; empty where an older rayal
    did not count."""

    def decides(self) -> list[str]:
        made_from = (file.sha256 for _, file in sorted(self.evidence.items()))
        return [self.file.sha256, *made_from]


class Initial(Labeled):
    """Answers bought before the first training."""

    stage: ClassVar[str] = "initial"

    pool_counts: tuple[int, ...] = ()
    """As `class_counts`, of the whole pool, where the oracle answers from its labels; empty also
    where nobody has looked at its masks."""
