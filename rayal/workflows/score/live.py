"""A module in the memory of this process as the model of a pass over files."""

import copy
import hashlib
from typing import ClassVar

import torch
from pydantic import ConfigDict, Field, InstanceOf
from torch import nn

from rayal.blame import told
from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.pool.source import prepared_store
from rayal.data.tasks.base import TaskName
from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.card import ModelCard, usual_names
from rayal.models.module import image_channels, task_of
from rayal.models.trained_model import TrainedModel
from rayal.models.wrap import wrap
from rayal.signals.networks import forward
from rayal.workflows.score.cards import image_spec
from rayal.workflows.score.models import PoolModels, check_strategies
from rayal.workflows.score.opened import Modules, check_beside, class_names
from rayal.workflows.score.prepared import unknown_normalisation
from rayal.workflows.score.settings import PoolScoring


class Live(Model):
    """The architecture of a network that is there: it can be copied and pickled, but not built from
    a name."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})

    module: InstanceOf[nn.Module] = Field(exclude=True)
    """A network of rayal, wrapped where it was none."""
    kind_of_module: str
    """The name of its class, and sha256 of what it says it consists of."""

    @classmethod
    def of(cls, network: nn.Module) -> "Live":
        digest = hashlib.sha256(repr(network).encode()).hexdigest()
        return cls(module=network, kind_of_module=f"{type(network).__name__} {digest}")

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return copy.deepcopy(self.module)


def live_models(settings: PoolScoring, given: Modules) -> PoolModels:
    """The models of a pass, all of them modules, on the CPU of whoever scores.

    Raises UsageError for modules that are no classifiers, for what a strategy asks and they lack,
    and where nothing says what images they see, or how normalised.
    """
    model, previous, members = given
    strategies = settings.columns()
    check_beside(strategies, previous)
    image, decoding = _images(settings, model)
    tried = torch.randn(2, *image.shape, generator=torch.Generator().manual_seed(0))
    network, *others = (wrap(_copied(each).cpu(), images=tried).eval() for each in given.all)
    logits = forward(network, tried).logits
    task = task_of(logits)
    check_strategies(strategies, task, network, 1 + len(members))
    usual = usual_names(logits.shape[1])
    classes = class_names(settings.classes, len(usual)) or usual
    kind = Live.of(network)
    card = ModelCard(
        model=kind,
        classes=classes,
        image=image,
        decoding=decoding,
        precision=settings.precision or "fp32",
        task=task,
    )
    if any(Live.of(each).kind_of_module != kind.kind_of_module for each in others):
        raise UsageError(
            "previous and members are not all built as the model is, which a pass over files needs;"
            " give such ones, or images in memory"
        )
    before = None if previous is None else TrainedModel.of(card, others.pop(0))
    return PoolModels(
        model=TrainedModel.of(card, network),
        previous=before,
        members=[TrainedModel.of(card, other) for other in others],
        named=settings.classes is not None,
    )


def _copied(module: nn.Module) -> nn.Module:
    """Raises UsageError for one that holds what can have no copy, and so cannot go to workers."""
    try:
        return copy.deepcopy(module)
    except Exception as error:  # whatever a module of a user's holds says it in its own way
        raise UsageError(
            f"{type(module).__name__} cannot be copied for the pass ({told(error)}); give images in"
            " memory, or save its weights and give their path with architecture="
        ) from error


def _images(settings: PoolScoring, model: nn.Module) -> tuple[ImageSpec, Decoding]:
    """What the module sees: of a prepared dataset what that holds, normalised as its card says;
    else what the settings say."""
    store = prepared_store(settings.pool)
    if store is not None:
        card = store.card
        decoding = card.decoding or Decoding(channels=1 if card.image.channels == 1 else 3)
        return image_spec(card.image, decoding, settings), decoding
    channels = 1 if image_channels(model) == 1 else 3
    decoding = settings.decoded(Decoding(channels=channels))
    if decoding.frame is None:
        raise UsageError(
            "the size of the images that the module sees is not known; give it:"
            " decoding={'size': 224} (and 'resize': 256, where their centre is cut out)"
        )
    if settings.mean is None or settings.std is None:
        raise unknown_normalisation(decoding.channels)
    (height, width), mean, std = decoding.frame, settings.mean, settings.std
    blank = ImageSpec(channels=decoding.channels, height=height, width=width, mean=mean, std=std)
    return image_spec(blank, decoding, settings), decoding
