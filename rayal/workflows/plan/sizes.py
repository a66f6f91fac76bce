"""How large and how many the files of a run will be, and what its training holds in memory."""

import copy
import math

import torch
from torch import nn

from rayal.cycle.keep import FITTED, SHARDS, WEIGHTS, Kind, may_go
from rayal.cycle.score import score_batch
from rayal.data.card import Card
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.companions.base import EmbeddingSpec
from rayal.models.network import feature_width
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import save_weights
from rayal.signals.signal import SIGNALS, Width, signal_of
from rayal.workflows.plan.cycles import Cycle

ID_BYTES, SCORE_BYTES, KEPT_BYTES = 24, 8, 2  # id and status, float64, float16 in a row of scores
RUN_FILES, STAGE_FILES = 9, 2  # of every run and every stage, such as done.json
CHECKPOINTS = 3  # two are kept while a third is written
MOMENTS = {"sgd": 1, "adam": 2}  # numbers that an optimizer keeps of each weight


def disk(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    """What the run folder holds at the end -> bytes, before compression."""
    weights = len(TrainedModel.of(x.card_for(card), network).data())
    trained, passed = (left(x, kind, cycles) for kind in (WEIGHTS, SHARDS))
    fitted = sum(_fitted(x, card, network).values()) * len(left(x, FITTED, cycles))
    kept = {name: each.embeds() for each in x.scored().values() for name in each.kept_names()}
    numbers = sum(
        _width(SIGNALS[signal_of(name)].width, card, network, spec) for name, spec in kept.items()
    )
    numbers += len(card.classes) if x.keeps_probs(0) else 0
    row = ID_BYTES + SCORE_BYTES * len(x.scored()) + KEPT_BYTES * numbers
    beside = sum(_companions(x, card, network).values())
    scans = scans_labeled(x)
    rows = sum(cycle.scored + (cycle.labels if scans else 0) for cycle in passed)
    return {
        "weights": (weights + beside) * len(trained) * x.ensemble + fitted,
        "scores": row * rows,
        "checkpoints while training": CHECKPOINTS
        * max(
            (1 + MOMENTS[x.scheme.optimizer]) * weights,
            (1 + MOMENTS["adam"]) * max(_fitted(x, card, network).values(), default=0),
        ),
    }


def files(x: Experiment, store: Store, cycles: tuple[Cycle, ...]) -> int:
    """How many files the run folder holds at the end: its own, those of the first units, and of
    every stage."""
    own = 1 + len(x.companions())
    told = x.ensemble if x.ensemble > 1 else 0  # of an ensemble, that each member is trained
    number = RUN_FILES + STAGE_FILES + 1
    for cycle in cycles:
        number += STAGE_FILES + x.ensemble  # epochs
        number += STAGE_FILES  # evaluate
        if cycle.bought:
            number += 2 * (STAGE_FILES + 1)  # select, label
        if cycle.scored:
            number += STAGE_FILES
        if cycle.scored and x.fits():
            number += STAGE_FILES + len(x.fits())  # their rows
    number += len(left(x, FITTED, cycles)) * 2 * len(x.fits())
    number += len(left(x, WEIGHTS, cycles)) * (x.ensemble * own + told)
    return number + len(left(x, SHARDS, cycles)) * len(store.pool.shards(x.compute.shard_rows))


def left(x: Experiment, kind: Kind, cycles: tuple[Cycle, ...]) -> list[Cycle]:
    """The cycles whose files of this kind are there when the run is complete."""
    of = {each.cycle: _stages(each) for each in cycles}
    done = {(cycle, stage) for cycle, stages in of.items() for stage in stages}
    return [
        each
        for each in cycles
        if kind.stage in of[each.cycle] and not may_go(x, kind, each.cycle, done, complete=True)
    ]


def _stages(cycle: Cycle) -> tuple[str, ...]:
    """Those that a cycle goes through."""
    bought = ("label",) if cycle.bought else ()
    return ("train", "evaluate", *(("fit", "score", "select", *bought) if cycle.scored else ()))


def _width(width: Width, card: Card, network: nn.Module, embeds: EmbeddingSpec | None) -> int:
    """How many numbers a pass keeps of a unit."""
    if width == "embedding":
        assert embeds is not None, "who reads an embedding says whose"
        return embeds.width
    if width == "features":
        return feature_width(network)
    if width == "grid":
        return 2 + math.prod(_grid(network, card))
    return 1 if width == "one" else len(card.classes)


def _grid(network: nn.Module, card: Card) -> tuple[int, ...]:
    """Height and width of the grid of predictions, found without computing them."""
    with torch.no_grad():
        images = torch.empty(1, *card.image.shape, device="meta")
        logits = copy.deepcopy(network).to("meta").eval()(images).logits
    return tuple(logits.shape[2:])


def scans_labeled(x: Experiment) -> bool:
    """Whether labeled units go through the pass as well."""
    return any(strategy.scans_labeled for strategy in x.scored().values())


def memory(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    """What a training worker holds -> bytes."""

    def resident(images: int, size: int) -> int:  # as stored
        return images * size if images * size <= x.compute.resident_bytes else 0  # else streamed

    image, pixels = card.image.byte_count, card.image.height * card.image.width
    most = cycles[-1].labels
    sizes = {
        "labeled images": resident(most, image),
        "weights, gradients and optimizer": (2 + MOMENTS[x.scheme.optimizer])
        * len(save_weights(network)),
    }
    if x.task.dense:
        sizes["masks"] = resident(most, pixels)
        maps = 4 * len(card.classes) * pixels  # float32
        sizes["a class map of each image of a scored batch"] = score_batch(x.compute, card) * maps
    if unlabeled := x.scheme.unlabeled(1):
        left_out = 0 if unlabeled.labeled_too else cycles[0].labels
        sizes["unlabeled images"] = resident(unlabeled.seen(card.pool - left_out), image)
    if any(spec.batches() is not None for spec in x.fits()):
        sizes["candidates of a fit"] = resident(max(each.scored for each in cycles), image)
    if fits := _fitted(x, card, network):
        most_of_one = (2 + MOMENTS["adam"]) * max(fits.values())
        sizes["weights, gradients and optimizer of a fit"] = most_of_one
    return sizes | _companions(x, card, network)


def _companions(x: Experiment, card: Card, network: nn.Module) -> dict[str, int]:
    """Bytes of what lives beside the model, by name."""
    classes = card.classes
    return {
        spec.name: len(save_weights(spec.build(network, len(classes), x.card_for(card).untrained)))
        for spec in x.companions()
    }


def _fitted(x: Experiment, card: Card, network: nn.Module) -> dict[str, int]:
    """Bytes of what is made beside a trained model, by name."""
    classes = len(card.classes)
    return {
        spec.name: len(save_weights(spec.build(network, classes, card.image))) for spec in x.fits()
    }


def network_of(x: Experiment, card: Card) -> nn.Module:
    """A network of its kind."""
    return build(x.model, len(card.classes), card.image, seed=0)
