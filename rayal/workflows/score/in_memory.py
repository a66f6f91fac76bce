"""A scoring pass over images in the memory of this process, by networks that are there too.

What is written is what a pass over files writes: shards and `done.json`, for `select` to read.
"""

import math
from collections.abc import Mapping
from time import monotonic

from rayal.cycle import shard_file
from rayal.cycle.columns import Columns
from rayal.cycle.score import tell_of_equals
from rayal.runs.events import Event, Observer
from rayal.runs.passes import PoolScored, ScoredShard
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.storage.journal import DONE
from rayal.strategies.base import Strategy
from rayal.workflows.score.opened import Opened
from rayal.workflows.score.prepared import Prepared

SHARD = 16384
"""Images whose scores come into one file."""


def score_images(
    opened: Opened,
    classes: tuple[str, ...],
    images: Prepared,
    strategies: Mapping[str, Strategy],
    out: Folder,
    observer: Observer,
    batch: int,
) -> PoolScored:
    """Scores all images into the folder `out`/scores, as a pass over files does; `classes` are the
    names of the model's, if they have some.

    Raises DataError for a score that is not finite, with the unit's id.
    """
    place, total = out / "scores", len(images.images)
    batch = min(batch, total)
    rows = max(1, SHARD // batch) * batch
    columns = Columns(strategies, opened.task, 1, batch, keeps_predicted=not opened.task.dense)
    started, shards = monotonic(), list[ScoredShard]()
    observer.on(Event("begun", "score", unit="images"))
    for number, start in enumerate(range(0, total, rows)):
        observer.on(Event("further", "score", None, start, total, "images"))
        part = slice(start, min(start + rows, total))
        shards.append(_shard(opened.networks, images, columns, part, place, number))
    observer.on(Event("further", "score", None, total, total, "images"))
    tell_of_equals(shards)
    seconds = monotonic() - started
    result = PoolScored(
        units=total,
        columns=tuple(strategies),
        options={name: each.model_dump(mode="json") for name, each in strategies.items()},
        shards=tuple(shard.file for shard in shards),
        bad=0,
        classes=classes,
        images_per_second=total / seconds if seconds else math.nan,
        seconds=seconds,
    )
    place.write_sealed(DONE, {"result": result.to_json()})  # last: it says that all is there
    observer.on(Event("ended", "score", result=result))
    return result


def _shard(
    networks: Networks,
    images: Prepared,
    columns: Columns,
    part: slice,
    place: Folder,
    number: int,
) -> ScoredShard:
    ids = list(images.ids[part])

    def signals(rows: slice, fill: int) -> Signals:
        units = ids[rows]
        start = part.start + rows.start
        batch = images.rows(slice(start, start + len(units)), fill)
        return Signals(units + units[-1:] * fill, batch, networks)

    started = monotonic()
    found = columns.of(ids, signals)
    record = place.write(f"shard-{number:05d}.parquet", shard_file.encode(ids, found, {}))
    return ScoredShard(
        shard=number,
        rows=len(ids),
        bad=0,
        first_bad=None,
        file=record,
        seconds=monotonic() - started,
        ranges=shard_file.ranges(found),
    )
