"""What `fine_tune` of an experiment means on its data: which images, which network, from what; and
everything that makes it impossible, before anything starts."""

from collections.abc import Iterator
from typing import NamedTuple

from rayal.cycle.fine_tune import FineTuning
from rayal.data.card import Card, MeanStd
from rayal.data.datasets.base import Dataset
from rayal.data.datasets.features import ASKED, MADE, Features
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, counted, quoted, some
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.guards import Guards
from rayal.labeling.oracles.simulated import Simulated
from rayal.models.base import Model
from rayal.models.card import ModelCard
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.journal import read_done
from rayal.storage.stage_file import FileLocation
from rayal.strategies.random import Random
from rayal.training.feed import batch_ends
from rayal.workflows.features import MODELS
from rayal.workflows.features.settings import FeaturePass
from rayal.workflows.untrainable import untrainable

DATASET, MODEL = "fine_tune.dataset", "fine_tune.model"
OWN = ("dataset", "model", "scheme")
"""Keys of an experiment that are keys of `fine_tune` too."""


def opened(x: Experiment, store: Store, plugins: Plugins = NO_PLUGINS) -> FineTuning | None:
    """What comes after the last cycle of this experiment on this data; None where nothing does.

    Raises UsageError with what makes it impossible, StorageError where what `rayal features` wrote
    is damaged.
    """
    if x.fine_tune is None:
        return None
    if not store.card.tested:
        raise UsageError(
            f"fine_tune: {x.dataset.part_name()!r} has no test images, and nothing else tells what"
            " a network is worth; leave it out, or give test images"
        )
    looked = _looked(x, plugins)
    if problems := list(_unknown(x, looked)):
        raise UsageError.of(problems, where=f"experiment {x.name!r}")
    images = _images(x, store, looked)
    backbone = _backbone(looked) if looked is not None and x.fine_tune.model is None else None
    model = x.fine_tune.model if backbone is None else _model_of(backbone, plugins)
    assert model is not None, "else it is unknown"
    tuned = _experiment(x, model, images.dataset)
    seen = Store(images.store.url, images.statistics if backbone is not None else None)
    if problems := [*_strange(x, store, seen), *_untrainable(tuned, seen.card)]:
        raise UsageError.of(problems, where=f"experiment {x.name!r}")
    return FineTuning(tuned, seen, backbone)


class _Looked(NamedTuple):
    """What `rayal features` has done."""

    folder: Folder
    asked: FeaturePass
    made: Json
    """`features.json`."""


class _Images(NamedTuple):
    """What the network is trained on."""

    dataset: Dataset
    store: Store
    statistics: MeanStd | None
    """What the network that looked normalises by; None: as the store does."""


def _looked(x: Experiment, plugins: Plugins) -> _Looked | None:
    """None for a run on images, or on the features of others."""
    folder = x.dataset.looked if isinstance(x.dataset, Features) else None
    if folder is None:
        return None
    text, source = folder.read(ASKED).decode(), f"{folder.url}/{ASKED}"
    return _Looked(
        folder, config.parsed(FeaturePass, text, source, plugins), folder.read_sealed(MADE)
    )


def _unknown(x: Experiment, looked: _Looked | None) -> Iterator[str]:
    """What nobody has said and nothing tells."""
    assert x.fine_tune is not None
    others = isinstance(x.dataset, Features) and looked is None
    if others and x.fine_tune.dataset is None:
        yield (
            f"{DATASET}: the vectors in {x.dataset.folder} do not say of which images they are;"
            " give the images, under the same ids"
        )
    if others and x.fine_tune.model is None:
        yield (
            f"{MODEL}: the vectors in {x.dataset.folder} do not say of which network they are; give"
            " the network that is to be trained"
        )
    if not isinstance(x.dataset, Features) and x.fine_tune.model is None:
        yield (
            f"{MODEL}: {x.model.part_name()!r} is trained on these images in every cycle already;"
            " give the network that is to be trained after the last one"
        )


def _images(x: Experiment, store: Store, looked: _Looked | None) -> _Images:
    assert x.fine_tune is not None
    dataset = x.fine_tune.dataset
    if dataset is None and looked is None:
        return _Images(x.dataset, store, None)
    if dataset is None:
        assert looked is not None
        dataset = _same_images(x, looked)
    try:
        images = dataset.open()
    except DataError as error:
        raise UsageError(f"{DATASET}: {error}") from error
    statistics = None
    if looked is not None and dataset.mean is None:
        image = looked.made["image"]
        seen = tuple(image["mean"]), tuple(image["std"])
        statistics = seen if seen != (images.card.image.mean, images.card.image.std) else None
    return _Images(dataset, images, statistics)


def _same_images(x: Experiment, looked: _Looked) -> Dataset:
    """The images that were looked at, as many of them as the run is on."""
    dataset, where = looked.asked.dataset, looked.folder.url
    try:
        now = dataset.fingerprint()
    except DataError as error:
        raise UsageError(
            f"{DATASET}: the images that {where} was made of cannot be read ({error}); give them in"
            f" {DATASET}, where they are now"
        ) from error
    if now != looked.made["data"]:
        raise UsageError(
            f"{DATASET}: {where} was made of other images than {dataset.part_name()!r} has now"
            f" (fingerprint {looked.made['data'][:12]}, now {now[:12]}); restore those, or give"
            f" images with the same ids in {DATASET}"
        )
    limits = {
        key: min(limit, getattr(dataset, key) or limit)
        for key in ("limit_pool", "limit_test")
        if (limit := getattr(x.dataset, key)) is not None
    }
    return dataset.model_copy(update=limits)


def _backbone(looked: _Looked) -> FileLocation:
    models = looked.folder / MODELS
    return FileLocation(models.url, FileRecord(**read_done(models)["result"]))


def _model_of(backbone: FileLocation, plugins: Plugins) -> Model:
    source = f"{backbone.folder}/{backbone.record.name}"
    card = ModelCard.parse(backbone.read(), source, plugins)
    assert card is not None, "`rayal features` writes one"
    return card.model


def _experiment(x: Experiment, model: Model, images: Dataset) -> Experiment:
    """That of one training on the images; what chooses and buys in a run has no part in it."""
    assert x.fine_tune is not None
    return x.model_copy(
        update={
            "dataset": images,
            "model": model,
            "scheme": x.fine_tune.scheme,
            "strategy": Random(),
            "observers": (),
            "guards": Guards(),
            "explore": 0.0,
            "labeled": None,
            "candidates": None,
            "score_transform": "test",
            "start": "cold",
            "ensemble": 1,
            "oracle": Simulated(),
            "fine_tune": None,
        }
    )


def _strange(x: Experiment, store: Store, images: Store) -> Iterator[str]:
    """Why these are not the images of the run's units."""
    if images.url == store.url:
        return
    ours, theirs = store.card, images.card
    if ours.classes != theirs.classes:
        yield (
            f"{DATASET}: its classes are {some(theirs.classes)}, those of the run"
            f" {some(ours.classes)}; give images with the same classes in the same order"
        )
        return
    known, tested = set(images.pool.ids()), set(images.test.ids())
    if lacking := [unit for unit in store.pool.ids() if unit not in known]:
        yield (
            f"{DATASET}: {counted(len(lacking), 'unit')} of the run's pool, the first"
            f" {quoted(lacking[0])}, {'is' if len(lacking) == 1 else 'are'} not in it; give images"
            " under the ids of the run"
        )
    if tested != set(store.test.ids()):
        yield (
            f"{DATASET}: its {counted(len(tested), 'test image')} are not those that the run is"
            f" measured on ({ours.test}), so that the two figures would not compare; give the same"
            " test images"
        )
    if not lacking:
        yield from _labeled_otherwise(x, store, images)
    if bad := [unit for unit in theirs.bad if unit not in ours.bad]:
        yield (
            f"{DATASET}: {counted(len(bad), 'image')} cannot be decoded, the first"
            f" {quoted(bad[0])}: {theirs.bad[bad[0]]}; mend what the run can buy"
        )
    yield from _unreadable(images)


def _labeled_otherwise(x: Experiment, store: Store, images: Store) -> Iterator[str]:
    """Numbers as ids are the same in all datasets; their labels are not."""
    assert x.fine_tune is not None
    if x.fine_tune.dataset is None or x.task.dense:
        return
    if not (store.card.labeled and images.card.labeled):
        return
    ours, theirs = store.labels("pool"), images.labels("pool")
    names = store.card.classes
    for unit, label in ours.items():
        if unit in theirs and theirs[unit] != label:
            here, there = (names[int(each)] for each in (theirs[unit], label))
            yield (
                f"{DATASET}: {quoted(unit)} is {quoted(here)} there and {quoted(there)} in the run,"
                " as if its ids were of other images; give the images of the run's units"
            )
            return


def _unreadable(images: Store) -> Iterator[str]:
    """Whether a first image can be had, where it lies elsewhere."""
    good = next((unit for unit in images.pool.ids() if unit not in images.card.bad), None)
    if good is None:
        return
    for unit, reason in images.pool.decode(images.pool.take([good])).bad.items():
        yield f"{DATASET}: {quoted(unit)} cannot be read: {reason}; mount its storage, or mend it"


def _untrainable(tuned: Experiment, card: Card) -> Iterator[str]:
    """What checks of a run on images say, by keys of `fine_tune`."""
    for problem in untrainable(tuned, card):
        yield f"fine_tune{'.' if problem.startswith(OWN) else ': '}{problem}"
    counts = not tuned.budget.is_open and tuned.budget.unit == "samples"
    size = tuned.scheme.batch_size
    try:
        total = tuned.budget.amounts.total if counts else size
        batch_ends(total, size, tuned.compute.train_workers)
    except (UsageError, DataError) as error:
        yield f"fine_tune: {error}"
