"""What a cycle has chosen, as it is drawn: images with masks, and images with one class each.

The prediction is that of the model that chose: the cycle's own weights. Labels of the pool are read
only where the oracle is a simulation; elsewhere the only masks are those that were bought.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rayal.cycle.offer import of_images
from rayal.data.masks import IGNORE, LabelValue, Mask
from rayal.data.pixels import upsampled
from rayal.data.pool import Decoded
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.labeling.regions import parse_unit
from rayal.report.gallery import Prediction, Shot
from rayal.report.images import network_of
from rayal.report.overlays import Row
from rayal.report.reasons import reasons
from rayal.report.slices import shown
from rayal.runs.ledger import read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Labeled, Trained
from rayal.signals.batch import entropy
from rayal.signals.networks import forward
from rayal.training.augment import normalise

Answers = Mapping[str, tuple[LabelValue | None, float]]
"""Unit -> label (None: refused) and cost."""


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
    answers, true, decoded = _opened(record, x, store, cycle, chosen)
    units = [unit for units in chosen.values() for unit in units]
    labels = {
        unit: label for unit in units if (label := answers.get(unit, (None, 0.0))[0]) is not None
    }
    bought = of_images(labels, store)
    known = bought | true
    network = network_of(record, x, store, cycle) if asks else None
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
    answers, true, decoded = _opened(record, x, store, cycle, chosen)
    classes = store.card.classes
    said: dict[str, Prediction] = {}
    if asks and not record.pruned(cycle, Trained.stage):
        said = _said(network_of(record, x, store, cycle), x, store, decoded)
    known = {unit: label for unit, (label, _) in answers.items()} | true
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


def _opened(
    record: Record, x: Experiment, store: Store, cycle: int, chosen: Mapping[str, Sequence[str]]
) -> tuple[Answers, dict[str, LabelValue], Decoded]:
    """What was answered in a cycle, the labels of these images where a simulation knows them, and
    the images."""
    true = store.labels("pool", list(chosen)) if x.oracle.simulated else {}
    return _answers(record, cycle), true, store.pool.decode(store.pool.take(list(chosen)))


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
