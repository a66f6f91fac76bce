"""How large and how many the files of a run will be, and what its training holds in memory."""

import copy
import math

import torch
from torch import nn

from rayal.cycle.keep import FIRST, FITTED, SHARDS, WEIGHTS, Kind, may_go
from rayal.cycle.referred import refers
from rayal.cycle.score import pass_rows, score_batch
from rayal.data.card import Card
from rayal.data.resident import STAYS
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
CLASS_BYTES = 4  # int32
SEEN = 2  # float32 in place of float16
ID_LISTS, BOUND_BYTES = (
    240,
    140,
)  # of a unit, in the process of a run: see docs/how_to/large_pools.md
RUN_FILES, STAGE_FILES = 10, 2  # of every run and every stage, such as done.json
WHILE_TRAINING = "checkpoints while training"
CHECKPOINTS = 3  # two are kept while a third is written
MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}  # numbers that an optimizer keeps of each weight


def sized(card: Card, units: int | None) -> Card:
    """The card of a pool like this one, of so many units; None: as many as there are."""
    return card if units is None else card.model_copy(update={"pool": units})


def disk(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    """What the run folder holds at the end -> bytes, before compression."""
    weights = len(TrainedModel.of(x.card_for(card), network).data())
    trained, passed = (left(x, kind, cycles) for kind in (WEIGHTS, SHARDS))
    fitted = sum(_fitted(x, card, network).values()) * len(left(x, FITTED, cycles))
    kept = {name: each.embeds() for each in x.scored().values() for name in each.kept_names()}
    kept |= {"features": None} if x.keeps_features() else {}
    if refers(x):
        del kept["features"]
    numbers = sum(
        _width(SIGNALS[signal_of(name)].width, card, network, spec) for name, spec in kept.items()
    )
    numbers += len(card.classes) if x.keeps_probs(0) else 0
    row = ID_BYTES + SCORE_BYTES * len(x.scored()) + KEPT_BYTES * numbers
    beside = sum(_companions(x, card, network).values())
    row += CLASS_BYTES if x.keeps_predicted() else 0
    scans = x.scans_labeled()
    rows = sum(cycle.scored + (cycle.labels if scans else 0) for cycle in passed)
    remembered = sum(_remembered(x, card, cycle) for cycle in trained)
    began = first_units_bytes(x, card, network) if left(x, FIRST, cycles) else 0
    return {
        "weights": (weights + beside) * len(trained) * x.ensemble + fitted + remembered,
        "scores": row * rows + began,
        WHILE_TRAINING: CHECKPOINTS
        * max(
            (1 + bool(x.scheme.early_stopping) + MOMENTS[x.scheme.optimizer]) * weights,
            (1 + MOMENTS["adam"]) * max(_fitted(x, card, network).values(), default=0),
        ),
    }


def first_units_bytes(x: Experiment, card: Card, network: nn.Module) -> int:
    """What the pass before the first training writes, where a strategy chooses the first units."""
    own = card.image.channels if not card.image.sides else feature_width(network)
    numbers = sum(own for name in x.first.kept() if SIGNALS[name].width == "features")
    return min(x.candidates or card.pool, card.pool) * (ID_BYTES + KEPT_BYTES * numbers)


def files(x: Experiment, store: Store, card: Card, cycles: tuple[Cycle, ...]) -> int:
    """How many files the run folder holds at the end: its own, those of the first units, and of
    every stage. `card`: of the pool that is planned for, which may be larger than the store's."""
    own = 1 + len(x.companions())
    tested = int(card.tested)  # who is tested keeps a confusion matrix
    told = x.ensemble if x.ensemble > 1 else 0  # of an ensemble, that each member is trained
    number = RUN_FILES + STAGE_FILES + 1
    number += STAGE_FILES + 1 if x.chooses_first else 0
    for cycle in cycles:
        number += STAGE_FILES + x.ensemble  # epochs
        number += STAGE_FILES + tested  # evaluate
        if cycle.bought:
            number += 2 * (STAGE_FILES + 1) + x.keeps_features()  # select, label, passed over
        if cycle.scored:
            number += STAGE_FILES
        if cycle.scored and x.fits():
            number += STAGE_FILES + len(x.fits())  # their rows
    number += len(left(x, FITTED, cycles)) * 2 * len(x.fits())
    number += len(left(x, WEIGHTS, cycles)) * (x.ensemble * own + told)
    shards = len(store.pool.shards(pass_rows(x.compute, store.card)))
    if card.pool != store.card.pool:
        shards = -(-card.pool // pass_rows(x.compute, card))
    return number + (len(left(x, SHARDS, cycles)) + len(left(x, FIRST, cycles))) * shards


def left(x: Experiment, kind: Kind, cycles: tuple[Cycle, ...]) -> list[Cycle]:
    """The cycles whose files of this kind are there when the run is complete."""
    of = {each.cycle: _stages(each) for each in cycles}
    if x.chooses_first:
        of[0] = (FIRST.stage, *of[0])
    done = {(cycle, stage) for cycle, stages in of.items() for stage in stages}
    return [
        each
        for each in cycles
        if kind.stage in of[each.cycle] and not may_go(x, kind, each.cycle, done, complete=True)
    ]


def network_files(x: Experiment, card: Card, network: nn.Module) -> tuple[int, int]:
    """Bytes of what one training leaves, and of its checkpoints meanwhile."""
    weights = len(TrainedModel.of(x.card_for(card), network).data())
    checkpoints = CHECKPOINTS * (1 + MOMENTS[x.scheme.optimizer]) * weights
    return weights + sum(_companions(x, card, network).values()), checkpoints


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


def memory(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    """What a training worker holds -> bytes."""

    seen = 1 if card.image.sides else SEEN  # vectors are there as networks see them

    def resident(images: int, size: int) -> int:
        fits = images * size <= x.compute.resident_bytes  # as stored; else streamed
        return seen * images * size if fits else 0

    image, pixels = card.image.byte_count, card.image.height * card.image.width
    most = cycles[-1].labels
    sizes = {
        "labeled images": resident(most, image),
        "weights, gradients and optimizer": (2 + MOMENTS[x.scheme.optimizer])
        * len(save_weights(network)),
    }
    if x.model.memorises:
        sizes["what the model remembers"] = _remembered(x, card, cycles[-1])
    if x.scheme.early_stopping:
        sizes["the best weights so far"] = len(save_weights(network))
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


def _remembered(x: Experiment, card: Card, cycle: Cycle) -> int:
    """Bytes of the labeled vectors, float32, and their classes in a model that memorises."""
    return (4 * card.image.channels + 8) * cycle.labels if x.model.memorises else 0


def selecting(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    """What the process of a run on vectors holds -> bytes: ids of the pool and, of a selection that
    compares units, an order and bounds; what the pass kept of them lies in files, as far as one
    process selects. Of images nothing, as their pools are smaller."""
    if card.image.sides:
        return {}
    scored = max(cycle.scored for cycle in cycles)
    whole = card.pool * card.image.byte_count
    sizes = {"ids": ID_LISTS * card.pool, "the pool itself": whole if whole <= STAYS else 0}
    if any(not each.ranks() for each in x.scored().values()):
        sizes["order and bounds of candidates"] = BOUND_BYTES * scored
    return sizes


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
