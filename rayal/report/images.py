"""The images of a run: where they are, what cycles have chosen of them, and what chose."""

from itertools import islice

import torch
from torch import nn

from rayal.data.store import Store
from rayal.errors import DataError
from rayal.experiment.experiment import Experiment
from rayal.labeling.regions import parse_unit
from rayal.models.base import SEEN
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Trained
from rayal.storage.stage_file import FileLocation


def store_of(record: Record, x: Experiment) -> Store:
    """The images of a run. Raises DataError where the dataset is not the run's."""
    store = x.dataset.open()
    if store.card.fingerprint != record.folder.read_sealed("identity.json")["data"]:
        raise DataError(
            f"{record.folder.url} was made from other data than {store.url}; put its own back to"
            f" {x.dataset.folder}"
        )
    return store


def unseen_of(store: Store) -> str | None:
    """What its images are called where they are nothing to look at."""
    return None if store.card.image.sides else SEEN[0]


def chosen_images(record: Record, store: Store, cycle: int) -> dict[str, list[str]]:
    """The images that a cycle has chosen, each with its units, in order of rank."""
    images, found = set(store.pool.ids()), dict[str, list[str]]()
    chosen = record.result(cycle, Chosen)
    for unit in () if chosen is None else chosen.ids:
        place = parse_unit(unit, images)
        assert place is not None, f"{unit} was chosen from this store"
        found.setdefault(place.image, []).append(unit)
    return found


def first_images(record: Record, store: Store, cycle: int, count: int) -> dict[str, list[str]]:
    """The first so many of `chosen_images`."""
    return dict(islice(chosen_images(record, store, cycle).items(), count))


def network_of(record: Record, x: Experiment, store: Store, cycle: int) -> nn.Module:
    """What the cycle chose with."""
    trained = record.result(cycle, Trained)
    assert trained is not None, f"cycle {cycle} has chosen without a model"
    folder = stage_folder(record.folder, cycle, "train")
    weights = FileLocation(folder.url, trained.weights)
    network = TrainedModel.read(weights, x.card_for(store.card)).network()
    device = "cuda" if x.compute.device != "cpu" and torch.cuda.is_available() else "cpu"
    return placed(network, device, x.scheme.precision).eval()
