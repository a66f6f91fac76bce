"""The models of a pool scoring: read from anybody's files, checked, and copied beside the scores.

Workers then read one kind of file, in a place that all of them see.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from rayal.data.images import Decoding
from rayal.data.tasks.base import Task
from rayal.errors import UsageError
from rayal.models import weights
from rayal.models.card import ModelCard
from rayal.models.companions.base import Spec, file_name, name_of
from rayal.models.trained_model import WEIGHTS, TrainedModel
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.results import Fitted
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.workflows.score.cards import adapted, opened, with_numbers
from rayal.workflows.score.settings import PoolScoring
from rayal.workflows.score.weights_file import read_weights, weights_file
from rayal.workflows.untrainable import without_dropout, without_weights

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
    folder, name = weights_file(settings.checkpoint)
    first = opened(settings, folder, name, plugins)
    card = adapted(settings, first.card)
    network = first.described(card).network()
    check_strategies(settings.columns(), card.task, network, 1 + len(settings.members))
    trained = {first.source: first.card}
    if weights.seen_nothing(first.state):
        logger.warning(
            "%s was never trained: its batch norms have seen no image; its scores are chance",
            first.source,
        )

    def other(location: str) -> TrainedModel:
        place, file = weights_file(location)
        found = _like(first, card, read_weights(place, file), f"{place.url}/{file}", plugins)
        trained[found.source] = found.card
        return TrainedModel.of(card, found.described(card).network())  # every weight fits

    return PoolModels(
        model=TrainedModel.of(card, network),
        previous=None if settings.previous is None else other(settings.previous),
        members=[other(location) for location in settings.members],
        companions={name: _companion(folder, name) for name in _companions(settings)},
        trained=trained,
    )


def _like(
    first: TrainedModel, card: ModelCard, data: bytes, source: str, plugins: Plugins
) -> TrainedModel:
    """Another model of the same kind, with its own card or, where it has none, that of the pass."""
    own = ModelCard.parse(data, source, plugins)
    if own is None:
        return TrainedModel.adopted(card, weights.parse(data, source), source)
    other = with_numbers(TrainedModel.parse(data, source, own))
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
            return read_weights(place, file)
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
    if names := without_weights(strategies, network):
        raise UsageError(f"{names} takes gradients, and this model has no weights; give such a one")
