"""Scores of a pool, in memory or in files, by any model."""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from torch import nn

from rayal.api import run as runs
from rayal.api.scores import Scores, new_folder
from rayal.data.datasets.base import Dataset
from rayal.data.in_memory import Layout, in_memory, unit_ids
from rayal.engine.local import local_device
from rayal.errors import UsageError, quoted
from rayal.experiment import config
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Event, Observer
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from rayal.workflows import score as pool_scoring
from rayal.workflows.run import start_engine
from rayal.workflows.score.in_memory import (
    Opened,
    Prepared,
    auto_batch,
    class_names,
    evaluating,
    score_images,
)
from rayal.workflows.score.live import live_models
from rayal.workflows.score.models import read_models
from rayal.workflows.score.settings import PoolScoring as PoolScoring

HERE = "images in memory"
"""In place of a pool's address."""
OF_FILES = ("decoding", "id", "image", "follow_links", "max_bad", "compute")
"""Settings that are about images in files."""


def score(
    model: Any,
    images: Any,
    strategies: str | dict[str, Any] | Strategy | Sequence[Any] = ("entropy",),
    *,
    previous: Any = None,
    members: Sequence[Any] = (),
    ids: Iterable[str | int] | None = None,
    layout: Layout | None = None,
    out: str | os.PathLike[str] | None = None,
    architecture: Any = None,
    engine: str | None = None,
    address: str | None = None,
    on_event: Any = None,
    set: Iterable[str] = (),
    retry_bad: bool = False,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
    **settings: Any,
) -> Scores:
    """What strategies say of every image, in one pass for all of them; higher = label sooner.

    `model` is a module whose forward returns logits, N C (see `rayal.wrap`), a network of rayal, a
    `Run`, or the path or URL of a run or of weights; weights of others need their `architecture`,
    such as {"name": "torchvision", "arch": "resnet50"}. A module comes back as it was: in its mode,
    on its device, without gradients. `previous` is the model of the cycle before, for `cod`,
    `members` are an ensemble's other ones, both as `model`.

    `images` in memory are scored in this process:

    - a tensor N C H W, or an array N C H W, N H W C or, of one channel, N H W (N D where a network
      takes vectors). Which axis is that of the channels is found from the model; `layout`, "NCHW"
      or "NHWC", says it where two axes may be.
    - a map-style dataset of torch, whose items are images or begin with one.

    uint8 pixels are divided by 255 and normalised by `mean` and `std`, one number per channel;
    floating-point numbers are fed as they are. `ids` are theirs, "0" to "N-1" by default.

    `images` in storage, a folder, Parquet files or a pattern of such, the name of a dataset, or a
    rayal.Dataset, are scored by a pass that the same call continues where it was stopped. `engine`
    is "local", in this process, or "ray", which an `address` of a cluster implies; decoding,
    size and the like are taken from the model, and for a module from `decoding={"size": 224}`.

    `out` is a folder or URL for the scores, a new one for images in memory. Without it they live as
    long as the result.
    `strategies` are names, mappings of a name and options, or instances. Further `settings` are the
    fields of `rayal score`, among them `seed`, `batch` (images in one forward pass), `precision`,
    `classes`, `mean` and `std`; `set` are such as on the command line, "compute.scorers=4".
    `on_event` is told how far it is. `plugins` are packages of yours whose parts may be named.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))
    >>> scores = rayal.score(net, torch.randn(5, 3, 4, 4), ["entropy", "margin"])
    >>> scores.ids, scores.strategies
    (['0', '1', '2', '3', '4'], ['entropy', 'margin'])
    >>> list(scores.table())
    ['id', 'status', 'predicted', 'score.entropy', 'score.margin']

    Raises UsageError for what cannot work, before anything is scored, and DataError for images or
    scores that are not finite, with the unit's id.
    """
    named = Plugins(plugins)
    options = {"strategies": _listed(strategies), **settings}
    live = isinstance(model, nn.Module)
    for key, value in {"checkpoint": model, "previous": previous, "members": members}.items():
        _add(options, key, value, live)
    if architecture is not None:
        if live:
            raise UsageError("architecture is for weights in files; leave it out for a module")
        options["model"] = architecture
    observer = runs.observer(on_event)
    stored = _stored(images)
    if stored is None:
        if alien := [key for key in OF_FILES if key in settings]:
            raise UsageError(
                f"{alien[0]} is for images in files; leave it out for images in memory"
            )
        if address is not None or engine == "ray":
            raise UsageError(
                "images in memory are scored in this process; give them in files to score them on"
                " Ray"
            )
        x = config.from_keywords({**options, "pool": HERE}, set, PoolScoring, named)
        return _score_here(x, model, previous, members, images, ids, layout, out, observer, named)
    if ids is not None or layout is not None:
        raise UsageError("ids and layout are for images in memory; leave them out for files")
    compute = {**settings.get("compute", {})}
    compute.setdefault("engine", engine or ("local" if address is None else "ray"))
    fields = {**options, "pool": stored, "compute": compute}
    x = config.from_keywords(fields, set, PoolScoring, named)
    modules = (model, previous, members) if live else None
    return score_files(x, modules, out, address, observer, retry_bad, break_lock, named)


def _score_here(
    x: PoolScoring,
    model: Any,
    previous: Any,
    members: Sequence[Any],
    images: Any,
    ids: Iterable[str | int] | None,
    layout: Layout | None,
    out: str | os.PathLike[str] | None,
    observer: Observer,
    plugins: Plugins,
) -> Scores:
    """Images in memory, by modules or by files of weights."""
    folder = _kept_in_memory() if out is None else new_folder(out)
    temporary = folder if out is None else None
    with _gone_after_errors(temporary):
        if x.checkpoint is not None:
            models = read_models(x, plugins)
            device, place = local_device(x.compute.for_engine()), _kept_in_memory()
            opened = Opened.files(models, x.columns(), place, device, seed=x.seed)
            place.delete()
            trained = models.card.image
            found = in_memory(images, layout, trained.channels)
            units, network = unit_ids(len(found), ids), opened.networks.model
            prepared = Prepared(found, units, network, x.mean, x.std, trained)
            return _scored(x, opened, prepared, folder, temporary, observer)
        found = in_memory(images, layout, _channels(model))
        prepared = Prepared(found, unit_ids(len(found), ids), model, x.mean, x.std)
        with evaluating([each for each in (model, previous, *members) if each is not None]):
            opened = Opened.modules(
                model,
                previous,
                members,
                x.columns(),
                prepared.rows(slice(0, 2)),
                seed=x.seed,
                precision=x.precision or "fp32",
            )
            return _scored(x, opened, prepared, folder, temporary, observer)


def _scored(
    x: PoolScoring,
    opened: Opened,
    images: Prepared,
    out: Folder,
    temporary: Folder | None,
    observer: Observer,
) -> Scores:
    classes = class_names(x.classes, opened.num_classes) or opened.classes
    batch = auto_batch(images.shape) if x.batch == "auto" else x.batch
    strategies = x.columns()
    score_images(opened, classes, images, strategies, out, observer, batch)
    return Scores(out.url, strategies, temporary=temporary)


def score_files(
    x: PoolScoring,
    modules: tuple[nn.Module, nn.Module | None, Sequence[nn.Module]] | None,
    out: str | os.PathLike[str] | None,
    address: str | None,
    on_event: runs.Told | None,
    retry_bad: bool,
    break_lock: bool,
    plugins: Plugins,
) -> Scores:
    """A resumable pass over images in storage."""
    if out is None and x.compute.engine == "ray":
        raise UsageError("engine='ray' needs a folder that its workers reach; give it as out")
    models = None if modules is None else live_models(x, *modules)
    temporary = Folder(mkdtemp(prefix="rayal-scores-")) if out is None else None
    folder = temporary or Folder(out or "")
    start = partial(start_engine, x.compute.for_engine(), address)
    with (
        _gone_after_errors(temporary),
        pool_scoring.start_scoring(
            x,
            folder.url,
            retry_bad=retry_bad,
            break_lock=break_lock,
            plugins=plugins,
            models=models,
        ) as opened,
    ):
        observer = runs.observer(on_event)
        note = runs.COMPLETE if opened.complete else ""
        observer.on(Event("opened", "score", url=opened.scores.url, note=note))
        result = opened.run(start, observer)
        lines = tuple(pool_scoring.lines(result, opened))
    return Scores(folder.url, x.columns(), lines, temporary)


def _listed(strategies: Any) -> list[Any]:
    """One strategy, or several."""
    one = isinstance(strategies, str | dict | Strategy)
    return [strategies] if one else list(strategies)


def _add(options: dict[str, Any], key: str, given: Any, live: bool) -> None:
    """A model, or several, among the fields of a pass: where its weights lie; modules are none."""
    each = [given] if key != "members" else list(given)
    wrong = [m for m in each if m is not None and isinstance(m, nn.Module) != live]
    if wrong:
        kinds = ["a module", "where its weights lie"]
        raise UsageError(f"model is {kinds[not live]}, {key} {kinds[live]}; give both alike")
    if live or given is None:
        return
    found = [_location(m) for m in each]
    options[key] = found if key == "members" else found[0]


def _location(model: Any) -> str:
    """The path or URL of a run or of weights."""
    place = getattr(model, "url", model)
    if not isinstance(place, str | os.PathLike):
        raise UsageError(
            f"model is {quoted(model)}; give a torch.nn.Module, a Run, or the path of weights"
        )
    return os.fspath(place)


def _stored(images: Any) -> str | None:
    """Where images lie, None for those in memory."""
    if isinstance(images, Dataset):
        return images.open().url
    return os.fspath(images) if isinstance(images, str | Path) else None


def _channels(model: nn.Module) -> int | None:
    """What the first convolution takes."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return None if first is None else first.in_channels


@contextmanager
def _gone_after_errors(temporary: Folder | None) -> Iterator[None]:
    """A folder that nobody will be handed is deleted."""
    try:
        yield
    except BaseException:
        if temporary is not None:
            temporary.delete()
        raise


def _kept_in_memory() -> Folder:
    return Folder(f"memory://rayal/{uuid.uuid4().hex}")
