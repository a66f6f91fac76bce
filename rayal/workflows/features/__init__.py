"""`rayal features` from beginning to end: one resumable pass, and a store of vectors made of it.

    F/features.yaml  what was asked
    F/models/        the weights, as workers read them
    F/pool/ F/test/  one file for each shard of a split, until the store is there
    F/store/         the vectors as float16, by id, with the labels; a prepared dataset
    F/features.json  what the vectors are: of which weights, images and settings; written last

`dataset: {name: features, root: F}` opens the store.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rayal.cycle.engine import Engine
from rayal.cycle.score import ScoreJob, ShardTask, Tolerance, pending, summary
from rayal.data.card import CARD, Card, SplitName, read_card
from rayal.data.datasets.features import ASKED, MADE, STORE
from rayal.data.store import Split, Store
from rayal.errors import UsageError
from rayal.experiment.content import content
from rayal.models.base import Recipe
from rayal.models.trained_model import TrainedModel
from rayal.models.weights_folder import beside
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Event, Observer
from rayal.runs.passes import Pass
from rayal.runs.result_files import read_result
from rayal.selection.candidates import Candidates
from rayal.signals.signal import SignalName
from rayal.storage import yaml_text
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.journal import Journal
from rayal.storage.once import build_once
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.workflows.features.backbone import named, read_backbone, with_weights
from rayal.workflows.features.images import check_image, suited
from rayal.workflows.features.settings import FeaturePass as FeaturePass
from rayal.workflows.features.vectors import write_store
from rayal.workflows.score import pool_shard_rows
from rayal.workflows.score.weights_file import weights_file

MODELS = "models"
"""Folder of the weights."""
SPLITS: tuple[SplitName, ...] = ("pool", "test")


class Features(Strategy):
    """Scores nothing: its pass keeps what the last layer reads, as float16."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"features"})

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        raise AssertionError("features are kept, nothing is selected")


@contextmanager
def start_features(
    x: FeaturePass, out: str, *, break_lock: bool = False, plugins: Plugins = NO_PLUGINS
) -> Iterator["FeatureWork"]:
    """The pass in folder `out`, new or continued, locked while the block lasts.

    Everything that can be refused is refused here, before an engine starts.
    """
    opened = open_pass(x, plugins)
    store, network = opened.store, opened.network
    weights = hashlib.sha256(network.data()).hexdigest()
    identity = {"features": opened.x.decisive(), "data": store.card.fingerprint, "weights": weights}
    folder = Folder(out)
    with Journal(folder, identity, break_lock=break_lock) as journal:
        folder.write(ASKED, yaml_text.dump(x.model_dump(mode="json")).encode())
        yield FeatureWork(opened.x, store, network, journal, opened.recipe)


class Opened(NamedTuple):
    """What a pass reads."""

    x: FeaturePass
    """As asked for, with what belongs to the weights."""
    store: Store
    network: TrainedModel
    recipe: Recipe | None


def open_pass(x: FeaturePass, plugins: Plugins = NO_PLUGINS) -> Opened:
    """Dataset and network of a pass. Raises UsageError for what cannot work, StorageError or
    DataError for what cannot be read."""
    x = named(x)
    model = with_weights(x)
    recipe = None if model is None else model.recipe()
    x = suited(x, recipe)
    store = x.dataset.open()
    if store.card.masks is not None:
        raise UsageError(
            f"{store.card.name} has masks, of which there are none for vectors; give a dataset"
            " with a class for each image"
        )
    network = read_backbone(x, store.card, recipe, plugins)
    check_image(x, recipe, store.card)
    return Opened(x, store, network, recipe)


class FeatureWork:
    """A pass that this process may write."""

    def __init__(
        self,
        x: FeaturePass,
        store: Store,
        network: TrainedModel,
        journal: Journal,
        recipe: Recipe | None = None,
    ) -> None:
        self.x, self.store, self.network, self.journal = x, store, network, journal
        self.recipe = recipe
        self.folder = journal.folder

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return self.folder.exists(MADE)

    def run(self, start: Callable[[], AbstractContextManager[Engine]], observer: Observer) -> Card:
        """The card of the vectors; a complete pass opens no engine."""
        if not self.complete:
            with start() as engine:
                for split in SPLITS:
                    scored = partial(self._scored, engine, observer, split)
                    self.journal.done_once(self.folder / split, scored)
            self._finish()
        return read_card((self.folder / STORE).url)

    def _finish(self) -> None:
        """Makes the store of the shards, says what it holds, and removes these."""
        passes = {
            split: (self.folder / split, read_result(Pass, self.folder / split)) for split in SPLITS
        }
        made = self._described()
        write = partial(write_store, self.store, passes, made["fingerprint"])
        place = self.folder / STORE
        build_once(place, CARD, write, _workplace(self.folder))
        self.journal.check_lock()
        self.folder.write_sealed(MADE, made)
        for split in SPLITS:
            (self.folder / split).delete()

    def _described(self) -> Json:
        card, network = self.store.card, self.network.card
        made: dict[str, Any] = {
            "dataset": card.name,
            "data": card.fingerprint,
            "weights": hashlib.sha256(self.network.data()).hexdigest(),
            "model": network.model.model_dump(mode="json"),
            "image": network.image.model_dump(mode="json"),
            "precision": network.precision,
            "numbers": "float16",
        }
        written = json.dumps(made, sort_keys=True).encode()
        decoding = self.x.dataset.decoding
        return {
            **made,
            "fingerprint": hashlib.sha256(written).hexdigest(),
            "files": _files(self.x),
            "recipe": None if self.recipe is None else self.recipe.source,
            "decoding": None if decoding is None else decoding.model_dump(mode="json"),
        }

    def _scored(self, engine: Engine, observer: Observer, split: SplitName, out: Folder) -> Json:
        images: Split = getattr(self.store, split)
        job, tasks = self._job(engine, images, out), self._tasks(images)
        todo, results = pending(job, tasks)
        tolerance = Tolerance(self.x.max_bad, known=0)
        tolerance.add(*results)
        done = sum(result.rows for result in results)
        observer.on(Event("begun", split, unit="images"))
        observer.on(Event("further", split, None, done, len(images), "images"))
        for result in engine.score(job, todo):
            results.append(result)
            tolerance.add(result)
            done += result.rows
            observer.on(Event("further", split, None, done, len(images), "images"))
        return summary(job, tasks, results).to_json()

    def _job(self, engine: Engine, images: Split, out: Folder) -> ScoreJob:
        models = self.folder / MODELS
        record = self.journal.done_once(models, lambda out: self.network.write(out)._asdict())
        return ScoreJob(
            strategies={"features": Features()},
            card=self.network.card,
            model=self.network.card.model,
            images=images,
            data=self.store.card.fingerprint,
            weights=FileLocation(models.url, FileRecord(**record)),
            out=out.url,
            batch=min(self.x.batch, max(len(images), 1)),
            device=engine.device,
        )

    def _tasks(self, images: Split) -> list[ShardTask]:
        size, compute = self.store.card.image.byte_count, self.x.compute
        rows = pool_shard_rows(len(images), size, compute, self.x.batch)
        return [ShardTask(shard) for shard in images.shards(rows)]


def _files(x: FeaturePass) -> dict[str, str]:
    """The sha256 of all files that the network was made of, by name."""
    model = with_weights(x)
    if model is None or model.pretrained is None:
        assert x.checkpoint is not None  # of a run
        folder, name = weights_file(x.checkpoint)
        return {name: content(f"{folder.url}/{name}")}
    places = [*model.files(), *beside(model.pretrained)]
    return {place.rpartition("/")[2]: content(place) for place in places}


def _workplace(folder: Folder) -> Any:
    """Where a store is made before it is moved into the folder."""
    from rayal.data.datasets.base import cache

    place = folder.local or cache() / "stores"
    place.mkdir(parents=True, exist_ok=True)
    return place
