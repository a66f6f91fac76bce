"""`rayal score` from beginning to end: checks, folder, lock, one resumable pass, its summary.

OUT/score.yaml   what was asked
OUT/pool/        the listing of a folder of images, frozen; identity of the pool
OUT/models/      the weights, as workers read them
OUT/batch/       the batch size, and what was measured for it
OUT/scores/      shard-00000.parquet ..., done.json: what `rayal select` reads
OUT/bad.csv      id and reason of every image that could not be decoded
OUT/left_out.csv path and reason of what a folder of images holds beside them
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from time import monotonic

import pyarrow.compute as pc

from rayal.cycle import shard_file
from rayal.cycle.engine import Engine
from rayal.cycle.score import (
    ScoreJob,
    ShardTask,
    Tolerance,
    bad_images,
    batch_within,
    pending,
    summary,
    tell_of_equals,
)
from rayal.data.pool import census
from rayal.data.pool.folder import LEFT_OUT
from rayal.data.pool.source import Pool, open_pool
from rayal.errors import OUT, DataError, LockedError, StorageError, UsageError, counted, quoted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Event, Observer
from rayal.runs.passes import FastestBatch, PoolScored
from rayal.runs.result_files import read_result
from rayal.storage import csv_file, yaml_text
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import Journal, is_done
from rayal.storage.once import LOCK
from rayal.workflows.score.models import ModelFiles, PoolModels, read_models
from rayal.workflows.score.settings import PoolCompute, PoolScoring

SHARDS = 64
"""A pool is cut into at least so many shards, unless they fell below FEW images: enough to share
among workers, and little is lost when one dies."""
FEW = 256

logger = logging.getLogger(__name__)


@contextmanager
def start_scoring(
    settings: PoolScoring,
    out: str,
    *,
    retry_bad: bool = False,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
    models: PoolModels | None = None,
) -> Iterator["PoolPass"]:
    """The pass in folder `out`, new or continued, locked while the block lasts.

    With `retry_bad` the images that could not be decoded are looked at again. `models` are those of
    settings without a checkpoint. Everything that can be refused is refused here, before an engine
    starts; where that is the pool of a pass that has not begun, nothing is left in the folder.
    """
    models = models or read_models(settings, plugins)
    folder = Folder(out)
    identity = {"score": settings.decisive(), "weights": models.digests()}
    with Journal(folder, identity, break_lock=break_lock) as journal:
        folder.write("score.yaml", yaml_text.dump(settings.model_dump(mode="json")).encode())
        try:
            opened = PoolPass(settings, models, journal, retry_bad)
        except (DataError, StorageError, UsageError):
            _withdraw(journal)
            raise
        yield opened


def _withdraw(journal: Journal) -> None:
    """Leaves nothing of a pass whose pool was refused before there was anything to go on with: the
    same folder is for the corrected command."""
    folder, pool = journal.folder, journal.folder / "pool"
    with suppress(LockedError, StorageError):  # of the refusal itself more is said
        if not is_done(pool) and not folder.exists("scores"):
            pool.remove("started.json")
            pool.delete_empty()
            for name in (LOCK.format("pool"), "score.yaml"):
                folder.remove(name)
            journal.withdraw()


class PoolPass:
    """A pass that this process may write."""

    def __init__(
        self, settings: PoolScoring, models: PoolModels, journal: Journal, retry_bad: bool = False
    ) -> None:
        self.settings, self.models, self.journal = settings, models, journal
        self.folder, self.scores = journal.folder, journal.folder / "scores"
        self.mended = 0
        """Bad images of a finished pass that have changed since."""
        self.ran = False
        """Whether this process has scored."""
        self.pool = self._opened_pool(retry_bad)

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return is_done(self.scores)

    def run(
        self, start: Callable[[], AbstractContextManager[Engine]], observer: Observer
    ) -> PoolScored:
        """The result of the pass; a complete one opens no engine."""
        if not self.complete:
            self.ran = True
            with start() as engine:
                self.journal.done_once(
                    self.scores, lambda out: self._scored(engine, observer, out).to_json()
                )
            observer.on(Event("ended", "score", result=read_result(PoolScored, self.scores)))
        return read_result(PoolScored, self.scores)

    def _opened_pool(self, retry_bad: bool) -> Pool:
        """The pool, checked once; LockedError where it is no longer the one that was begun with,
        unless nothing but bad images have changed: these may be mended."""
        pool, begun = self._checked_pool()
        if begun["fingerprint"] != pool.fingerprint:
            now = f"{counted(begun['rows'], 'unit')} then, {pool.rows:,} now"
            raise self._another_state(now)
        changes = pool.changes
        if changes is None and not retry_bad:
            return self._told(pool)
        bad = self._bad_shards()
        ids = {unit for units in bad.values() for unit in units}
        mended = set() if changes is None else set(changes.changed)
        if changes is not None and (changes.added or changes.gone or not mended <= ids):
            raise self._another_state(str(changes))
        if self.complete and not (retry_bad and bad):
            self.mended = len(mended)
            return self._told(pool)
        if changes is not None:  # the listing first: with it, all of this can be done again
            (self.folder / "pool").delete()
            pool, _ = self._checked_pool()
        self.scores.remove("done.json")
        for name, units in bad.items():
            if retry_bad or units & mended:
                self.scores.remove(name)
        return self._told(pool)

    def _checked_pool(self) -> tuple[Pool, Json]:
        """The pool as it is, and what was noted of it when the pass began."""
        x, card, out = self.settings, self.models.card, self.folder / "pool"
        pool = open_pool(
            x.pool,
            id=x.id,
            image=x.image,
            decoding=card.decoding,
            spec=card.image,
            listing=out,
            follow_links=x.follow_links,
        )

        def check(out: Folder) -> Json:
            census.check_ids(pool, out.local)
            return {"fingerprint": pool.fingerprint, "rows": pool.rows, "origin": pool.origin}

        return pool, self.journal.done_once(out, check)

    def _another_state(self, difference: str) -> LockedError:
        return LockedError(
            f"{self.folder.url} was begun with another state of {self.settings.pool}: {difference};"
            f" restore the files, or use another {OUT}"
        )

    def _told(self, pool: Pool) -> Pool:
        """Say once what of the folder is not in the pool, and where all of it is listed."""
        listing = self.folder / "pool"
        if pool.left_out and not self.folder.exists(LEFT_OUT) and listing.exists(LEFT_OUT):
            self.folder.write(LEFT_OUT, listing.read(LEFT_OUT))
        if pool.left_out:
            logger.warning(
                "%s: %s; all in %s/%s", self.settings.pool, pool.left_out, self.folder.url, LEFT_OUT
            )
        return pool

    def _bad_shards(self) -> dict[str, set[str]]:
        """The ids of bad images by the file of their shard, of those that are whole."""
        found = dict[str, set[str]]()
        for name in self.scores.names():
            if name.startswith("shard-"):
                with suppress(StorageError):
                    table = shard_file.read_shard(self.scores, name, ["id", "status"])
                    bad = table.filter(pc.not_equal(table["status"], shard_file.OK))
                    if bad.num_rows:
                        found[name] = set(bad["id"].to_pylist())
        return found

    def _scored(self, engine: Engine, observer: Observer, out: Folder) -> PoolScored:
        job = self._job(engine, out)
        tasks = self._tasks(job.batch)
        todo, results = pending(job, tasks)
        tolerance = Tolerance(self._max_bad)
        tolerance.add(*results)
        before = done = sum(result.rows for result in results)
        observer.on(Event("begun", "score", unit="images"))
        observer.on(Event("further", "score", None, done, self.pool.rows, "images"))
        started = monotonic()
        for result in engine.score(job, todo):
            results.append(result)
            tolerance.add(result)
            done += result.rows
            observer.on(Event("further", "score", None, done, self.pool.rows, "images"))
        seconds = monotonic() - started
        total = summary(job, tasks, results)
        if tolerance.bad == total.units:
            unit, reason = next(bad_images(out, results))
            raise DataError(f"no image can be decoded; the first is {quoted(unit)}: {reason}")
        shards = [task.shard for task in tasks]
        census.check_scored(self.pool, shards, out, total.shards)
        tell_of_equals(results)
        bad = csv_file.dump(["id", "reason"], bad_images(out, results))
        self.folder.write("bad.csv", bad.encode())
        return PoolScored(
            **dict(total),
            bad=tolerance.bad,
            classes=self.models.card.classes if self.models.named else (),
            images_per_second=(done - before) / seconds if seconds else math.nan,
            seconds=seconds,
        )

    def _job(self, engine: Engine, out: Folder) -> ScoreJob:
        x, card, models = self.settings, self.models.card, self.folder / "models"
        files = ModelFiles.of(models, self.journal.done_once(models, self.models.write))
        job = ScoreJob(
            strategies=x.columns(),
            card=card,
            model=card.model,
            images=self.pool.images,
            data=self.pool.fingerprint,
            weights=files.weights,
            out=out.url,
            seed=x.seed,
            cycle=1,  # where strategies compare with the model before, not with random weights
            previous=files.previous,
            members=files.members,
            companions=files.companions,
            keeps_predicted=not card.task.dense,
            device=engine.device,
        )
        return job.with_batch(self._batch(engine, job))

    def _batch(self, engine: Engine, job: ScoreJob) -> int:
        """As asked, see `batch_within`, or the fastest that a shard and the pool can fill."""
        asked, limit = self.settings.batch, self.settings.compute.batch_bytes
        if asked != "auto":
            return batch_within(asked, self._shard_rows(asked), self.pool.rows)
        out, most = self.folder / "batch", min(self._shard_rows(), self.pool.rows)
        asked_of = job.with_batch(most), limit, self.pool.rows
        self.journal.done_once(out, lambda _: engine.fastest_batch(*asked_of).to_json())
        return min(read_result(FastestBatch, out).batch, most)

    def _tasks(self, batch: int) -> list[ShardTask]:
        rows = self._shard_rows(batch)
        shards = self.pool.shards(rows)
        compute = self.settings.compute
        again = sum(shard.skip for shard in shards) * self._image_bytes
        if compute.engine == "ray" and again > compute.shard_bytes and not self.pool.unique:
            logger.warning(
                "%s: row groups have more than %d rows, and each worker reads them from their"
                " start; write the files with that row_group_size to score them faster",
                self.pool.origin,
                rows,
            )
        return [ShardTask(shard) for shard in shards]

    def _shard_rows(self, batch: int = 1) -> int:
        return pool_shard_rows(self.pool.rows, self._image_bytes, self.settings.compute, batch)

    @property
    def _image_bytes(self) -> int:
        """Of an image, as stored or decoded."""
        return max(math.prod(self.models.card.image.shape), self.pool.image_bytes)

    @property
    def _max_bad(self) -> int:
        asked = self.settings.max_bad
        return max(10, self.pool.rows // 1000) if asked is None else asked


def pool_shard_rows(total: int, image: int, compute: PoolCompute, batch: int = 1) -> int:
    """Images in one shard of a pool of `total`, each of `image` bytes: as the limits say, fewer
    where there would not be enough shards; whole batches, for a part of one takes as long."""
    most = min(compute.shard_rows, compute.shard_bytes // image)
    rows = max(1, min(most, max(FEW, batch, -(-total // SHARDS))))
    return rows // batch * batch or rows


def lines(result: PoolScored, opened: PoolPass) -> Iterator[str]:
    """What a user wants to know at the end."""
    out = opened.folder
    yield f"units    {result.units:,} in {counted(len(result.shards), 'shard')}"
    if result.bad:
        yield f"bad      {result.bad:,} cannot be decoded, see {out.url}/bad.csv"
        mended = f"{opened.mended:,} of them changed since; " if opened.mended else ""
        yield f"         {mended}once they are mended, add --retry-bad to score them"
    yield from (f"prepared {each}" for each in opened.models.differences(opened.pool.decoding))
    if opened.ran:
        yield f"rate     {result.images_per_second:,.0f} images/s, {result.seconds:,.0f} s"
    yield f"columns  {', '.join(result.columns)}"
    yield f"scores   {out.url}/scores"
