"""What makes a run impossible on its data and machine, all at once, before anything starts."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import DataError, StorageError, UsageError, counted
from rayal.experiment.experiment import Compute, Experiment
from rayal.labeling.budget import REQUIRED
from rayal.models.build import build
from rayal.models.companions.base import Spec
from rayal.signals.dropout import dropout_layers
from rayal.strategies.base import Strategy
from rayal.training.feed import batch_ends


class Resources(NamedTuple):
    """What a machine or a cluster has."""

    cpus: int
    gpus: int

    @classmethod
    def here(cls) -> "Resources":
        """Those of this machine."""
        return cls(os.cpu_count() or 1, torch.cuda.device_count())


def check(
    x: Experiment, card: Card, resources: Resources | None = None, *, asked: bool = False
) -> None:
    """Raises UsageError with everything that makes the run impossible on this data, and on these
    resources where they are known. `asked` says that somebody asks for units."""
    problems = [] if asked else list(without_asking(x))
    problems += _impossible(x, card)
    if resources is not None:
        problems += shortages(x.compute, resources)
    if problems:
        raise UsageError.of(problems, where=f"experiment {x.name!r}")


def without_asking(x: Experiment) -> Iterator[str]:
    """What makes a run impossible where nobody asks for units, as with `ActiveLearner`."""
    if x.budget.is_open:
        yield REQUIRED
    if x.oracle.asked:
        yield (
            f"oracle: {x.oracle.part_name()!r} has no answers but those given to an ActiveLearner;"
            " use rayal.ActiveLearner(x), or another oracle"
        )


def check_strategies(x: Experiment, store: Store) -> None:
    """Raises what a strategy finds wrong for the units of this pool, such as an absent file."""
    good = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    for strategy in x.scored().values():
        strategy.check(good)


def warnings(x: Experiment, card: Card) -> Iterator[str]:
    """What is possible, and worth a second look."""
    if not x.budget.is_open:
        yield from _of_amounts(x, card)
    if x.start == "cold" and (names := _looking_back(x)):
        yield f"start: after a cold start {names} measures mostly the new weights; use warm"
    if x.ensemble > 1 and not _asks_ensemble(x):
        yield f"ensemble: {x.ensemble} models are trained and no strategy asks more than one; use 1"
    if card.bad:
        yield f"dataset: {counted(len(card.bad), 'image')} cannot be decoded and will not be used"
    if across := card.duplicates.get("across", 0):
        yield f"dataset: {counted(across, 'test image is', 'test images are')} also in the pool"


def _of_amounts(x: Experiment, card: Card) -> Iterator[str]:
    initial, per_cycle, total = x.budget.amounts
    even = x.budget.unit == "samples"
    if even and (rest := (total - initial) % per_cycle):
        left = counted(rest, "that is", "that are")
        yield f"budget: the last cycle buys the {left} left, not {per_cycle}"
    if initial < len(card.classes) and not x.task.dense:
        yield (
            f"budget.initial: {counted(initial, 'label')} cannot show all {len(card.classes)}"
            " classes"
        )


def _asks_ensemble(x: Experiment) -> bool:
    return any("ensemble" in strategy.requires() for strategy in x.scored().values())


def _looking_back(x: Experiment) -> str:
    strategies = x.scored().items()
    return ", ".join(name for name, s in strategies if s.reference(1) == "previous")


def _impossible(x: Experiment, card: Card) -> Iterator[str]:
    yield from _refusal(partial(x.budget.check, card))
    if x.candidates is not None and x.candidates > card.pool:
        yield (
            f"candidates: {x.candidates} is more than the {card.pool} images of the pool; use null,"
            " which scores all of them"
        )
    if len(card.bad) > x.max_bad:
        yield (
            f"max_bad: {x.max_bad} is less than the {len(card.bad)} images that are undecodable;"
            " raise it, or mend them"
        )
    size = x.scheme.batch_size
    counts = not x.budget.is_open and x.budget.unit == "samples"
    first = x.budget.amounts.initial if counts else size
    yield from _refusal(partial(batch_ends, first, size, x.compute.train_workers))
    yield from _refusal(partial(x.oracle.check, card))
    try:
        network = build(x.model, len(card.classes), card.image, seed=0)
        yield from dict.fromkeys(_misfits(x, card, network))
        if names := without_dropout(x.scored(), network):
            yield f"model.dropout: is 0, but {names} needs some (0.5 in the literature)"
    except (UsageError, StorageError) as error:
        yield str(error)


def without_dropout(strategies: Mapping[str, Strategy], network: nn.Module) -> str | None:
    """The names of those that need dropout where the network has none; None if nobody does without.

    Raises UsageError for a kind of dropout that cannot be kept on while scoring.
    """
    asking = [name for name, each in strategies.items() if "dropout" in each.requires()]
    return ", ".join(asking) if asking and not dropout_layers(network) else None


def _refusal(check: Callable[[], object]) -> Iterator[str]:
    """What a check raises, if anything."""
    try:
        check()
    except (UsageError, DataError) as error:
        yield str(error)


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
            if reason := next(_refusal(make), None):
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


def shortages(compute: Compute, has: Resources) -> Iterator[str]:
    """What a machine or cluster that has this cannot give."""
    if compute.device == "cuda" and not has.gpus:
        yield "compute.device: cuda, but there is no GPU; use cpu or auto"
        return
    on_gpu = has.gpus > 0 and compute.device != "cpu"
    kind, there = ("GPUs", has.gpus) if on_gpu else ("CPUs", has.cpus)
    per_worker = 1 if on_gpu else compute.cpus_per_worker or 1
    by_cores = " or compute.cpus_per_worker" if per_worker > 1 else ""
    demands = {
        "compute.train_workers": (compute.train_workers * per_worker, by_cores),
        "compute.scorers": (compute.scorers or 1, ""),
    }
    for key, (wanted, also) in demands.items():
        if wanted > there:
            yield f"{key}: takes {wanted} {kind}, there are {there}; lower it{also}"
