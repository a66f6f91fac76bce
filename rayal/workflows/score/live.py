"""A module in the memory of this process as the model of a pass over files."""

import copy
import hashlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import ConfigDict, Field, InstanceOf
from torch import nn

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.pool.source import prepared_store
from rayal.data.tasks.base import Task, TaskName
from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.models.wrap import wrap
from rayal.parts import find
from rayal.signals.batch import forward
from rayal.workflows.score.in_memory import check_companions
from rayal.workflows.score.models import PoolModels, check_strategies, image_spec
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


def live_models(
    settings: PoolScoring,
    model: nn.Module,
    previous: nn.Module | None,
    members: Sequence[nn.Module],
) -> PoolModels:
    """The models of a pass, all of them modules, on the CPU of whoever scores.

    Raises UsageError for modules that are no classifiers, for what a strategy asks and they lack,
    and where nothing says what images they see.
    """
    strategies = settings.columns()
    check_companions(strategies)
    asking = [name for name, each in strategies.items() if each.reference(1) == "previous"]
    if asking and previous is None:
        raise UsageError(
            f"strategy {asking[0]!r} compares with the model of the cycle before; give it:"
            " previous=module"
        )
    image, decoding = _images(settings, model)
    tried = torch.randn(2, *image.shape, generator=torch.Generator().manual_seed(0))
    given = [model, *([] if previous is None else [previous]), *members]
    network, *others = (wrap(copy.deepcopy(each).cpu(), images=tried).eval() for each in given)
    logits = forward(network, tried).logits
    task: Task = find("tasks", "segmentation" if logits.ndim > 2 else "classification")()
    check_strategies(strategies, task, network, 1 + len(members))
    usual = tuple(f"class-{number}" for number in range(logits.shape[1]))
    if settings.classes is not None and len(settings.classes) != len(usual):
        raise UsageError(
            f"{len(settings.classes)} classes given, the model has {len(usual)}; give as many"
        )
    classes = settings.classes or usual
    card = ModelCard(
        model=Live.of(network),
        classes=classes,
        image=image,
        decoding=decoding,
        precision=settings.precision or "fp32",
        task=task,
    )
    before = None if previous is None else TrainedModel.of(card, others.pop(0))
    return PoolModels(
        model=TrainedModel.of(card, network),
        previous=before,
        members=[TrainedModel.of(card, other) for other in others],
    )


def _images(settings: PoolScoring, model: nn.Module) -> tuple[ImageSpec, Decoding]:
    """What the module sees: of a prepared dataset what that holds, else what the settings say."""
    store = prepared_store(settings.pool)
    if store is not None:
        card = store.card
        decoding = card.decoding or Decoding(channels=1 if card.image.channels == 1 else 3)
        spec = card.image if settings.mean is None else _normalised(card.image, settings)
        return spec, decoding
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first is not None and first.in_channels == 1 else 3
    decoding = settings.decoded(Decoding(channels=channels))
    if decoding.frame is None:
        raise UsageError(
            "the size of the images that the module sees is not known; give it:"
            " decoding={'size': 224} (and 'resize': 256, where their centre is cut out)"
        )
    height, width = decoding.frame
    blank = ImageSpec(
        channels=decoding.channels,
        height=height,
        width=width,
        mean=(0.0,) * decoding.channels,
        std=(1.0,) * decoding.channels,
    )
    return image_spec(blank, decoding, settings), decoding


def _normalised(image: ImageSpec, settings: PoolScoring) -> ImageSpec:
    return image.model_copy(update={"mean": settings.mean, "std": settings.std})
