"""A network of chance, the features that it sees of digits, and studies on these."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.runs.events import Observers
from rayal.storage.folder import Folder
from rayal.workflows.features import start_features
from rayal.workflows.features.settings import FeaturePass

DIGITS = {"name": "digits", "limit_pool": 80, "limit_test": 30}
NETWORK = {"name": "small_cnn", "width": 4}
SCHEME = {"epochs": 3, "batch_size": 8, "lr": 0.02}
COMPUTE = {"engine": "local", "cpus_per_worker": 1, "checkpoint_seconds": 0}


class Looked(NamedTuple):
    """What `rayal features` has made."""

    root: Path
    weights: str
    """File of the network."""


def look(out: Path, tiny: Callable[..., Experiment], *, seed: int = 3, **options: Any) -> Looked:
    """Features of digits below this folder, by a network of this seed."""
    x = tiny(dataset=options.pop("dataset", DIGITS), model=NETWORK)
    store = x.dataset.open()
    card = ModelCard.of(x.model, store.card, "fp32", x.task)
    network = build(x.model, len(card.classes), card.image, seed=seed)
    TrainedModel.of(card, network).write(Folder(out))
    weights = f"{out}/weights.safetensors"
    asked = FeaturePass(
        dataset=x.dataset, checkpoint=weights, compute={"engine": "local"}, **options
    )
    with start_features(asked, str(out / "F")) as work:
        work.run(lambda: nullcontext(LocalEngine(asked.compute.for_engine())), Observers([]))
    return Looked(out / "F", weights)


def study(tiny: Callable[..., Experiment], root: Path, **fields: Any) -> Experiment:
    """Two cycles of a head on these features, then its `fine_tune`."""
    dataset = {"name": "features", "root": str(root), **fields.pop("dataset", {})}
    return tiny(
        **{
            "name": "frozen",
            "dataset": dataset,
            "model": "linear_head",
            "scheme": SCHEME,
            "strategy": "margin",
            "budget": {"initial": 10, "per_cycle": 10, "total": 20},
            "compute": COMPUTE,
            "fine_tune": {"scheme": SCHEME},
            **fields,
        }
    )
