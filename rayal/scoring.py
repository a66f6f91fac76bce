"""The scoring pass, apart from where it runs: shards of candidates in, one Parquet file each out.

An engine moves `ShardTask`s to `Scorer`s (scorer.py); both engines run the same code. A shard's
file appears whole or not at all under a name of its own, so a pass that starts again skips what is
there, and a shard done twice is still there once.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rayal import scores
from rayal.dataset import Card, Shard, Split
from rayal.errors import DataError, StorageError
from rayal.experiment import Compute, Experiment
from rayal.storage import FileLocation, Folder, Json

SHARD_BYTES = 64 * 2**20  # of decoded images in one shard


class ShardTask(NamedTuple):
    """One shard of the pool and the ids in it that are candidates."""

    shard: Shard
    ids: list[str]

    @property
    def file(self) -> str:
        return f"shard-{self.shard.index:05d}.parquet"


@dataclass(frozen=True)
class ScoreJob:
    """What one pass computes; small, and picklable for the way to the workers."""

    experiment: Experiment
    cycle: int
    store: str
    weights: FileLocation
    previous: FileLocation | None
    """Weights at the end of the last cycle; None in cycle 0."""
    previous_scores: str | None
    """Folder of the last cycle's pass."""
    out: str
    members: tuple[FileLocation, ...] = ()
    """Weights of the ensemble's other members."""
    companions: Mapping[str, FileLocation] = field(default_factory=dict)
    """By name, what lived beside the model in training."""

    @property
    def digest(self) -> str:
        """Of everything that decides a unit's scores: a shard of another job is not reused."""
        x = self.experiment
        companions = (file for _, file in sorted(self.companions.items()))
        weights = (self.weights, self.previous, *self.members, *companions)
        decisive = {
            "weights": [file and file.record.sha256 for file in weights],
            "strategies": [strategy.model_dump(mode="json") for strategy in x.scored().values()],
            "key": [x.seed, self.cycle, x.scheme.precision, self.keeps_probs],
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    @property
    def keeps_probs(self) -> bool:
        """Whether the next cycle reads this pass's predictions instead of predicting again."""
        return self.experiment.keeps_probs(self.cycle)

    @property
    def reads_probs(self) -> bool:
        """Whether the last cycle's pass kept the predictions that this one needs."""
        return self.previous_scores is not None and self.experiment.keeps_probs(self.cycle - 1)


def shard_rows(compute: Compute, card: Card) -> int:
    """Least images of a shard: `compute.shard_rows`, fewer where those would not fit a worker."""
    return max(1, min(compute.shard_rows, SHARD_BYTES // math.prod(card.image.shape)))


def divide(pool: Split, candidates: Iterable[str], rows: int) -> list[ShardTask]:
    """The pool's shards of at least `rows` rows that hold candidates, and which."""
    wanted, ids, start, tasks = set(candidates), pool.ids(), 0, []
    for shard in pool.shards(rows):
        inside = [unit for unit in ids[start : start + shard.rows] if unit in wanted]
        start += shard.rows
        if inside:
            tasks.append(ShardTask(shard, inside))
    return tasks


def pending(job: ScoreJob, tasks: Sequence[ShardTask]) -> tuple[list[ShardTask], list[Json]]:
    """The tasks still to do, and the results of those whose file an earlier attempt left whole."""
    out, results, rest = Folder(job.out), [], []
    there = set(out.names())
    for task in tasks:
        result = _finished(job, out, task) if task.file in there else None
        if result is None:
            rest.append(task)
        else:
            results.append(result)
    return rest, results


def summary(job: ScoreJob, tasks: Sequence[ShardTask], results: Sequence[Json]) -> Json:
    """The result of the stage. Asserts that every candidate was scored exactly once."""
    results = sorted(results, key=lambda result: result["shard"])
    assert [task.shard.index for task in tasks] == [r["shard"] for r in results], "lost a shard"
    bad = {unit: reason for result in results for unit, reason in result["bad"].items()}
    return {
        "units": sum(result["rows"] for result in results),
        "bad": bad,
        "columns": list(job.experiment.scored()),
        "shards": [result["file"] for result in results],
    }


def refuse_bad(job: ScoreJob, results: Iterable[Json]) -> None:
    """Raises DataError once more images were undecodable than the experiment allows."""
    bad = {unit: reason for result in results for unit, reason in result["bad"].items()}
    if len(bad) > job.experiment.max_bad:
        unit, reason = next(iter(sorted(bad.items())))
        raise DataError(
            f"{len(bad)} images cannot be decoded, more than max_bad {job.experiment.max_bad}; "
            f"the first is {unit!r}: {reason}; raise max_bad to go on without them"
        )


def _finished(job: ScoreJob, out: Folder, task: ShardTask) -> Json | None:
    """The result that wrote this file, or None where it is damaged, of another job, or without
    images that could not be read: they may be there now."""
    try:
        table = scores.read(out, task.file)  # every page, for its checksum
        ids, status = table["id"].to_pylist(), table["status"].to_pylist()
    except (StorageError, KeyError):  # KeyError: the damage is in the name of a column
        return None
    if scores.job_of(table) != job.digest or sorted(ids) != sorted(task.ids):
        return None
    if set(status) != {scores.OK}:
        return None
    record = out.record(task.file)
    return {
        "shard": task.shard.index,
        "rows": len(ids),
        "bad": {},
        "file": record._asdict(),
        "seconds": 0.0,
    }
