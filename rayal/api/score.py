"""Scores of a pool, in memory or in files, by any model."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rayal.api.score_in_files import score_in_files
from rayal.api.score_in_memory import Pictures, score_in_memory
from rayal.api.scores import Scores
from rayal.data.datasets.base import Dataset
from rayal.data.in_memory import Layout
from rayal.errors import UsageError, quoted
from rayal.experiment import config
from rayal.models.module import check_sized
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Listener, observer
from rayal.storage.folder import Json
from rayal.strategies.base import Strategy
from rayal.workflows.score.opened import Modules
from rayal.workflows.score.settings import PoolScoring as PoolScoring

HERE = "images in memory"
"""In place of a pool's address."""
OF_FILES = ("decoding", "id", "image", "follow_links", "max_bad", "compute")
"""Settings that are about images in files."""
ARGUMENTS = {"pool": "images", "checkpoint": "model", "previous": "previous", "members": "members"}
"""Settings that are arguments here, by other names."""
USUAL = ("entropy",)


def score(
    model: Any,
    images: Any = None,
    strategies: str | dict[str, Any] | Strategy | Sequence[Any] = USUAL,
    *,
    previous: Any = None,
    members: Sequence[Any] = (),
    ids: Iterable[str | int] | None = None,
    layout: Layout | None = None,
    out: str | os.PathLike[str] | None = None,
    architecture: Any = None,
    engine: str | None = None,
    address: str | None = None,
    on_event: Listener | None = None,
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

    uint8 pixels are divided by 255 and normalised by `mean` and `std`, one number per channel: by
    those of its training for a run or weights, those of its card for a prepared dataset. A module
    does not say them, so that they have to be given with other pixels; (0,) and (1,) normalise
    nothing. Floating-point numbers are fed as they are. `ids` are the images', "0" to "N-1" by
    default.

    `images` in storage, a folder, Parquet files or a pattern of such, the name of a dataset, or a
    rayal.Dataset, are scored by a pass that the same call continues where it was stopped. `engine`
    is "local", in this process, or "ray", which an `address` of a cluster implies; decoding,
    size and the like are taken from the model, and for a module from `decoding={"size": 224}`.
    `retry_bad` looks again at images that could not be decoded, `break_lock` takes the folder from
    a process that seems to write there.

    `out` is a folder or URL for the scores, a new one for images in memory. Without it they live as
    long as the result.
    `strategies` are names, mappings of a name and options, or instances. Further `settings` are the
    fields of `rayal score`, among them `seed`, `batch` (images in one forward pass), `precision`,
    `classes`, `mean` and `std`; `set` are such as on the command line, "compute.scorers=4".
    `on_event` is told how far it is, first that `out` is `opened`. `plugins` are packages of yours
    whose parts may be named.

    A `rayal.PoolScoring` in place of the model says all of this but `out`, `address` and how to
    begin: `rayal.score(settings, out="scores")`.

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
    named, listening = Plugins(plugins), observer(on_event)
    if isinstance(model, PoolScoring):
        asked = {"previous": previous, "ids": ids, "layout": layout, "architecture": architecture}
        asked |= {"images": images, "engine": engine, **settings}
        asked |= {"strategies": None if strategies is USUAL else strategies}
        asked |= {"members": members or None, "set": set or None}
        _check_alone(asked)
        return score_in_files(model, None, out, address, listening, retry_bad, break_lock, named)
    modules, fields = _models(model, previous, members, architecture)
    fields |= {"strategies": _listed(strategies), **settings}
    overrides = [*set]
    names = [*settings, *map(_field, overrides)]
    _check_settings(names, modules is not None)
    stored = _stored(images)
    if stored is None:
        passing = {"retry_bad": retry_bad or None, "break_lock": break_lock or None}
        _check_memory([*names, *_given(passing)], engine, address)
        x = config.from_keywords({**fields, "pool": HERE}, overrides, PoolScoring, named)
        return score_in_memory(x, modules, Pictures(images, ids, layout), out, listening, named)
    if ids is not None or layout is not None:
        raise UsageError("ids and layout are for images in memory; leave them out for files")
    fields |= {"pool": stored, "compute": _compute(settings.get("compute", {}), engine, address)}
    x = config.from_keywords(fields, overrides, PoolScoring, named)
    return score_in_files(x, modules, out, address, listening, retry_bad, break_lock, named)


def _given(arguments: Json) -> list[str]:
    """The names of those that are not None."""
    return [name for name, value in arguments.items() if value is not None]


def _field(override: str) -> str:
    """`compute` of `compute.scorers=4`."""
    return str(override).partition("=")[0].partition(".")[0].strip()


def _check_alone(beside: Json) -> None:
    """Raises UsageError for what is given beside settings that say it already."""
    if more := _given(beside):
        raise UsageError(f"{more[0]} is said by the settings; leave it out, or change them")


def _check_settings(names: Sequence[str], live: bool) -> None:
    """Raises UsageError for settings that are arguments."""
    for name in names:
        if name in ARGUMENTS:
            raise UsageError(f"{name} is no setting of a call; give it as {ARGUMENTS[name]}=")
        if name == "model" and live:
            raise _for_weights()


def _check_memory(names: Sequence[str], engine: str | None, address: str | None) -> None:
    """Raises UsageError for what images in memory have no use for."""
    if alien := [name for name in names if name in (*OF_FILES, "retry_bad", "break_lock")]:
        raise UsageError(f"{alien[0]} is for images in files; leave it out for images in memory")
    if address is not None or engine not in (None, "local"):
        raise UsageError(
            "images in memory are scored in this process; give them in files to score them on Ray,"
            " or leave engine and address out"
        )


def _compute(given: Any, engine: str | None, address: str | None) -> Any:
    """The setting `compute`, with the engine; this process where nobody says anything of it."""
    if not isinstance(given, Mapping):
        return given  # settings of another kind say themselves what they are
    if engine is not None and given.get("engine", engine) != engine:
        raise UsageError(
            f"engine is {quoted(engine)}, and {quoted(given['engine'])} in compute; leave out one"
        )
    return {"engine": engine or ("local" if address is None else "ray"), **given}


def _for_weights() -> UsageError:
    return UsageError("architecture is for weights in files; leave it out for a module")


def _listed(strategies: Any) -> list[Any]:
    """One strategy, or several."""
    if isinstance(strategies, str | dict | Strategy | type):
        strategies = [strategies]
    if not isinstance(strategies, Iterable):
        raise UsageError(
            f"strategies are {quoted(strategies)}; give names, mappings of name and options, or"
            " instances, such as ['entropy', 'margin']"
        )
    found = [*strategies]
    for each in found:
        if isinstance(each, type):
            raise UsageError(f"strategy {each.__name__} is a class; give one: {each.__name__}()")
    return found


def _models(
    model: Any, previous: Any, members: Any, architecture: Any
) -> tuple[Modules | None, Json]:
    """The modules, or the fields of a pass that say where the weights lie."""
    if not isinstance(members, nn.ModuleList | list | tuple):
        raise UsageError(
            f"members are {type(members).__name__}; give the other models of the ensemble as a"
            " list, or leave them out"
        )
    live = isinstance(model, nn.Module)
    others = {"previous": [] if previous is None else [previous], "members": [*members]}
    for name, given in others.items():
        if any(isinstance(each, nn.Module) != live for each in given):
            kinds = ["a module", "where its weights lie"]
            raise UsageError(f"model is {kinds[not live]}, {name} {kinds[live]}; give both alike")
    if live:
        if architecture is not None:
            raise _for_weights()
        modules = Modules(model, previous, others["members"])
        for each in modules.all:
            check_sized(each)
        return modules, {}
    places = {
        "checkpoint": _location(model),
        "previous": None if previous is None else _location(previous),
        "members": [*map(_location, members)] or None,
        "model": architecture,
    }
    return None, {name: places[name] for name in _given(places)}


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
