"""What makes a run impossible on its data and machine, all at once, before anything starts."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from rayal.cycle.candidates import left_out
from rayal.cycle.first_labels import first_labels
from rayal.data.card import Card
from rayal.data.copies import COPIES
from rayal.data.store import Store
from rayal.data.tasks.base import untested_note
from rayal.errors import DataError, StorageError, UsageError, counted, some
from rayal.experiment.experiment import Compute, Experiment
from rayal.labeling.budget import REQUIRED
from rayal.labeling.oracles.people import People
from rayal.models.build import build
from rayal.models.companions.base import Spec
from rayal.signals.dropout import dropout_layers
from rayal.strategies.base import Strategy
from rayal.training.feed import batch_ends
from rayal.training.stopping_rule import LEAST_HELD_OUT

logger = logging.getLogger(__name__)


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
    problems = list(asking(x) if asked else without_asking(x))
    problems += _impossible(x, card)
    problems += _unmeasured(x, card)
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


def asking(x: Experiment) -> Iterator[str]:
    """What makes no sense where somebody asks for units, and ends when they like."""
    if x.stop.rules:
        yield (
            f"stop: {some(x.stop.rules)} cannot end an ActiveLearner, which is asked for units;"
            " leave stop out, and see rayal.forecast"
        )
    if x.chooses_first:
        yield (
            f"first: {x.first.part_name()!r} looks at the pool in a pass of its own, and an"
            " ActiveLearner asks for its first units without one; leave first out, or tell labels"
            " of units that rayal.select chose"
        )


def _unmeasured(x: Experiment, card: Card) -> Iterator[str]:
    """Rules that look at what nothing measures: without test images only what is bought at random
    says something of a model."""
    if x.stop.rules and not card.tested and not x.draws_at_random:
        yield (
            f"stop.{x.stop.rules[0]}: there are no test images, and labels that a strategy chose"
            " measure no model; give the dataset some, choose strategy random without limits in"
            " guards, or leave stop out"
        )


def check_comparable(x: Experiment) -> None:
    """Raises UsageError for an arm of a sweep that nothing measures alike with the others."""
    if not x.dataset.tested:
        raise UsageError(
            f"dataset: {x.dataset.part_name()!r} has no test images, and what strategies chose"
            " themselves cannot compare them; give it some (dataset.test), or start each as a run"
        )


def check_units(x: Experiment, store: Store) -> int | None:
    """Raises what is wrong for the units of this pool: with labels that exist already, or for a
    strategy, such as an absent file. Returns how many such labels there are, if they are wanted."""
    first = first_labels(x, store) if x.labeled else None
    good = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    for strategy in (*x.scored().values(), x.first):
        strategy.check(good)
    if first is None:
        return None
    known = {label.value for label in first.values()}
    if not x.task.dense and (
        lacks := [n for i, n in enumerate(store.card.classes) if i not in known]
    ):
        logger.warning("labeled: %s has no image of %s", x.labeled, some(lacks))
    return len(first)


def check_guards(x: Experiment, store: Store) -> None:
    """Raises UsageError where guards cannot tell what to leave out, or leave less than is to be
    bought."""
    if not x.guards.leaves_out:
        return
    left = len(store.pool) - len(left_out(x, store))
    x.budget.check(left, again=x.buys_again(), which=" that guards leave")


def warnings(x: Experiment, card: Card, store: str = "") -> Iterator[str]:
    """What is possible, and worth a second look; `store`: the URL of the prepared dataset."""
    if not x.budget.is_open:
        yield from _of_amounts(x, card)
    if x.start == "cold" and (names := _looking_back(x)):
        yield f"start: after a cold start {names} measures mostly the new weights; use warm"
    if x.ensemble > 1 and not _asks_ensemble(x):
        yield f"ensemble: {x.ensemble} models are trained and no strategy asks more than one; use 1"
    if (names := _asking_again(x)) and not x.oracle.answers_again():
        yield (
            f"oracle: {x.oracle.part_name()} answers once, so that {names} can ask for new images"
            " alone; use recorded or people"
        )
    if x.explore and x.draws_at_random:
        yield (
            f"explore: {x.explore:g}, and strategy {x.strategy.part_name()!r} draws all units at"
            " random anyway: without it all of them measure the models; set it to 0"
        )
    if waits := _waiting_for_another(x, card):
        yield waits
    if not card.labeled:
        yield "dataset: nobody knows how many images of each class are in the pool"
    if not card.tested:
        yield f"dataset: {untested_note(x.headline)}"
    if card.bad:
        yield f"dataset: {counted(len(card.bad), 'image')} cannot be decoded and will not be used"
    yield from _of_copies(
        x, card, f" (listed in {store}/{COPIES})" if store and COPIES in card.files else ""
    )


def _of_copies(x: Experiment, card: Card, where: str) -> Iterator[str]:
    """Images that are there more than once."""
    if across := card.duplicates.get("across", 0):
        told = counted(across, "test image is", "test images are") + " also in the pool"
        kept = x.guards.test_images == "keep"
        then = "; guards.test_images: leave_out never buys these" if kept else ", and never bought"
        yield f"dataset: {told}{then}{where}"
    if again := card.duplicates.get("pool", 0):
        told = counted(again, "image of the pool has", "images of the pool have")
        told += " the content of an earlier one"
        kept = x.guards.same_images == "keep"
        then = "; guards.same_images: leave_out buys one of each" if kept else ", and not bought"
        yield f"dataset: {told}{then}{where}"


def _of_amounts(x: Experiment, card: Card) -> Iterator[str]:
    initial, per_cycle, total = x.budget.amounts
    even = x.budget.unit == "samples"
    if even and (rest := (total - initial) % per_cycle):
        left = counted(rest, "that is", "that are")
        yield f"budget: the last cycle buys the {left} left, not {per_cycle}"
    stopping = x.scheme.early_stopping
    if even and stopping and not x.labeled and initial * stopping.share < LEAST_HELD_OUT:
        yield (
            f"scheme.early_stopping: {counted(initial, 'label')} are too few to hold"
            f" {stopping.share:.0%} of them out; such trainings take their whole length"
        )
    if even and initial < len(card.classes) and not x.task.dense and not x.labeled:
        yield (
            f"budget.initial: {counted(initial, 'label')} cannot show all {len(card.classes)}"
            " classes"
        )


def _asks_ensemble(x: Experiment) -> bool:
    return any("ensemble" in strategy.requires() for strategy in x.scored().values())


def _asking_again(x: Experiment) -> str:
    return ", ".join(name for name, strategy in x.scored().items() if strategy.relabels)


def _waiting_for_another(x: Experiment, card: Card) -> str:
    """What may never end where one person answers, who is asked again; empty where all does."""
    asked = x.oracle if x.strategy.relabels and isinstance(x.oracle, People) else None
    if asked is None or asked.disputed != "ask" or card.masks is not None:
        return ""
    differ = f"oracle.disputed: ask, and where {x.strategy.part_name()} asks again and the answer"
    if asked.consensus == "unanimous":
        return f"{differ} differs, no more of them make a label; set it to refuse or first"
    return (
        f"{differ} differs, the run waits for another annotator; if there is one alone, set it to"
        " first (or refuse)"
    )


def _looking_back(x: Experiment) -> str:
    strategies = x.scored().items()
    return ", ".join(name for name, s in strategies if s.reference(1) == "previous")


def _impossible(x: Experiment, card: Card) -> Iterator[str]:
    yield from _refusal(partial(x.budget.check, card.pool, again=x.buys_again()))
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
    counts = not x.budget.is_open and x.budget.unit == "samples" and not x.labeled
    first = x.budget.amounts.initial if counts else size
    yield from _refusal(partial(batch_ends, first, size, x.compute.train_workers))
    yield from _refusal(partial(x.oracle.check, card))
    yield from untrainable(x, card)


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
