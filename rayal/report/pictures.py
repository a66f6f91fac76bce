"""Pictures of what a run chose: read from its folder, its weights and its dataset.

The prediction is that of the model that chose: the cycle's own weights. Labels of the pool are read
only where the oracle is a simulation; elsewhere the only masks are those that were bought.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from rayal.cycle.offer import of_images
from rayal.data.masks import IGNORE, LabelValue, Mask
from rayal.data.pixels import upsampled
from rayal.data.pool import Decoded
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, quoted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.labeling.regions import parse_unit
from rayal.models.base import SEEN
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.report import gallery, nearest, per_class
from rayal.report.gallery import Prediction, Shot
from rayal.report.overlays import Row, draw, small_png
from rayal.report.reasons import reasons
from rayal.report.slices import shown
from rayal.runs.ledger import read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Labeled, Trained
from rayal.signals.batch import entropy, forward
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise

logger = logging.getLogger(__name__)

Answers = Mapping[str, tuple[LabelValue | None, float]]
"""Unit -> label (None: refused) and cost."""

FOLDER = "analysis"
"""Of a run folder, where pictures lie; `rayal sync` sends what is in it."""


def files(record: Record, count: int) -> Iterator[tuple[str, bytes]]:
    """The results per class, then `cycle-000.png` and so on: the first `count` images that each
    cycle has chosen: with masks, or with one class each; and where guards.min_distance is set
    `cycle-000-nearest.png`, the nearest pairs. Where a cycle's weights were pruned these
    are without its predictions, and of masks there is no picture, which is said, as it is of
    vectors.

    Raises DataError where the dataset is not the run's.
    """
    yield from per_class.files([record]).items()
    x = config.resolved(record.experiment(), record.plugins)
    store, there = store_of(record, x), record.cycles()
    if (unseen := unseen_of(store)) is not None:
        logger.warning("%s: no pictures of %s", record.folder.url, unseen)
        return
    without = [row for row in there if record.pruned(row["cycle"], Trained.stage)]
    if without:
        lack = "no pictures" if x.task.dense else "no predictions in the pictures"
        said = "%s: %s of %d of %d cycles, whose weights were pruned (keep.weights)"
        logger.warning(said, record.folder.url, lack, len(without), len(there))
    for row in there:
        near = nearest.picture(record, store, row["cycle"], count, f"{_title(x, row)}: nearest")
        if near is not None:
            yield f"cycle-{row['cycle']:03d}-nearest.png", small_png(near)
        if x.task.dense and row in without:
            continue
        if figure := _figure(record, x, store, row, count):
            yield f"cycle-{row['cycle']:03d}.png", small_png(figure)


def of_cycle(record: Record, cycle: int, count: int) -> Figure:
    """The picture of the first `count` images that a cycle has chosen, as `files` draws it.

    Raises UsageError where it has chosen none, or vectors, PrunedError where it shows masks and the
    weights were pruned, DataError where the dataset is not the run's.
    """
    x = config.resolved(record.experiment(), record.plugins)
    rows = {row["cycle"]: row for row in record.cycles()}
    store = store_of(record, x)
    if (unseen := unseen_of(store)) is not None:
        raise UsageError(f"{record.folder.url} chose {unseen}, of which there are no pictures")
    figure = _figure(record, x, store, rows[cycle], count) if cycle in rows else None
    if figure is None:
        chose = [c for c in rows if (done := record.result(c, Chosen)) is not None and done.ids]
        known = f"give one of cycles {chose[0]} to {chose[-1]}" if chose else "none has so far"
        raise UsageError(f"{record.folder.url}: cycle {quoted(cycle)} has chosen nothing; {known}")
    return figure


def unseen_of(store: Store) -> str | None:
    """What its images are called where they are nothing to look at."""
    return None if store.card.image.sides else SEEN[0]


def _figure(
    record: Record, x: Experiment, store: Store, row: dict[str, Any], count: int
) -> Figure | None:
    """The picture of a cycle; None where it has chosen nothing."""
    cycle, title = row["cycle"], _title(x, row)
    if not (first := first_images(record, store, cycle, count)):
        return None
    if not x.task.dense:
        return gallery.draw(shots(record, x, store, cycle, first), title)
    found = rows(record, x, store, cycle, first)
    return draw(found, store.card.classes, title, reference_of(x))


def reference_of(x: Experiment) -> str:
    """What the heading of `Row.reference` says."""
    return "True mask" if x.oracle.simulated else "Answer"


def store_of(record: Record, x: Experiment) -> Store:
    """The images of a run. Raises DataError where the dataset is not the run's."""
    store = x.dataset.open()
    if store.card.fingerprint != record.folder.read_sealed("identity.json")["data"]:
        raise DataError(
            f"{record.folder.url} was made from other data than {store.url}; put its own back to"
            f" {x.dataset.folder}"
        )
    return store


def _title(x: Experiment, row: dict[str, Any]) -> str:
    clicks = x.budget.unit != "samples"
    paid = f"{row['cost']:.10g} {x.budget.unit}" if clicks else f"{row['labels']} labels"
    return f"{x.name}: chosen by {x.strategy.part_name()} in cycle {row['cycle']}, after {paid}"


def rows(
    record: Record,
    x: Experiment,
    store: Store,
    cycle: int,
    chosen: Mapping[str, Sequence[str]],
    asks: bool = True,
) -> list[Row]:
    """These images that a cycle has chosen, or chosen regions of, see `chosen_images`. Without
    `asks` no model is loaded, and no pixel has a predicted class."""
    answers = _answers(record, cycle)
    units = [unit for units in chosen.values() for unit in units]
    labels = {
        unit: label for unit in units if (label := answers.get(unit, (None, 0.0))[0]) is not None
    }
    bought = of_images(labels, store)
    known = store.labels("pool", list(chosen)) if x.oracle.simulated else bought
    network = network_of(record, x, store, cycle) if asks else None
    decoded = store.pool.decode(store.pool.take(list(chosen)))
    found = []
    for place, image in enumerate(decoded.ids):
        predicted, uncertainty = _predicted(network, x, store, decoded, place)
        height, width = decoded.images.shape[2:] if decoded.sizes is None else decoded.sizes[place]
        inside = slice(height), slice(width)
        pixels = decoded.images[place].transpose(1, 2, 0)[inside]
        found.append(
            Row(
                image=image,
                note=_note(x, chosen[image], answers),
                pixels=np.broadcast_to(pixels, (height, width, 3)),
                reference=_mask(x, store, known, image)[inside],
                predicted=predicted[inside],
                entropy=uncertainty[inside],
                bought=_mask(x, store, bought, image)[inside],
                outlines=_outlines(x, store, image, chosen[image]),
            )
        )
    return found


def shots(
    record: Record,
    x: Experiment,
    store: Store,
    cycle: int,
    chosen: Mapping[str, Sequence[str]],
    asks: bool = True,
) -> list[Shot]:
    """As `rows`, of a task with one class for each image; without `asks`, or where the weights were
    pruned, nothing is predicted."""
    answers, classes = _answers(record, cycle), store.card.classes
    decoded = store.pool.decode(store.pool.take(list(chosen)))
    said: dict[str, Prediction] = {}
    if asks and not record.pruned(cycle, Trained.stage):
        said = _said(network_of(record, x, store, cycle), x, store, decoded)
    known: dict[str, LabelValue | None] = {unit: label for unit, (label, _) in answers.items()}
    if x.oracle.simulated:
        known |= store.labels("pool", decoded.ids)
    why, units = reasons(record, x, cycle), {image: units[0] for image, units in chosen.items()}
    found = []
    for place, image in enumerate(decoded.ids):
        reason = why[units[image]]
        label = known.get(image)
        found.append(
            Shot(
                image=image,
                rank=reason.rank,
                reason=reason.text,
                score=reason.score,
                note=_note(x, [image], answers),
                pixels=shown(decoded.images[place]),
                answer=classes[label] if isinstance(label, int) else None,
                predicted=said.get(image),
            )
        )
    return found


def _said(
    network: nn.Module, x: Experiment, store: Store, decoded: Decoded
) -> dict[str, Prediction]:
    """Image -> what the model says of it, which is asked for one at a time."""
    device, found = next(network.parameters()).device, {}
    for place, image in enumerate(decoded.ids):
        batch = torch.from_numpy(decoded.images[place : place + 1]).to(device)
        outputs = forward(network, normalise(batch, store.card.image), x.scheme.precision)
        log_probs = outputs.logits.float().log_softmax(dim=1)
        best = int(log_probs.argmax())
        share, nats = float(log_probs[0, best].exp()), float(entropy(log_probs)[0])
        found[image] = Prediction(store.card.classes[best], share, nats)
    return found


def first_images(record: Record, store: Store, cycle: int, count: int) -> dict[str, list[str]]:
    """The first so many of `chosen_images`."""
    return dict(islice(chosen_images(record, store, cycle).items(), count))


def chosen_images(record: Record, store: Store, cycle: int) -> dict[str, list[str]]:
    """The images that a cycle has chosen, each with its units, in order of rank."""
    images, found = set(store.pool.ids()), dict[str, list[str]]()
    chosen = record.result(cycle, Chosen)
    for unit in () if chosen is None else chosen.ids:
        place = parse_unit(unit, images)
        assert place is not None, f"{unit} was chosen from this store"
        found.setdefault(place.image, []).append(unit)
    return found


def _answers(record: Record, cycle: int) -> Answers:
    """Unit -> label and cost, of what a cycle bought; none while people still work on it."""
    if record.result(cycle, Labeled) is None:
        return {}
    out = stage_folder(record.folder, cycle, "label")
    return {unit: (label, cost) for unit, label, cost in read_labels(out)}


def _note(x: Experiment, units: Sequence[str], answers: Answers) -> str:
    """What was paid, or why nothing was bought."""
    found = [answers[unit] for unit in units if unit in answers]
    if not found:
        return "not labeled yet"
    if all(label is None for label, _ in found):
        return "refused"
    if x.budget.unit == "samples":
        return ""
    return f"{math.fsum(cost for _, cost in found):.10g} {x.budget.unit}"


def network_of(record: Record, x: Experiment, store: Store, cycle: int) -> nn.Module:
    """What the cycle chose with."""
    trained = record.result(cycle, Trained)
    assert trained is not None, f"cycle {cycle} has chosen without a model"
    folder = stage_folder(record.folder, cycle, "train")
    weights = FileLocation(folder.url, trained.weights)
    network = TrainedModel.read(weights, x.card_for(store.card)).network()
    device = "cuda" if x.compute.device != "cpu" and torch.cuda.is_available() else "cpu"
    return placed(network, device, x.scheme.precision).eval()


def _predicted(
    network: nn.Module | None, x: Experiment, store: Store, decoded: Decoded, place: int
) -> tuple[Mask, NDArray[np.float32]]:
    """Class and entropy (nats) of every pixel of one image, canvas included."""
    if network is None:
        canvas = decoded.images.shape[2:]
        return np.full(canvas, IGNORE, np.uint8), np.zeros(canvas, np.float32)
    device = next(network.parameters()).device
    images = torch.from_numpy(decoded.images[place : place + 1]).to(device)
    grid = forward(network, normalise(images, store.card.image), x.scheme.precision).logits.float()
    logits = upsampled(grid, images.shape[2:])
    uncertainty = entropy(logits.log_softmax(dim=1))[0]
    return logits.argmax(dim=1)[0].byte().cpu().numpy(), uncertainty.cpu().numpy()


def _mask(x: Experiment, store: Store, labels: dict[str, LabelValue], image: str) -> Mask:
    """The mask of an image, IGNORE everywhere where there is none."""
    if image not in labels:
        return np.full((store.card.image.height, store.card.image.width), IGNORE, np.uint8)
    mask: Mask = x.task.targets({image: labels[image]}, store.card)[0].numpy()
    return mask


def _outlines(
    x: Experiment, store: Store, image: str, units: Sequence[str]
) -> tuple[NDArray[np.int64], ...]:
    """The polygons, holes included, of those units that are regions of an image."""
    places = [parse_unit(unit, {image}) for unit in units]
    numbers = [place.number for place in places if place and place.number is not None]
    regions = x.oracle.regions(store, [image])[image] if numbers else []
    bought = [regions[number] for number in numbers]
    return tuple(line for region in bought for line in (region.polygon, *region.holes))
