"""`rayal score` from beginning to end: checks, folder, lock, one resumable pass, its summary.

OUT/score.yaml   what was asked
OUT/pool/        the listing of a folder of images, frozen; identity of the pool
OUT/models/      the weights, as workers read them
OUT/batch/       the batch size, and what was measured for it
OUT/scores/      shard-00000.parquet ..., done.json: what `rayal select` reads
OUT/bad.csv      id and reason of every image that could not be decoded
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

from rayal.cycle.engine import Engine
from rayal.cycle.score import ScoreJob, ShardTask, Tolerance, bad_images, pending, summary
from rayal.data.pool import census
from rayal.data.pool.source import Pool, open_pool
from rayal.errors import DataError, LockedError, quoted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Event, Observer
from rayal.runs.results import FastestBatch, PoolScored, read_result
from rayal.storage import csv_file, yaml_file
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import Journal, is_done
from rayal.workflows.score.models import ModelFiles, PoolModels, read_models
from rayal.workflows.score.settings import PoolCompute, PoolScoring

SHARDS = 64
"""A pool is cut into at least so many shards, unless they fell below FEW images: enough to share
among workers, and little is lost when one dies."""
FEW = 256

logger = logging.getLogger(__name__)


@contextmanager
def start_scoring(
    settings: PoolScoring, out: str, *, break_lock: bool = False, plugins: Plugins = NO_PLUGINS
) -> Iterator["PoolPass"]:
    """The pass in folder `out`, new or continued, locked while the block lasts.

    Everything that can be refused is refused here, before an engine starts.
    """
    models = read_models(settings, plugins)
    folder = Folder(out)
    identity = {"score": settings.decisive(), "weights": models.digests()}
    with Journal(folder, identity, break_lock=break_lock) as journal:
        folder.write("score.yaml", yaml_file.dump(settings.model_dump(mode="json")).encode())
        yield PoolPass(settings, models, journal)


class PoolPass:
    """A pass that this process may write."""

    def __init__(self, settings: PoolScoring, models: PoolModels, journal: Journal) -> None:
        self.settings, self.models, self.journal = settings, models, journal
        self.folder, self.scores = journal.folder, journal.folder / "scores"
        self.pool = self._opened_pool()

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return is_done(self.scores)

    def run(
        self, start: Callable[[], AbstractContextManager[Engine]], observer: Observer
    ) -> PoolScored:
        """The result of the pass; a complete one opens no engine."""
        if not self.complete:
            with start() as engine:
                self.journal.done_once(
                    self.scores, lambda out: self._scored(engine, observer, out).to_json()
                )
            observer.on(Event("ended", "score", result=read_result(PoolScored, self.scores)))
        return read_result(PoolScored, self.scores)

    def _opened_pool(self) -> Pool:
        """The pool, checked once; LockedError where it is no longer the one that was begun with."""
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

        begun = self.journal.done_once(out, check)
        if begun["fingerprint"] != pool.fingerprint:
            raise LockedError(
                f"{self.folder.url} was begun with another state of {x.pool}: {begun['rows']} units"
                f" then, {pool.rows} now; restore the files, or use another --out"
            )
        return pool

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
        bad = csv_file.dump(["id", "reason"], bad_images(out, results))
        self.folder.write("bad.csv", bad.encode())
        return PoolScored(
            **dict(total),
            bad=tolerance.bad,
            classes=self.models.card.classes,
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
        """As asked; else the fastest, but no larger than a shard or the pool."""
        asked, limit = self.settings.batch, self.settings.compute.batch_bytes
        if asked != "auto":
            return asked
        out = self.folder / "batch"
        self.journal.done_once(out, lambda _: engine.fastest_batch(job, limit).to_json())
        measured = read_result(FastestBatch, out)
        return min(measured.batch, self._shard_rows(), self.pool.rows)

    def _tasks(self, batch: int) -> list[ShardTask]:
        rows = self._shard_rows(batch)
        shards = self.pool.shards(rows)
        on_ray, listed = self.settings.compute.engine == "ray", self.pool.unique
        if on_ray and not listed and any(shard.skip for shard in shards):
            logger.warning(
                "%s has row groups of more than %d rows, which each worker reads from their start;"
                " write its files with that row_group_size to score them faster",
                self.pool.origin,
                rows,
            )
        return [ShardTask(shard) for shard in shards]

    def _shard_rows(self, batch: int = 1) -> int:
        image = max(math.prod(self.models.card.image.shape), self.pool.image_bytes)
        return pool_shard_rows(self.pool.rows, image, self.settings.compute, batch)

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
    yield f"units    {result.units:,} in {len(result.shards):,} shards"
    if result.bad:
        yield f"bad      {result.bad:,} cannot be decoded, see {out.url}/bad.csv"
    yield from (f"prepared {each}" for each in opened.models.differences(opened.pool.decoding))
    yield f"rate     {result.images_per_second:,.0f} images/s, {result.seconds:,.0f} s"
    yield f"columns  {', '.join(result.columns)}"
    yield f"scores   {out.url}/scores"
