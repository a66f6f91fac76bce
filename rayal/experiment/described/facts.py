"""What a part declares of itself, in words: what it needs, and what it makes a pass or a training
do. Nothing here is measured."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from rayal.data.datasets.base import Dataset
from rayal.data.tasks.base import Task
from rayal.labeling.exchange.base import Format
from rayal.labeling.oracles.base import Oracle
from rayal.models.base import Model
from rayal.models.companions.base import CompanionSpec
from rayal.signals.signal import SIGNALS, Requirement
from rayal.strategies.base import Strategy
from rayal.training.base import TrainingScheme


class Fact(NamedTuple):
    """One thing that a part says of itself."""

    label: str
    text: str


LATER = 1
"""A cycle that has one before it."""
REQUIRES: dict[Requirement, str] = {
    "ensemble": "an ensemble: `ensemble` of 2 or more",
    "dropout": "a model that drops something: `dropout` above 0",
    "weights": "a model with weights, whose gradients it takes",
    "dense": "a network that predicts on a grid: task segmentation",
    "companion": "a companion, trained beside the model",
    "reference": "a second model to compare with",
}
"""Of those that an experiment has to see to."""
WIDTHS = {
    "one": "1 number",
    "classes": "one number for each class",
    "features": "one number for each feature",
    "grid": "one number for each place of the logit grid",
    "embedding": "one number for each dimension of its companion's space",
}


def facts(part: Any) -> list[Fact]:
    """Of a part with its options, in the order in which they are shown."""
    of: dict[type, Callable[[Any], Iterator[Fact]]] = {
        Strategy: _of_strategy,
        TrainingScheme: _of_scheme,
        Model: _of_model,
        Dataset: _of_dataset,
        Oracle: _of_oracle,
        Format: _of_format,
        Task: _of_task,
    }
    return [fact for kind, tell in of.items() if isinstance(part, kind) for fact in tell(part)]


def _of_strategy(x: Strategy) -> Iterator[Fact]:
    requires = x.requires()
    needs = [words for requirement, words in REQUIRES.items() if requirement in requires]
    usual = "any model" if "forward" in requires else "no model"
    yield Fact("needs", "; ".join(needs) or usual)
    if x.signals():
        yield Fact("reads", ", ".join(sorted(x.signals())))
    yield Fact("each image", "; ".join(_passes(x)))
    if x.kept():
        rows = [f"{name} ({WIDTHS[SIGNALS[name].width]})" for name in sorted(x.kept())]
        yield Fact("keeps", f"of each unit, in float16: {', '.join(rows)}")
    if x.scans_labeled and x.kept():
        yield Fact("labeled", "the units with labels go through the pass too")
    yield Fact("selects", _selection(x))
    yield from _companions(x.companions())
    for spec in x.fits():
        yield Fact("fit", f"{spec.name}, of labeled units and candidates, in every cycle")


def _passes(x: Strategy) -> Iterator[str]:
    """What an image of the pool goes through; all strategies of one pass share it."""
    requires = x.requires()
    if "pixels" not in requires:
        yield "is not looked at: no model, no decoding"
        return
    if "forward" in requires:
        yield "one forward of the model"
    if "gradient_norms" in x.signals():
        yield "for gradients one more forward, and one backward"
    if x.reference(LATER) == "previous":
        yield "one forward of the last cycle's model, unless the last pass kept what it said"
    elif x.reference(LATER) is not None:
        yield "one forward of the second model"
    if "ensemble" in requires:
        yield "one forward of each other member"
    if "dropout" in requires:
        number = getattr(x, "passes", None)
        times = f"{number} (`passes`)" if number else "some"
        yield (
            f"{times} with dropout: of the last layer alone where only what it reads is dropped,"
            " else of the model"
        )


def _selection(x: Strategy) -> str:
    units = "regions of images" if x.divides_images else "units"
    if x.ranks(one_price=True) and x.ranks(one_price=False):
        return f"the {units} with the highest scores; the pool need not be in memory"
    if x.ranks(one_price=True):
        return (
            f"where all cost the same the {units} with the highest scores, for which the pool need"
            " not be in memory; else all together"
        )
    return f"{units} together, with the whole pool's rows in memory"


def _companions(specs: Iterable[CompanionSpec]) -> Iterator[Fact]:
    for spec in specs:
        how = ", which changes what the model learns" if spec.changes_training else ""
        yield Fact("companion", f"{spec.name}{how}")


def _of_scheme(x: TrainingScheme) -> Iterator[Fact]:
    unlabeled = x.unlabeled(LATER)
    yield Fact("labels", f"{x.batch_size} labeled images in a step")
    if unlabeled is not None:
        pool = "the pool" if unlabeled.limit is None else f"{unlabeled.limit:,} of the pool"
        size, passes = unlabeled.batch_size, " and ".join(unlabeled.phases)
        where = f"in batches between epochs: {passes}" if passes else "in a step"
        yield Fact("unlabeled", f"{size} unlabeled images {where}, of {pool}")
    if x.memorises:
        yield Fact("needs", "a model that memorises")
    if x.requires_warm:
        yield Fact("needs", "`start: warm`: each cycle continues from the last one's weights")
    yield from _companions(x.companions())


def _of_model(x: Model) -> Iterator[Fact]:
    if x.torchvision_prefixes:
        yield Fact("weights", "files of torchvision, or of its authors, fit `pretrained`")
    if x.memorises:
        yield Fact("needs", "a scheme that memorises: it has no weights to train")
    if "dropout" in type(x).model_fields:
        yield Fact("dropout", "has an option for it, which strategies with dropout need")


def _of_dataset(x: Dataset) -> Iterator[Fact]:
    yield Fact("root", x.layout)
    if x.is_fetched():
        yield Fact("download", "`download: true` fetches it")
    for word in ("origin", "licence"):
        if isinstance(said := getattr(x, word, None), str):
            yield Fact(word, said)
    if classes := getattr(x, "class_names", ()):
        yield from () if callable(classes) else [Fact("classes", ", ".join(classes))]


def _of_oracle(x: Oracle) -> Iterator[Fact]:
    yield Fact("cost", f"counted in {x.counts()}: `budget.unit: {x.counts()}`")
    yield Fact("answers", "from the dataset's labels" if x.simulated else "of people")
    yield Fact("balanced", f"`budget.balanced` can{'' if x.knows_classes() else 'not'} be used")
    if x.has_regions():
        yield Fact("regions", "knows them, for strategies that buy regions of images")


def _of_format(x: Format) -> Iterator[Fact]:
    yield Fact("carries", " or ".join(sorted(x.labels)))
    yield Fact("seconds", "of each answer, where people write them" if x.times else "no")
    yield Fact("images", "copied, or named by address" if x.linked else "copied")


def _of_task(x: Task) -> Iterator[Fact]:
    yield Fact("metric", x.headline)
    yield Fact("predicts", "a class for every pixel" if x.dense else "a class for every image")
