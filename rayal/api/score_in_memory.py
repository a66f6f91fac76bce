"""A scoring of images in the memory of this process, by modules or by files of weights."""

import os
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

from rayal.api.scores import Scores, gone_after_errors, new_folder
from rayal.data.in_memory import Layout, in_memory, unit_ids
from rayal.engine.local import local_device
from rayal.models.module import evaluating, image_channels
from rayal.plugins import Plugins
from rayal.runs.events import Event, Observer
from rayal.storage.folder import Folder
from rayal.workflows.score.in_memory import score_images
from rayal.workflows.score.models import read_models
from rayal.workflows.score.opened import Modules, Opened, class_names
from rayal.workflows.score.prepared import Prepared, auto_batch
from rayal.workflows.score.settings import PoolScoring


class Pictures(NamedTuple):
    """Images as they were given."""

    images: Any
    ids: Iterable[str | int] | None = None
    layout: Layout | None = None


def score_in_memory(
    x: PoolScoring,
    modules: Modules | None,
    given: Pictures,
    out: str | os.PathLike[str] | None,
    observer: Observer,
    plugins: Plugins,
) -> Scores:
    """The scores, in a new folder `out` or in memory; without `modules` by the weights of `x`."""
    folder = _kept_in_memory() if out is None else new_folder(out)
    temporary = folder if out is None else None
    with gone_after_errors(temporary or folder / "scores"):
        if modules is None:
            _by_weights(x, given, folder, observer, plugins)
        else:
            _by_modules(x, modules, given, folder, observer)
        return Scores(folder.url, x.columns(), temporary=temporary)


def _by_weights(
    x: PoolScoring, given: Pictures, out: Folder, observer: Observer, plugins: Plugins
) -> None:
    models = read_models(x, plugins)
    device, place = local_device(x.compute.for_engine()), _kept_in_memory()
    opened = Opened.files(models, x.columns(), place, device, seed=x.seed)
    trained = models.card.image
    found = in_memory(given.images, given.layout, trained.channels)
    ids, network = unit_ids(len(found), given.ids), opened.networks.model
    _scored(x, opened, Prepared(found, ids, network, x.mean, x.std, trained), out, observer)


def _by_modules(
    x: PoolScoring, modules: Modules, given: Pictures, out: Folder, observer: Observer
) -> None:
    found = in_memory(given.images, given.layout, image_channels(modules.model))
    ids = unit_ids(len(found), given.ids)
    prepared = Prepared(found, ids, modules.model, x.mean, x.std)
    with evaluating(*modules.all):
        opened = Opened.modules(
            modules,
            x.columns(),
            prepared.rows(slice(0, 2)),
            seed=x.seed,
            precision=x.precision or "fp32",
        )
        _scored(x, opened, prepared, out, observer)


def _scored(
    x: PoolScoring, opened: Opened, images: Prepared, out: Folder, observer: Observer
) -> None:
    classes = class_names(x.classes, opened.num_classes) or opened.classes
    batch = auto_batch(images.shape) if x.batch == "auto" else x.batch
    observer.on(Event("opened", "score", url=(out / "scores").url))
    score_images(opened, classes, images, x.columns(), out, observer, batch)


def _kept_in_memory() -> Folder:
    return Folder(f"memory://rayal/{uuid.uuid4().hex}")
