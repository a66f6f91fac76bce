"""What the model that chose units says of them, for the people who are asked."""

import numpy as np
import torch
from torch import nn

from rayal.data.masks import LabelValue, encode
from rayal.data.pixels import upsampled
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.labeling.regions import parse_unit
from rayal.labeling.request import Request
from rayal.labeling.suggestions import SUGGESTED, Suggestion, write_suggestions
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.runs.results import Chosen
from rayal.signals.networks import forward
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise

CHUNK = 16  # images in memory at a time


def suggest(
    x: Experiment,
    store: Store,
    weights: FileLocation,
    selected: Folder,
    chosen: Chosen,
    out: Folder,
) -> None:
    """Writes the suggestions for the request of the label stage at `out`, unless they are there:
    the first processes' stay.

    `selected` is the folder of the select stage, `weights` the model that the pass has asked.
    """
    folder = Request(out).folder
    if not chosen.ids or folder.exists(SUGGESTED):
        return
    # a score, or another reason, would tell which ones were drawn at random
    scores = {} if chosen.explored else _scores(selected, chosen)
    said = _predicted(x, store, weights, chosen.ids)
    reason = f"chosen by {x.strategy.part_name()}{', or at random' if chosen.explored else ''}"
    nothing: tuple[LabelValue | None, float | None] = None, None
    write_suggestions(
        folder,
        {
            unit: Suggestion(scores.get(unit), reason, *said.get(_image(unit, said), nothing))
            for unit in chosen.ids
        },
    )


def _image(unit: str, images: dict[str, tuple[LabelValue, float]]) -> str:
    place = parse_unit(unit, images)
    return unit if place is None else place.image


def _scores(selected: Folder, chosen: Chosen) -> dict[str, float]:
    """Unit -> score, of those that have one."""
    table = csv_file.parse(selected.read("chosen.csv", chosen.table))
    pairs = zip(table["id"].to_pylist(), table["score"].to_pylist(), strict=True)
    return {unit: float(score) for unit, score in pairs if score not in (None, "")}


def _predicted(
    x: Experiment, store: Store, weights: FileLocation, units: tuple[str, ...]
) -> dict[str, tuple[LabelValue, float]]:
    """Image -> what the model says of it, and how sure it is; of those that can be decoded."""
    known = set(store.pool.ids())
    places = [parse_unit(unit, known) for unit in units]
    images = list(dict.fromkeys(place.image for place in places if place is not None))
    network = TrainedModel.read(weights, x.card_for(store.card)).network()
    device = "cuda" if x.compute.device != "cpu" and torch.cuda.is_available() else "cpu"
    network = placed(network, device, x.scheme.precision).eval()
    found = dict[str, tuple[LabelValue, float]]()
    for rows in store.pool.chunks(images, CHUNK):
        decoded = store.pool.decode(rows)
        for place, image in enumerate(decoded.ids):
            batch = torch.from_numpy(decoded.images[place : place + 1]).to(device)
            probs = _probs(network, x, normalise(batch, store.card.image))
            best = probs.max(dim=0)
            sides = probs.shape[1:] if decoded.sizes is None else decoded.sizes[place]
            inside = tuple(slice(int(side)) for side in sides) if x.task.dense else ()
            classes = best.indices[inside].cpu().numpy()
            sure = float(best.values[inside].mean())
            found[image] = (
                encode(classes.astype(np.uint8)) if x.task.dense else int(classes),
                sure,
            )
    return found


def _probs(network: nn.Module, x: Experiment, images: torch.Tensor) -> torch.Tensor:
    """C, or C H W, of the one image in a batch."""
    logits = forward(network, images, x.scheme.precision).logits.float()
    if x.task.dense:
        logits = upsampled(logits, images.shape[2:])
    return logits.softmax(dim=1)[0]
