"""The images that a pass has scored, to be shown to people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from rayal.data.pool.source import Pool, open_pool
from rayal.errors import DataError, UsageError, counted, quoted
from rayal.experiment import config
from rayal.labeling.areas import Areas
from rayal.labeling.pictures import Album, stored_rows
from rayal.models.base import SEEN
from rayal.models.card import Sees, usual_names
from rayal.models.trained_model import WEIGHTS
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.storage.journal import read_done
from rayal.workflows.select.finished_pass import FinishedPass

ROWS = 4096  # ids read at a time


@dataclass(frozen=True)
class PassPool:
    """Where they are, and what the model of the pass says of their classes."""

    images: Album
    classes: int
    names: tuple[str, ...]
    """None where nobody has given the classes names that people know."""


def pool_of(done: FinishedPass, plugins: Plugins = NO_PLUGINS) -> PassPool:
    """The pool of a pass of `rayal score`, or of a run.

    Raises UsageError for a pass over images in memory, over a pool that is no longer there, or by a
    model that predicts masks; DataError for a pool that has changed since.
    """
    above, _, _ = done.folder.url.rpartition("/")
    if Folder(above).exists("score.yaml"):
        return _of_scoring(Folder(above), done)
    run = Folder(above.rpartition("/")[0])
    if run.exists("run.json"):
        return _of_run(run, plugins)
    raise UsageError(
        f"{done.folder.url} is of images in memory, which people cannot be shown; score their files"
        " (rayal score, or rayal.score of a path), or leave out request"
    )


def _of_run(run: Folder, plugins: Plugins) -> PassPool:
    x = config.resolved(Record(run, plugins).experiment(), plugins)
    if x.task.dense:
        raise _masks(run.url)
    store = x.dataset.open()
    if (sides := len(store.card.image.sides)) != 2:
        raise UsageError(
            f"{run.url} is a run on {SEEN[sides]}, which people cannot be shown; leave out request"
        )
    return PassPool(Areas(store), len(store.card.classes), store.card.classes)


def _of_scoring(out: Folder, done: FinishedPass) -> PassPool:
    asked = yaml.safe_load(out.read("score.yaml"))
    sees = Sees.read(out / "models", WEIGHTS)
    if sees.task.dense:
        raise _masks(done.folder.url)
    pool = open_pool(
        asked["pool"],
        id=asked["id"],
        image=asked["image"],
        decoding=sees.decoding,
        spec=sees.image,
        listing=out / "pool",
        follow_links=asked["follow_links"],
    )
    if read_done(out / "pool")["result"]["fingerprint"] != pool.fingerprint:
        raise DataError(
            f"{asked['pool']} is not what it was when {done.folder.url} was scored; restore the"
            " files, or score again"
        )
    names = () if done.classes == usual_names(len(sees.classes)) else done.classes
    return PassPool(PoolAlbum(pool), len(sees.classes), names)


def _masks(place: str) -> UsageError:
    return UsageError(
        f"{place} is of a model that predicts masks, and a selection hands on classes alone; ask"
        " for masks in a run, with oracle: people, or leave out request"
    )


@dataclass(frozen=True)
class PoolAlbum:
    """The images of a pool; every unit is one."""

    pool: Pool

    def image(self, unit: str) -> str:
        return unit

    def shown(self, unit: str, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        return None

    def stored(self, images: Sequence[str]) -> Iterator[tuple[str, object]]:
        """In the order of the pool; raises DataError for one that is not there as it was."""
        self._check_unchanged(images)
        left = set(images)
        for shard in self.pool.shards(ROWS):
            here = left.intersection(self.pool.images.ids_of(shard).to_pylist())
            if here:
                yield from stored_rows(self.pool.images, self.pool.images.read(shard, here))
                left -= here
            if not left:
                return
        raise DataError(
            f"{counted(len(left), 'selected unit is', 'selected units are')} not in"
            f" {self.pool.origin}, first {quoted(min(left))}; score again"
        )

    def _check_unchanged(self, images: Sequence[str]) -> None:
        """Of a folder other images may come and go."""
        changes = self.pool.changes
        moved = {*images} & ({*changes.gone, *changes.changed} if changes else set())
        if moved:
            raise DataError(
                f"{counted(len(moved), 'selected image is', 'selected images are')} gone or changed"
                f" since the pass, first {quoted(min(moved))}; restore the files, or score again"
            )
