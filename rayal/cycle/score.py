"""The scoring pass, apart from where it runs: shards of a pool in, one Parquet file each out.

An engine moves `ShardTask`s to `Scorer`s (scorer.py); both engines run the same code. A shard's
file appears whole or not at all under a name of its own, so a pass that starts again skips what is
there, and a shard done twice is still there once.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import pyarrow.compute as pc

from rayal.cycle import shard_file
from rayal.cycle.referred import refers
from rayal.data import uri
from rayal.data.card import Card
from rayal.data.pool import Images, Shard
from rayal.data.store import Split, Store
from rayal.errors import DataError, StorageError, quoted
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.models.base import Model
from rayal.models.card import ModelCard
from rayal.runs.passes import Pass, ScoredShard
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.training.augment import Augment

USUAL_BATCH = 256
"""Images of a batch that always fit: the default of `compute.score_batch`."""
SHARD_BYTES = 64 * 2**20  # of decoded images in one shard
VECTOR_BYTES = 16 * 2**20  # of vectors in one shard, at least: a file takes longer than few of them
AHEAD = 8  # files that are read at a time; most of it is waiting for the storage

logger = logging.getLogger(__name__)


class ShardTask(NamedTuple):
    """One shard of the pool and the ids in it that are candidates."""

    shard: Shard
    ids: list[str] | None = None
    """None: all of them."""

    @property
    def file(self) -> str:
        return f"shard-{self.shard.index:05d}.parquet"

    @property
    def rows(self) -> int:
        return self.shard.rows if self.ids is None else len(self.ids)


@dataclass(frozen=True)
class ScoreJob:
    """What one pass computes; small, and picklable for the way to the workers."""

    strategies: Mapping[str, Strategy]
    """By the name of their column."""
    card: ModelCard
    """Of all the weights."""
    model: Model
    """The card's, with the `pretrained` weights that a run's first training began from."""
    images: Images
    """Where the rows of shards are read."""
    data: str
    """Fingerprint of all images that there are."""
    weights: FileLocation
    out: str
    seed: int = 0
    cycle: int = 0
    batch: int = 256
    previous: FileLocation | None = None
    """Weights at the end of the last cycle; None in cycle 0."""
    previous_scores: str | None = None
    """Folder of the last cycle's pass, where that has kept its predictions."""
    members: tuple[FileLocation, ...] = ()
    """Weights of the ensemble's other members."""
    companions: Mapping[str, FileLocation] = field(default_factory=dict)
    """By name, what lived beside the model in training."""
    keeps_probs: bool = False
    """Whether the next cycle reads this pass's predictions instead of predicting again."""
    keeps_predicted: bool = False
    """Whether the most probable class is a column of its own."""
    keeps_features: bool = False
    """Whether features are kept, though no strategy may ask for them."""
    augment: Augment | None = None
    """What happens to each image before anything sees it, drawn by seed, cycle and id; None:
    nothing."""
    refers: bool = False
    """Whether the features that are kept lie in the dataset already, see `referred`."""
    device: str = ""
    """Where all of it is to be computed: scores differ in their last bits; "": anywhere."""

    @classmethod
    def of(
        cls,
        x: Experiment,
        store: Store,
        cycle: int,
        weights: FileLocation,
        out: str,
        *,
        previous: FileLocation | None = None,
        previous_scores: str | None = None,
        members: tuple[FileLocation, ...] = (),
        companions: Mapping[str, FileLocation] | None = None,
    ) -> "ScoreJob":
        """The pass of one cycle of an experiment; `previous_scores`, the folder of the last
        cycle's, is read where that kept its predictions."""
        return cls(
            strategies=x.scored(),
            card=x.card_for(store.card),
            model=x.model,
            images=store.pool,
            data=store.card.fingerprint,
            weights=weights,
            out=out,
            seed=x.seed,
            cycle=cycle,
            batch=score_batch(x.compute, store.card),
            previous=previous,
            previous_scores=previous_scores if x.keeps_probs(cycle - 1) else None,
            members=members,
            companions=companions or {},
            keeps_probs=x.keeps_probs(cycle),
            keeps_predicted=x.keeps_predicted(),
            keeps_features=x.keeps_features(),
            augment=x.scheme.augment if x.score_transform == "train" else None,
            refers=refers(x),
        )

    def with_batch(self, batch: int) -> "ScoreJob":
        """The same pass in batches of this many images."""
        return replace(self, batch=batch)

    @cached_property
    def digest(self) -> str:
        """Of everything that decides a unit's scores: a shard of another job is not reused. Asked
        for every shard, and as long to make as 2,000 vectors are to score."""
        card = self.card
        companions = (file for _, file in sorted(self.companions.items()))
        weights = (self.weights, self.previous, *self.members, *companions)
        decisive = {
            "weights": [file and file.record.sha256 for file in weights],
            "strategies": [each.model_dump(mode="json") for each in self.strategies.values()],
            "model": self.model.model_dump(mode="json"),
            "images": [self.data, len(card.classes), card.image.model_dump(mode="json")],
            "key": [self.seed, self.cycle, card.precision, self.batch, self.device],
            "columns": [*self.strategies, self.keeps_probs, self.keeps_predicted],
        }
        if self.keeps_features:  # left out else, as shards of older rayals have it
            decisive["features"] = True
        if self.refers:
            decisive["refers"] = True
        if self.augment is not None:
            decisive["augment"] = self.augment.model_dump(mode="json")
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def shard_rows(compute: Compute, card: Card) -> int:
    """Least images of a shard: `compute.shard_rows`, fewer where those would not fit a worker."""
    return max(1, min(compute.shard_rows, SHARD_BYTES // math.prod(card.image.shape)))


def pass_rows(compute: Compute, card: Card) -> int:
    """Least units of a shard of a run's pass: as `compute.shard_rows` says, of vectors more."""
    vectors = 0 if card.image.sides else VECTOR_BYTES // card.image.byte_count
    return max(compute.shard_rows, vectors)


def score_batch(compute: Compute, card: Card) -> int:
    """Images in one forward pass of scoring, see `batch_within`."""
    groups = -(-shard_rows(compute, card) // card.group_rows)  # shards are whole row groups
    return batch_within(compute.score_batch, groups * card.group_rows, card.pool)


def batch_within(asked: int, shard: int, pool: int) -> int:
    """What is asked, but no more than a shard or the pool has: batches are filled up to one size.

    Batches of the usual size are left as they are, so that no score depends on how a pool is
    divided; larger ones are cut to the shard, and differ with it in their last bits.
    """
    return min(asked, max(shard, USUAL_BATCH), pool)


def divide(pool: Split, candidates: Iterable[str], rows: int) -> list[ShardTask]:
    """The pool's shards of at least `rows` rows that hold candidates, and which."""
    wanted, ids, start, tasks = set(candidates), pool.ids(), 0, []
    for shard in pool.shards(rows):
        inside = [unit for unit in ids[start : start + shard.rows] if unit in wanted]
        start += shard.rows
        if inside:
            tasks.append(ShardTask(shard, inside))
    return tasks


def pending(job: ScoreJob, tasks: Sequence[ShardTask]) -> tuple[list[ShardTask], list[ScoredShard]]:
    """The tasks still to do, and the results of those whose file an earlier attempt left whole."""
    out = Folder(job.out)
    there = set(out.names())
    begun = [task for task in tasks if task.file in there]
    with ThreadPoolExecutor(AHEAD) as threads:
        found = threads.map(partial(_finished, job, out), begun)
    results = [result for result in found if result is not None]
    done = {result.shard for result in results}
    return [task for task in tasks if task.shard.index not in done], results


def summary(job: ScoreJob, tasks: Sequence[ShardTask], results: Sequence[ScoredShard]) -> Pass:
    """The result of the pass. Asserts that every candidate was scored exactly once."""
    results = sorted(results, key=lambda result: result.shard)
    assert [task.shard.index for task in tasks] == [r.shard for r in results], "lost a shard"
    assert [task.rows for task in tasks] == [r.rows for r in results], "lost a row"
    return Pass(
        units=sum(result.rows for result in results),
        columns=tuple(job.strategies),
        options={name: each.model_dump(mode="json") for name, each in job.strategies.items()},
        shards=tuple(result.file for result in results),
    )


def tell_of_equals(results: Sequence[ScoredShard]) -> None:
    """A warning for a strategy whose scores say nothing."""
    ends = dict[str, set[float]]()
    for result in results:
        for name, each in result.ranges.items():
            ends.setdefault(name, set()).update(each)
    good = sum(result.rows - result.bad for result in results)
    for name, values in ends.items():
        if len(values) == 1 and good > 1:
            logger.warning(
                "all %d scores of %s are %g: a selection by them is drawn by chance",
                *(good, name, *values),
            )


def bad_images(out: Folder, results: Iterable[ScoredShard]) -> Iterator[tuple[str, str]]:
    """Id and reason of every image that could not be decoded, from the files that have some."""
    for result in sorted(results, key=lambda result: result.shard):
        if result.bad:
            table = shard_file.read_shard(out, result.file.name, ["id", "status"], result.file)
            failed = table.filter(pc.not_equal(table["status"], shard_file.OK))
            yield from zip(failed["id"].to_pylist(), failed["status"].to_pylist(), strict=True)


class Tolerance:
    """How many images were bad so far, and the first that a pass has found."""

    def __init__(self, max_bad: int, known: int = 0) -> None:
        """`known`: how many were bad before the pass, which has left them out."""
        self.max_bad, self.bad = max_bad, known
        self._first: tuple[str, str] | None = None

    def add(self, *results: ScoredShard) -> None:
        """Raises DataError once more images were bad than `max_bad`."""
        for result in results:
            self.bad += result.bad
            if result.first_bad is not None:
                self._first = min(self._first or result.first_bad, result.first_bad)
        if self._first is not None and self.bad > self.max_bad:
            unit, reason = self._first
            raise DataError(
                f"{self.bad} images cannot be decoded, more than max_bad {self.max_bad}; "
                f"the first is {quoted(unit)}: {reason}; raise max_bad to go on without them"
            )


def _finished(job: ScoreJob, out: Folder, task: ShardTask) -> ScoredShard | None:
    """The result that wrote this file, or None where it is damaged, of another job, or without
    images that could not be read: they may be there now."""
    try:
        table, record = shard_file.read_recorded(out, task.file)  # every page, for its checksum
        ids, status = table["id"], table["status"]
    except (StorageError, KeyError):  # KeyError: the damage is in the name of a column
        return None
    there = (
        len(ids) == task.rows if task.ids is None else sorted(ids.to_pylist()) == sorted(task.ids)
    )
    if shard_file.job_of(table) != job.digest or not there:
        return None
    failed = table.filter(pc.not_equal(status, shard_file.OK)).select(["id", "status"]).to_pylist()
    bad = {row["id"]: row["status"] for row in failed}
    if any(reason.startswith(uri.LOST) for reason in bad.values()):
        return None
    return ScoredShard(
        shard=task.shard.index,
        rows=len(ids),
        bad=len(bad),
        first_bad=min(bad.items(), default=None),
        file=record,
        seconds=0.0,
        ranges=shard_file.ranges(
            {
                name: table[name].drop_null().to_numpy()
                for name in table.column_names
                if name.startswith("score.")
            }
        ),
    )
