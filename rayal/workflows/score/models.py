"""The models of a pool scoring: read from anybody's files, checked, and copied beside the scores.

Workers then read one kind of file, in a place that all of them see.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.tasks.base import Task
from rayal.errors import StorageError, UsageError, counted, some
from rayal.models import weights
from rayal.models.build import count_classes
from rayal.models.card import ModelCard
from rayal.models.companions.base import Spec, file_name, name_of
from rayal.models.trained_model import WEIGHTS, TrainedModel
from rayal.parts import find
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.record import Record
from rayal.runs.results import Fitted, recorded_file
from rayal.storage.folder import (
    FileLocation,
    FileRecord,
    Folder,
    Json,
    check_there,
    located,
    storage_errors,
)
from rayal.strategies.base import Strategy
from rayal.workflows.checks import without_dropout
from rayal.workflows.score.settings import IMAGENET, PoolScoring

logger = logging.getLogger(__name__)

PREVIOUS, MEMBER = "previous.safetensors", "member-"


@dataclass
class PoolModels:
    """Models of one card, and what lives beside the first."""

    model: TrainedModel
    previous: TrainedModel | None = None
    members: list[TrainedModel] = field(default_factory=list)
    companions: dict[str, bytes] = field(default_factory=dict)
    trained: dict[str, ModelCard] = field(default_factory=dict)
    """What the files say of themselves, by name."""
    named: bool = True
    """Whether the classes have names."""

    @property
    def card(self) -> ModelCard:
        """What all of them are."""
        return self.model.card

    def differences(self, decoding: Decoding | None) -> list[str]:
        """What the networks see otherwise than in training, where images are decoded like this;
        None: as the card says."""
        used = self.card.model_copy(update={"decoding": decoding or self.card.decoding})
        return [
            f"{what}, trained with {then} ({source})"
            for source, card in self.trained.items()
            for what, then in _different(used, card)
        ]

    def digests(self) -> Json:
        """What of them decides the scores: the content, by role."""
        return {role: hashlib.sha256(data).hexdigest() for role, data in self._files()}

    def write(self, out: Folder) -> Json:
        """Put all into a folder; the records, by role."""
        return {role: out.write(role, data)._asdict() for role, data in self._files()}

    def _files(self) -> Iterator[tuple[str, bytes]]:
        yield WEIGHTS, self.model.data()
        if self.previous is not None:
            yield PREVIOUS, self.previous.data()
        for number, member in enumerate(self.members, 1):
            yield f"{MEMBER}{number:03d}.safetensors", member.data()
        for name, data in self.companions.items():
            yield file_name(name), data


@dataclass(frozen=True)
class ModelFiles:
    """Where `PoolModels.write` has put the files."""

    weights: FileLocation
    previous: FileLocation | None
    members: tuple[FileLocation, ...]
    companions: dict[str, FileLocation]

    @classmethod
    def of(cls, out: Folder, records: Json) -> "ModelFiles":
        files = {
            role: FileLocation(out.url, FileRecord(**record)) for role, record in records.items()
        }
        return cls(
            weights=files[WEIGHTS],
            previous=files.get(PREVIOUS),
            members=tuple(file for role, file in files.items() if role.startswith(MEMBER)),
            companions={
                name: file for role, file in files.items() if (name := name_of(role)) is not None
            },
        )


def read_models(settings: PoolScoring, plugins: Plugins = NO_PLUGINS) -> PoolModels:
    """All models that the settings name.

    Raises StorageError for a file that cannot be read, UsageError for one that is no weights, does
    not fit the others, or lacks what a strategy asks.
    """
    if settings.checkpoint is None:
        raise UsageError("checkpoint is not given; give the weights, or a rayal run")
    folder, name = _file(settings.checkpoint)
    first = _opened(settings, folder, name, plugins)
    card = _adapted(settings, first.card)
    network = first.described(card).network()
    check_strategies(settings.columns(), card.task, network, 1 + len(settings.members))
    trained = {first.source: first.card}
    if weights.seen_nothing(first.state):
        logger.warning(
            "%s was never trained: its batch norms have seen no image; its scores are chance",
            first.source,
        )

    def other(location: str) -> TrainedModel:
        place, file = _file(location)
        found = _like(first, card, _read(place, file), f"{place.url}/{file}", plugins)
        trained[found.source] = found.card
        return TrainedModel.of(card, found.described(card).network())  # every weight fits

    return PoolModels(
        model=TrainedModel.of(card, network),
        previous=None if settings.previous is None else other(settings.previous),
        members=[other(location) for location in settings.members],
        companions={name: _companion(folder, name) for name in _companions(settings)},
        trained=trained,
    )


def image_spec(image: ImageSpec, decoding: Decoding, settings: PoolScoring) -> ImageSpec:
    """What the network sees where the settings differ from the training."""
    update: Json = {"channels": decoding.channels}
    if decoding.frame is not None:
        update |= dict(zip(("height", "width"), decoding.frame, strict=True))
    if settings.mean is not None:
        update |= {"mean": settings.mean, "std": settings.std}
    spec = image.model_copy(update=update)
    if not len(spec.mean) == len(spec.std) == spec.channels:
        raise UsageError(
            f"mean {spec.mean} and std {spec.std} need one value for each of {spec.channels}"
            " channels"
        )
    return spec


def _file(location: str) -> tuple[Folder, str]:
    """The file of weights itself: of a run its last one, of a folder the one with rayal's name."""
    files, path = located(location)
    with storage_errors(location):
        is_file, exists = files.isfile(path), files.exists(path)
    if not exists:
        check_there(Folder(location.rpartition("/")[0] or "/"))
        raise StorageError(f"{location}: there is no such file or folder; check the path")
    if is_file:
        parent, _, name = location.rpartition("/")
        return Folder(parent or "/"), name
    folder = Folder(location)
    if folder.exists("run.json"):
        cycles = [row["cycle"] for row in Record(folder).cycles()]
        if not cycles:
            raise UsageError(f"{location} is a run without a trained model yet; let it go on first")
        folder = folder / f"cycle-{cycles[-1]:03d}" / "train"
    elif folder.exists("train"):
        folder = folder / "train"
    if not folder.exists(WEIGHTS):
        check_there(folder)
        raise UsageError(f"{location} holds no weights; give a file of them, or a rayal run")
    return folder, WEIGHTS


def _read(folder: Folder, name: str) -> bytes:
    """A file of weights: as its training recorded it, where that lies beside it."""
    return folder.read(name, recorded_file(folder, name))


def _opened(settings: PoolScoring, folder: Folder, name: str, plugins: Plugins) -> TrainedModel:
    """The model of a file, with the card that it has or that the settings give."""
    data, source = _read(folder, name), f"{folder.url}/{name}"
    card = ModelCard.parse(data, source, plugins)
    if card is not None:
        if settings.model not in (None, card.model):
            raise UsageError(f"{source} says itself that it is {card.model!r}; leave --model out")
        return _with_numbers(TrainedModel.parse(data, source, card))
    if settings.model is None:
        raise UsageError(
            f"{source} does not say what it is; give its architecture with --model, for example"
            " --model '{name: torchvision, arch: resnet50}'"
        )
    state = weights.parse(data, source)
    card = _described(settings, state, source, _recipe(folder))
    return TrainedModel.adopted(card, state, source)


def _with_numbers(model: TrainedModel) -> TrainedModel:
    weights.check_numbers(model.state, model.source)
    return model


def _adapted(settings: PoolScoring, card: ModelCard) -> ModelCard:
    """The card with what the settings say otherwise."""
    decoding = settings.decoded(card.decoding)
    if decoding.channels != card.image.channels:
        raise UsageError(
            f"decoding.channels is {decoding.channels}, but the model was trained on"
            f" {card.image.channels}; leave it out"
        )
    if settings.classes is not None and len(settings.classes) != len(card.classes):
        raise UsageError(
            f"{counted(len(settings.classes), 'class', 'classes')} given, the model has"
            f" {len(card.classes)}; give as"
            f" many: {some(card.classes)}"
        )
    return card.model_copy(
        update={
            "decoding": decoding,
            "image": image_spec(card.image, decoding, settings),
            "classes": settings.classes or card.classes,
            "precision": settings.precision or card.precision,
        }
    )


class _Recipe(BaseModel):
    """What timm says of weights in the `config.json` beside them."""

    interpolation: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def _recipe(folder: Folder) -> _Recipe:
    """That of a folder; an empty one where there is none that can be read."""
    try:
        return _Recipe.model_validate(folder.read_json("config.json", {})["pretrained_cfg"])
    except (StorageError, KeyError, TypeError, ValueError):  # any other program's file
        return _Recipe()


def _described(
    settings: PoolScoring, state: Mapping[str, Tensor], source: str, recipe: _Recipe
) -> ModelCard:
    """The card of weights that have none; what nobody says is as published for the architecture."""
    assert settings.model is not None
    usual = settings.model.decoding()
    if recipe.interpolation in ("bilinear", "bicubic"):
        usual = usual.model_copy(update={"interpolation": recipe.interpolation})
    decoding = settings.decoded(usual)
    if decoding.interpolation == "bicubic" == usual.interpolation:
        logger.warning(
            "%s: images are resized as the published weights want it, bicubic; where yours were"
            " trained otherwise, --set decoding.interpolation=bilinear",
            source,
        )
    if decoding.frame is None:
        raise UsageError(
            "the size of the images that the model was trained on is not known; give it with"
            " --set decoding.size=224 (and decoding.resize=256, where their centre was cut out)"
        )
    mean, std = (recipe.mean, recipe.std) if recipe.mean and recipe.std else IMAGENET
    channels, (height, width) = decoding.channels, decoding.frame
    blank = ImageSpec(channels=channels, height=height, width=width, mean=mean, std=std)
    image = image_spec(blank, decoding, settings)
    classes = count_classes(state, settings.model, image, source)
    return ModelCard(
        model=settings.model,
        classes=settings.classes or tuple(f"class-{number}" for number in range(classes)),
        image=image,
        task=find("tasks", next(iter(settings.model.tasks)))(),
        decoding=decoding,
        precision=settings.precision or "fp32",
    )


def _like(
    first: TrainedModel, card: ModelCard, data: bytes, source: str, plugins: Plugins
) -> TrainedModel:
    """Another model of the same kind, with its own card or, where it has none, that of the pass."""
    own = ModelCard.parse(data, source, plugins)
    if own is None:
        return TrainedModel.adopted(card, weights.parse(data, source), source)
    other = _with_numbers(TrainedModel.parse(data, source, own))
    if difference := first.like(other):
        raise UsageError(f"{difference}; one pass compares models of one kind: give such")
    return other


def _different(used: ModelCard, trained: ModelCard) -> Iterator[tuple[str, object]]:
    """What of the images that a network sees is not as it was trained, and how that was."""
    pixels = trained.decoding.frame is None  # trained on arrays: only their size is known
    if pixels and (now := used.image.shape) != (then := trained.image.shape):
        yield f"images {now} (C, H, W)", then
    for name, now in dict(used.decoding).items() if not pixels else ():
        if now != (then := getattr(trained.decoding, name)):
            yield f"decoding.{name} {now}", then
    for name in ("mean", "std"):
        if (now := getattr(used.image, name)) != (then := getattr(trained.image, name)):
            yield f"{name} {now}", then
    if used.precision != trained.precision:
        yield f"precision {used.precision}", trained.precision


def _companions(settings: PoolScoring) -> list[str]:
    """The names of what has to be beside the model; of one name there is one."""
    found: dict[str, Spec] = {}
    for strategy in settings.columns().values():
        for spec in (*strategy.companions(), *strategy.fits()):
            if (other := found.setdefault(spec.name, spec)) != spec:
                raise UsageError(
                    f"strategies ask two kinds of {spec.name}, {other!r} and {spec!r}, and beside"
                    " the model is one; give both the same"
                )
    return sorted(found)


def _companion(folder: Folder, name: str) -> bytes:
    file, fit = file_name(name), Folder(folder.url.rpartition("/")[0]) / Fitted.stage / name
    for place in (folder, fit):
        if place.exists(file):
            return _read(place, file)
    raise UsageError(
        f"a strategy asks the {name} that is made beside the model, but there is no"
        f" {folder.url}/{file}; use the folder of a cycle of a rayal run with such a strategy, one"
        " that has scored"
    )


def check_strategies(
    strategies: Mapping[str, Strategy], task: Task, network: nn.Module, models: int
) -> None:
    """Raises UsageError for what cannot score on this task, by this network and as many models."""
    for name, strategy in strategies.items():
        if problem := strategy.misplaced(task):
            raise UsageError(f"strategy {problem}")
        for why in strategy.contradictions(task, None, models):
            raise UsageError(f"strategy {name!r} {why}")
    if names := without_dropout(strategies, network):
        raise UsageError(f"{names} needs a model with dropout, this one has none; give such a one")
