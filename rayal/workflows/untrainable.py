"""Why a model cannot be trained on some images, or asked what strategies ask."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import nn

from rayal.data.card import Card
from rayal.errors import DataError, StorageError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.companions.base import Spec
from rayal.signals.dropout import dropout_layers
from rayal.strategies.base import Strategy


def untrainable(x: Experiment, card: Card) -> Iterator[str]:
    """Why its model cannot be trained on such images, or asked what its strategies ask."""
    try:
        network = build(x.model, len(card.classes), card.image, seed=0)
        yield from dict.fromkeys(_misfits(x, card, network))
        if names := without_dropout(x.scored(), network):
            option = "dropout" in type(x.model).model_fields
            yield (
                f"model.dropout: is 0, but {names} needs some (0.5 in the literature)"
                if option
                else f"model: {x.model.part_name()!r} drops nothing, but {names} needs dropout; use"
                " another strategy, or model"
            )
        if names := without_weights(x.scored(), network):
            yield (
                f"model: {x.model.part_name()!r} has no weights, but {names} takes gradients; use"
                " another strategy, or model"
            )
    except (UsageError, StorageError) as error:
        yield str(error)


def without_dropout(strategies: Mapping[str, Strategy], network: nn.Module) -> str | None:
    """The names of those that need dropout where the network has none; None if nobody does without.

    Raises UsageError for a kind of dropout that cannot be kept on while scoring.
    """
    asking = [name for name, each in strategies.items() if "dropout" in each.requires()]
    return ", ".join(asking) if asking and not dropout_layers(network) else None


def without_weights(strategies: Mapping[str, Strategy], network: nn.Module) -> str:
    """The names of those that take gradients where the network has nothing to take them by; empty
    if nobody does without."""
    asking = [name for name, each in strategies.items() if "weights" in each.requires()]
    return "" if [*network.parameters()] else ", ".join(asking)


def _misfits(x: Experiment, card: Card, network: nn.Module) -> Iterator[str]:
    """What the model cannot do with the windows that a training sees, and companions with those,
    with the whole images that strategies score, and with the network."""
    image, window, beside = card.image, x.scheme.augment.window, x.companions()
    scored = [spec for strategy in x.scored().values() for spec in strategy.companions()]
    yield from x.scheme.augment.misfits(image)
    if (unlabeled := x.scheme.unlabeled(1)) is not None and unlabeled.strong is not None:
        yield from unlabeled.strong.misfits(image, "scheme.strong")
    for fit in x.fits():
        if (batches := fit.batches()) is not None:
            yield from batches.augment.misfits(image, f"strategy.{fit.name}.augment")
    if reasons := {s: reason for s in (*beside, *x.fits()) if (reason := s.takes(image))}:
        for spec, reason in reasons.items():
            askers = ", ".join(_askers(x, spec))
            yield f"dataset: {x.dataset.part_name()!r}, but {askers}: {reason}"
        return
    if window:
        height, width = window
        if reason := x.model.takes(image.model_copy(update={"height": height, "width": width})):
            yield _small_window(window, f"model {x.model.part_name()!r}: {reason}")
        for spec in beside:
            if reason := spec.accepts(height, width):
                yield _small_window(window, reason)
    for spec in scored if window else beside:
        if reason := spec.accepts(image.height, image.width):
            yield f"dataset: {x.dataset.part_name()!r}, but {reason}; use larger images"
    for fit in x.fits():
        if reason := fit.accepts(image.height, image.width):
            yield f"dataset: {x.dataset.part_name()!r}, but {reason}; use images of such a size"
            return
    for asked, make in _builds(x, card, network):
        with torch.random.fork_rng(devices=[]):
            if reason := next(refusal(make), None):
                askers = ", ".join(_askers(x, asked))
                yield f"model: {x.model.part_name()!r}, but {askers}: {reason}"


def _small_window(window: tuple[int, int], reason: str) -> str:
    return f"scheme.augment.window: {list(window)}, but {reason}; choose another"


def _builds(
    x: Experiment, card: Card, network: nn.Module
) -> Iterator[tuple[Spec, Callable[[], nn.Module]]]:
    """What makes each companion, those of fits too."""
    classes, fresh = len(card.classes), x.card_for(card).untrained
    for spec in x.companions():
        yield spec, partial(spec.build, network, classes, fresh)
    for fit in x.fits():
        yield fit, partial(fit.build, network, classes, card.image)


def _askers(x: Experiment, spec: Spec) -> Iterator[str]:
    """The parts of the experiment that want this companion."""
    if spec in x.scheme.companions():
        yield x.scheme.part_name()
    for column, strategy in x.scored().items():
        if spec in (*strategy.companions(), *strategy.fits()):
            yield column


def refusal(check: Callable[[], object]) -> Iterator[str]:
    """What a check raises, if anything."""
    try:
        check()
    except (UsageError, DataError) as error:
        yield str(error)
